//! What came of deciding a journal again, as text: a line a change, and what was checked.

use super::numbers::{clock, counted, grouped, plain};
use super::style::{Ink, Style, fitted, wrapped};
use crate::again::account::{Account, Line, Story};

/// The widest that names get. Characters.
const NAMES: usize = 24;
/// Characters of a plan that are shown where two differ.
const PLAN: usize = 2_000;

/// The timeline of a journal and what was checked. At most `limit` lines of the timeline.
pub fn account(account: &Account, style: Style, limit: Option<usize>) -> String {
    let mut text = String::new();
    let since = |at: crate::time::Time| clock(at.since(account.start_ms) as f64 / 1e3);
    let at_wide = since(account.end_ms).len();
    let names = account.timeline.iter().filter_map(|line| line.target.as_deref());
    let name_wide = names.map(|name| plain(name).chars().count()).max().unwrap_or(0).min(NAMES);
    let name_wide = name_wide.max("service".len());
    let head = format!("{:>at_wide$}  {:<name_wide$}   desired   reason", "at", "service");
    text += &(style.paint(Ink::Faint, &head) + "\n");
    let shown = limit.unwrap_or(usize::MAX).min(account.timeline.len());
    // The end of an incident is what people look for.
    let left_out = account.timeline.len() - shown;
    if left_out > 0 {
        let told = format!("{} earlier lines; --all shows them", grouped(left_out as u64));
        text += &(style.paint(Ink::Faint, &format!("{:at_wide$}  {told}", "")) + "\n");
    }
    for line in &account.timeline[left_out..] {
        text += &row(line, &since(line.at_ms), (at_wide, name_wide), style);
    }
    if account.left_out > 0 {
        text += &format!("{} further lines are not listed\n", grouped(account.left_out));
    }
    text += "\n";
    text += &checked(account, style);
    text
}

fn row(line: &Line, at: &str, (at_wide, name_wide): (usize, usize), style: Style) -> String {
    let (ink, desired, told) = match &line.story {
        Story::Change { from, to, reason } => {
            let (from, arrow) = match from {
                Some(from) => (from.to_string(), "→"),
                None => (String::new(), " "),
            };
            (Ink::Usual, format!("{from:>3} {arrow} {to:<3}"), plain(reason))
        }
        Story::Failure { text } => (Ink::Alarm, "fault".to_owned(), plain(text)),
        Story::Succession { who, why } => {
            (Ink::Notice, "succeeds".to_owned(), format!("{} ({})", plain(why), plain(who)))
        }
        Story::Note { about, text } => (Ink::Notice, plain(about), plain(text)),
        Story::Gap { why } => (Ink::Alarm, "gap".to_owned(), plain(why)),
    };
    let name = fitted(&plain(line.target.as_deref().unwrap_or("")), name_wide);
    let desired = format!("{desired:<9}");
    let indent = at_wide + 2 + name_wide + 2 + desired.chars().count() + 2;
    let reason = wrapped(&told, style.wide().saturating_sub(indent).max(20));
    let reason = reason.join(&format!("\n{:indent$}", ""));
    let at = style.paint(Ink::Faint, &format!("{at:>at_wide$}"));
    format!("{at}  {name:<name_wide$}  {}  {reason}\n", style.paint(ink, &desired))
}

fn checked(account: &Account, style: Style) -> String {
    let mut text = String::new();
    let mut say = |what: &str, told: String| text += &format!("{what:<10} {told}\n");
    let undecided = match account.undecided {
        0 => String::new(),
        some => format!(", {} more not decided: what came before them is missing", grouped(some)),
    };
    let verdict = match &account.difference {
        None if account.steps == 0 => style.paint(Ink::Notice, "nothing was decided"),
        None => style.paint(Ink::Up, "the same plans, byte for byte"),
        Some(difference) => {
            style.paint(Ink::Alarm, &format!("step {} is planned otherwise", difference.step))
        }
    };
    let steps = counted(account.steps, "step");
    say("decided", format!("{steps} again{undecided}: {verdict}"));
    let mut read = counted(account.segments, "segment");
    if account.snapshots_checked > 0 {
        read += &format!(
            ", {} held against what the engine knows",
            counted(account.snapshots_checked, "snapshot")
        );
    }
    if account.successions > 0 {
        read += &format!(", {}", counted(account.successions, "succession"));
    }
    if account.requests > 0 {
        read += &format!(", {}", counted(account.requests, "request"));
    }
    say("read", read);
    for (digest, stages) in &account.policies {
        say("policy", format!("{}  {}", plain(digest), plain(&stages.join(", "))));
    }
    for hole in &account.gaps {
        let clock = |at: crate::time::Time| clock(at.since(account.start_ms) as f64 / 1e3);
        let to = hole.to_ms.map_or("its end".to_owned(), clock);
        let told = format!("{} to {to}: {} ({})", clock(hole.from_ms), hole.why, hole.segment);
        say("gap", style.paint(Ink::Alarm, &told));
    }
    if let Some(difference) = &account.difference {
        for (what, plan) in [("recorded", &difference.recorded), ("decided", &difference.decided)] {
            let plan = serde_json::to_string(plan).expect("every key of a plan is text");
            let cut: String = plan.chars().take(PLAN).collect();
            let more = if cut.len() < plan.len() { " … (whole with -o json)" } else { "" };
            text += &format!("{what:<10} {cut}{more}\n");
        }
    }
    text
}
