//! `tidegate review`, `accept`, `reject` and `pending`: what becomes of snapshots that wait for a decision.

use std::io::{BufRead, IsTerminal as _};

use super::args::Output;
use super::failure::{Exit, Failure};
use super::output::Terminal;
use super::suites::Chosen;
use crate::report::Style;
use crate::suite::pending::Pending;
use crate::suite::print;
use crate::suite::snapshot::SnapshotError;

/// What `review`, `accept` and `reject` are told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Suites (files or folders), and parts of names of cases; all below this folder if not given.
    #[arg(value_name = "SUITE|NAME")]
    words: Vec<String>,
}

/// What `pending` is told.
#[derive(Debug, clap::Args)]
pub(super) struct PendingArgs {
    #[command(flatten)]
    which: Args,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn pending(args: &PendingArgs, terminal: &Terminal) -> Result<(), Failure> {
    let waiting = waiting(&args.which, false)?;
    terminal.print(&match args.output {
        Output::Json => print::pending_json(&waiting),
        Output::Text => waiting
            .iter()
            .map(|one| {
                let word = if one.before.is_none() { "new" } else { "changed" };
                format!("{word:<8}  {}  {}\n", one.file.display(), one.case)
            })
            .collect(),
    })
}

pub(super) fn accept(args: &Args, terminal: &Terminal) -> Result<(), Failure> {
    for one in waiting(args, true)? {
        one.accept().map_err(|error| fails(&error))?;
        terminal.print(&format!("accepted  {}\n", one.file.display()))?;
    }
    Ok(())
}

pub(super) fn reject(args: &Args, terminal: &Terminal) -> Result<(), Failure> {
    for one in waiting(args, true)? {
        one.reject().map_err(|error| fails(&error))?;
        terminal.print(&format!("rejected  {}\n", one.file.display()))?;
    }
    Ok(())
}

/// Shows each snapshot that waits and asks what to do about it.
pub(super) fn review(args: &Args, terminal: &Terminal) -> Result<(), Failure> {
    let waiting = waiting(args, false)?;
    if waiting.is_empty() {
        return terminal.print("no snapshot waits\n");
    }
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        let what =
            format!("review asks questions, and this is no terminal; {} wait", waiting.len());
        return Err(Failure::plain(Exit::Input, what).hint(
            "tidegate pending lists them, tidegate accept or reject decides without asking",
        ));
    }
    let style = Style { colour: terminal.has_colors, width: terminal.width() };
    let mut print = |text: &str| terminal.print(text);
    reviewed(&waiting, style, &mut std::io::stdin().lock(), &mut print)
}

/// Goes through what waits, with the answers of a person.
fn reviewed(
    waiting: &[Pending],
    style: Style,
    answers: &mut dyn BufRead,
    print: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (mut accepted, mut rejected, mut skipped) = (0, 0, 0);
    let mut takes_all = false;
    for (nth, one) in waiting.iter().enumerate() {
        print(&format!(
            "\n{} of {}: {} ({})\n",
            nth + 1,
            waiting.len(),
            one.case,
            one.file.display()
        ))?;
        print(&shown(one, style))?;
        let answer = if takes_all { Answer::Accept } else { ask(answers, print)? };
        match answer {
            Answer::Accept | Answer::AcceptAll => {
                takes_all |= answer == Answer::AcceptAll;
                one.accept().map_err(|error| fails(&error))?;
                accepted += 1;
            }
            Answer::Reject => {
                one.reject().map_err(|error| fails(&error))?;
                rejected += 1;
            }
            Answer::Skip => skipped += 1,
            Answer::Quit => {
                skipped += waiting.len() - nth;
                break;
            }
        }
    }
    print(&format!("\n{accepted} accepted, {rejected} rejected, {skipped} still wait\n"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Accept,
    AcceptAll,
    Reject,
    Skip,
    Quit,
}

/// Asks until the answer is one of those there are. The end of the input ends the review.
fn ask(
    answers: &mut dyn BufRead,
    print: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<Answer, Failure> {
    loop {
        print("[a]ccept, [r]eject, [s]kip, accept a[l]l that follow, [q]uit? ")?;
        let mut line = String::new();
        let read = answers
            .read_line(&mut line)
            .map_err(|error| Failure::new(Exit::Environment, "cannot read the answer", &error))?;
        match line.trim() {
            _ if read == 0 => return Ok(Answer::Quit),
            "a" | "accept" | "y" => return Ok(Answer::Accept),
            "l" | "all" => return Ok(Answer::AcceptAll),
            "r" | "reject" | "n" => return Ok(Answer::Reject),
            "s" | "skip" | "" => return Ok(Answer::Skip),
            "q" | "quit" => return Ok(Answer::Quit),
            _ => {}
        }
    }
}

fn shown(one: &Pending, style: Style) -> String {
    match &one.before {
        Some(before) => print::change(before, &one.now, style),
        None => format!("{}\n", one.now.text),
    }
}

/// What waits and is chosen. Names that choose nothing are a slip where something `must` be chosen.
fn waiting(args: &Args, must: bool) -> Result<Vec<Pending>, Failure> {
    let chosen = Chosen::of(&args.words)?;
    let mut all = Vec::new();
    for suite in &chosen.suites {
        all.extend(Pending::of(suite).map_err(|error| fails(&error))?);
    }
    let (waiting, others): (Vec<Pending>, Vec<Pending>) =
        all.into_iter().partition(|one| chosen.has(&one.suite, &one.case));
    if waiting.is_empty() && must {
        if others.is_empty() {
            return Err(
                Failure::plain(Exit::Input, "no snapshot waits").hint("tidegate test makes some")
            );
        }
        return Err(
            chosen.nothing("snapshot that waits", others.iter().map(|one| one.case.as_str()))
        );
    }
    Ok(waiting)
}

fn fails(error: &SnapshotError) -> Failure {
    let exit = match error {
        SnapshotError::File { .. } => Exit::Environment,
        SnapshotError::Syntax { .. } => Exit::Input,
    };
    Failure::new(exit, "cannot go on with snapshots", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::snapshot::{Head, Info, Snapshot, pending_of};

    /// Three snapshots that wait, reviewed by somebody who types `keys`: what was asked, and what then lies in the folder.
    fn review(keys: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let suite = folder.path().join("suite.yaml");
        let snapshot = |case: &str, text: &str| Snapshot {
            head: Head {
                source: "suite.yaml".to_owned(),
                description: String::new(),
                expression: case.to_owned(),
                info: Info {
                    kind: "inputs".to_owned(),
                    simulator: None,
                    numbers: Default::default(),
                },
            },
            text: text.to_owned(),
        };
        for case in ["one", "two", "three"] {
            let file = crate::suite::snapshot::path_of(&suite, case);
            snapshot(case, "wants 3").write(&pending_of(&file)).expect("it is written");
            if case == "two" {
                snapshot(case, "wants 2").write(&file).expect("it is written");
            }
        }
        let waiting = Pending::of(&suite).expect("they are read");
        let mut told = String::new();
        let mut print = |text: &str| {
            told.push_str(text);
            Ok(())
        };
        reviewed(&waiting, Style::PLAIN, &mut keys.as_bytes(), &mut print).expect("it ends well");
        let mut left: Vec<String> = std::fs::read_dir(folder.path().join("snapshots"))
            .expect("there are some")
            .map(|entry| {
                let path = entry.expect("readable").path();
                let name = path.file_name().expect("it has one").to_string_lossy().into_owned();
                let text = Snapshot::read(&path).expect("readable").expect("it is there").text;
                format!("{name}: {text}")
            })
            .collect();
        left.sort();
        let asked = told.matches("[q]uit? ").count();
        let end = told.lines().last().unwrap_or_default().to_owned();
        format!("asked {asked} times\n{end}\n{}", left.join("\n"))
    }

    #[test]
    fn each_answer_does_what_it_says_and_what_is_no_answer_is_asked_again() {
        insta::assert_snapshot!(review("a\nwhat?\nr\n\n"), @r"
        asked 4 times
        1 accepted, 1 rejected, 1 still wait
        one.snap: wants 3
        two.snap.new: wants 3
        two.snap: wants 2
        ");
    }

    #[test]
    fn all_that_follow_are_accepted_without_another_question() {
        insta::assert_snapshot!(review("s\nl\n"), @r"
        asked 2 times
        2 accepted, 0 rejected, 1 still wait
        one.snap.new: wants 3
        three.snap: wants 3
        two.snap: wants 3
        ");
    }

    #[test]
    fn quitting_and_the_end_of_the_input_leave_the_rest_as_it_is() {
        insta::assert_snapshot!(review("reject\nq\n"), @r"
        asked 2 times
        0 accepted, 1 rejected, 2 still wait
        three.snap.new: wants 3
        two.snap.new: wants 3
        two.snap: wants 2
        ");
        insta::assert_snapshot!(review("y\n"), @r"
        asked 2 times
        1 accepted, 0 rejected, 2 still wait
        one.snap: wants 3
        three.snap.new: wants 3
        two.snap.new: wants 3
        two.snap: wants 2
        ");
        assert_eq!(review("y\nquit\n"), review("y\n"));
    }
}
