//! A run for a person: a line a case, a line a policy, then what is wrong and what it costs.

use super::{Tally, Verdict, told, wrongs_of_policy};
use crate::report::numbers::{counted, plain};
use crate::report::style::{Ink, Style, wrapped};
use crate::suite::contract::{CheckOutcome, Checked};
use crate::suite::diff::{self, CostDelta};
use crate::suite::snapshot::Snapshot;
use crate::suite::{CaseReport, Report, SnapshotState, SuiteReport, Update};

/// New snapshots that are shown whole: where there are more, `tidegate review` shows them one by one.
const NEW_SHOWN: usize = 3;
/// The widest that names of cases get. Characters.
const NAMES: usize = 40;

/// The whole run.
pub fn text(report: &Report, style: Style, update: Update) -> String {
    let mut text = String::new();
    for suite in &report.suites {
        text += &listed(suite, style);
    }
    let mut new = 0;
    for suite in &report.suites {
        for case in &suite.cases {
            let is_new = Verdict::of(case) == Verdict::New;
            new += usize::from(is_new);
            if !is_new || new <= NEW_SHOWN {
                text += &details(case, style);
            }
        }
        for policy in &suite.policies {
            let wrongs = wrongs_of_policy(policy);
            if !wrongs.is_empty() {
                text += &title("failed", &format!("policy {}", plain(&policy.policy)), style);
                wrongs.iter().for_each(|wrong| text += &indented("", wrong, Ink::Usual, style));
            }
        }
        if let Some(broken) = &suite.broken {
            text += &title("broken", &plain(&suite.file.display().to_string()), style);
            told(broken).iter().for_each(|line| text += &indented("", line, Ink::Usual, style));
        }
        for orphan in &suite.orphans {
            text += &title("orphan", &plain(&orphan.display().to_string()), style);
            let told = "no case has this snapshot: remove the file, or name the case as it was";
            text += &indented("", told, Ink::Usual, style);
        }
    }
    text.push('\n');
    text + &closing(report, style, update)
}

/// A line a case and a line a policy.
fn listed(suite: &SuiteReport, style: Style) -> String {
    let mut text = style.paint(Ink::Strong, &plain(&suite.file.display().to_string()));
    text.push('\n');
    let names = suite.cases.iter().map(|case| plain(&case.name).chars().count());
    let name_width = names.max().unwrap_or(0).min(NAMES);
    for case in &suite.cases {
        let verdict = Verdict::of(case);
        text += &style.paint(ink(verdict), &format!("  {:<8}", verdict.name()));
        text += &format!("{:<name_width$}", plain(&case.name));
        if !case.headline.is_empty() {
            text += &style.paint(Ink::Faint, &format!("  {}", case.headline));
        }
        if let SnapshotState::Accepted { before, .. } = &case.snapshot {
            let told = if before.is_some() { "accepted" } else { "accepted, new" };
            text += &style.paint(Ink::Notice, &format!("  {told}"));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    for policy in &suite.policies {
        text += &policy_line(policy, style);
    }
    if suite.skipped > 0 {
        let told = format!("  {} not chosen\n", counted(suite.skipped as u64, "case"));
        text += &style.paint(Ink::Faint, &told);
    }
    text
}

fn policy_line(policy: &Checked, style: Style) -> String {
    let (word, ink) = match policy.holds() {
        true => ("passed", Ink::Up),
        false => ("failed", Ink::Alarm),
    };
    let mut text = style.paint(ink, &format!("  {word:<8}"));
    let head = format!("policy {}", plain(&policy.policy));
    text += &head;
    let checks = policy.checks.iter().filter(|check| check.name != "fuel").map(|check| match check
        .outcome
    {
        CheckOutcome::Passed => check.name.clone(),
        CheckOutcome::Failed(_) => format!("NOT {}", check.name),
        CheckOutcome::Skipped(_) => format!("{} (not tried)", check.name),
    });
    let fuel = format!("{:.0} % of its fuel at most", (policy.fuel_share * 100.0).ceil());
    let decisions = counted(policy.decisions, "decision");
    let told: Vec<String> = checks.chain([fuel, decisions]).collect();
    let room = style.wide().saturating_sub(12);
    let first = 2 + 8 + head.chars().count() + 2;
    // The first line has less room, for the name stands in it.
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let mut taken = first;
    for one in told {
        let wide = one.chars().count() + 2;
        if !line.is_empty() && taken + wide > style.wide() {
            lines.push(std::mem::take(&mut line) + ",");
            taken = style.wide() - room;
        }
        if !line.is_empty() {
            line += ", ";
        }
        line += &one;
        taken += wide;
    }
    lines.push(line);
    text +=
        &style.paint(Ink::Faint, &format!("  {}", lines.join(&format!("\n{}", " ".repeat(12)))));
    text.push('\n');
    text
}

fn ink(verdict: Verdict) -> Ink {
    match verdict {
        Verdict::Passed => Ink::Up,
        Verdict::New | Verdict::Changed => Ink::Notice,
        Verdict::Failed | Verdict::Trapped | Verdict::Broken => Ink::Alarm,
    }
}

fn title(word: &str, name: &str, style: Style) -> String {
    let line = format!("── {word}: {name} ");
    let rest = style.wide().saturating_sub(line.chars().count());
    let rest = style.paint(Ink::Faint, &"─".repeat(rest));
    format!("\n{}{rest}\n", style.paint(Ink::Strong, &line))
}

/// A line with a word before it, wrapped in its own column.
fn indented(word: &str, told: &str, ink: Ink, style: Style) -> String {
    let before = if word.is_empty() { 0 } else { 10 };
    let lines = wrapped(&plain(told), style.wide() - before);
    let mut text = String::new();
    for (nth, line) in lines.iter().enumerate() {
        let word = if nth == 0 { word } else { "" };
        if before > 0 {
            text += &style.paint(Ink::Faint, &format!("{word:<before$}"));
        }
        text += &style.paint(ink, line);
        text.push('\n');
    }
    text
}

/// What is wrong with a case; nothing where nothing is.
pub fn details(case: &CaseReport, style: Style) -> String {
    let verdict = Verdict::of(case);
    if case.passed() {
        return String::new();
    }
    let mut text = title(verdict.name(), &plain(&case.name), style);
    if let Some(broken) = &case.broken {
        told(broken).iter().for_each(|line| text += &indented("", line, Ink::Usual, style));
        return text;
    }
    for failure in &case.failures {
        text += &indented("policy", failure, Ink::Alarm, style);
    }
    for unmet in &case.unmet {
        text += &indented("expected", &unmet.text, Ink::Usual, style);
        for because in &unmet.because {
            // Where the whole is one part, its words stand above.
            let rest = because.strip_prefix(&unmet.text).and_then(|rest| rest.strip_prefix(": "));
            text += &indented(" ", rest.unwrap_or(because), Ink::Alarm, style);
        }
    }
    match &case.snapshot {
        SnapshotState::New { now, file } => {
            text +=
                &indented("snapshot", &format!("{} is new", file.display()), Ink::Notice, style);
            text += &now.text;
            text.push('\n');
        }
        SnapshotState::Changed { before, now, file } => {
            text += &indented("snapshot", &file.display().to_string(), Ink::Notice, style);
            text += &change(before, now, style);
        }
        SnapshotState::None | SnapshotState::Same | SnapshotState::Accepted { .. } => {}
    }
    text
}

/// What changed from one snapshot to another, and what that costs.
pub fn change(before: &Snapshot, now: &Snapshot, style: Style) -> String {
    let mut text = String::new();
    if let Some((was, is)) = diff::other_simulator(before, now) {
        let told = format!(
            "the simulator changed: this snapshot was made by its model {was}, and this is model {is}. What differs need not be the policy's doing; read it once, and accept it"
        );
        text += &indented("", &told, Ink::Notice, style);
    }
    text += &diff::lines(&before.text, &now.text, style);
    let deltas = diff::deltas(&before.head.info, &now.head.info);
    if deltas.is_empty() {
        return text;
    }
    let ink = |delta: &CostDelta| match (delta.is_same(), delta.is_worse()) {
        (true, _) => Ink::Faint,
        (false, true) => Ink::Alarm,
        (false, false) => Ink::Up,
    };
    let mut taken = 10;
    text += &style.paint(Ink::Strong, &format!("{:<10}", "it costs"));
    for (nth, delta) in deltas.iter().enumerate() {
        let shown = delta.shown();
        let wide = shown.chars().count() + 3;
        if nth > 0 && taken + wide > style.wide() {
            text += &format!("\n{:<10}", "");
            taken = 10;
        } else if nth > 0 {
            text += "   ";
        }
        text += &style.paint(ink(delta), &shown);
        taken += wide;
    }
    text.push('\n');
    text
}

/// How many passed and did not, how long it took, and what to do.
fn closing(report: &Report, style: Style, update: Update) -> String {
    let tally = Tally::of(report);
    let mut parts = Vec::new();
    for (count, word, ink) in [
        (tally.passed, "passed", Ink::Up),
        (tally.new, "new", Ink::Notice),
        (tally.changed, "changed", Ink::Notice),
        (tally.failed, "failed", Ink::Alarm),
        (tally.trapped, "trapped", Ink::Alarm),
        (tally.broken, "broken", Ink::Alarm),
    ] {
        if count > 0 || word == "passed" {
            parts.push(style.paint(ink, &format!("{count} {word}")));
        }
    }
    if tally.checks_failed > 0 {
        parts.push(style.paint(
            Ink::Alarm,
            &format!("{} failed", counted(tally.checks_failed as u64, "contract check")),
        ));
    }
    if tally.orphans > 0 {
        let ink = if update == Update::Check { Ink::Alarm } else { Ink::Notice };
        parts.push(style.paint(ink, &counted(tally.orphans as u64, "orphaned snapshot")));
    }
    if tally.accepted > 0 {
        parts.push(style.paint(
            Ink::Notice,
            &format!("{} accepted", counted(tally.accepted as u64, "snapshot")),
        ));
    }
    let mut text = format!("{} in {:.1} s\n", parts.join(", "), report.took_s);
    if tally.new + tally.changed > 0 {
        text += match update {
            Update::Pending => {
                "tidegate review shows each snapshot and asks; tidegate accept takes all of them\n"
            }
            Update::Check => "nothing was written; without --check they wait for tidegate review\n",
            Update::Accept => "",
        };
    }
    text
}
