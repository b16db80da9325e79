//! How a command ends early: what a person reads, and the exit code. The only place where errors become prose.

use std::error::Error;
use std::fmt::Write as _;

/// Exit codes, as `tidegate help` lists them. Scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// A check, a snapshot or a gate failed, while the tool itself worked.
    Check = 1,
    /// The command line, a file or a trace is not as it must be.
    Input = 2,
    /// A policy trapped, overran its limits, or breaks the rules for components.
    Policy = 3,
    /// The file system or a connection would not; trying again may help.
    Environment = 4,
}

/// What ends a command.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    /// `what` could not be done, because of `error` and its sources.
    pub(super) fn new(
        exit: Exit,
        what: impl Into<String>,
        error: &(dyn Error + 'static),
    ) -> Failure {
        let mut causes = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next {
            causes.push(error.to_string());
            next = error.source();
        }
        Failure { exit, what: what.into(), causes, hint: None }
    }

    /// `what` could not be done, for a reason that `what` already tells.
    pub(super) fn plain(exit: Exit, what: impl Into<String>) -> Failure {
        Failure { exit, what: what.into(), causes: Vec::new(), hint: None }
    }

    /// A check failed, and what was printed as the result says all there is to say.
    pub(super) fn of_checks() -> Failure {
        Failure::told(Exit::Check)
    }

    /// Something failed, and what was printed as the result says all there is to say.
    pub(super) fn told(exit: Exit) -> Failure {
        Failure::plain(exit, "")
    }

    /// What it says, a line a cause, with what to do about it.
    pub(super) fn into_parts(self) -> (Exit, Vec<String>, Option<String>) {
        let mut told = vec![self.what];
        told.extend(self.causes);
        (self.exit, told, self.hint)
    }

    /// The same without the cause that `what` tells already.
    pub(super) fn without_first_cause(mut self) -> Failure {
        if !self.causes.is_empty() {
            self.causes.remove(0);
        }
        self
    }

    /// The same, with what to do about it.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// The same with further causes, each a line.
    pub(super) fn causes(mut self, causes: impl IntoIterator<Item = String>) -> Failure {
        self.causes.extend(causes);
        self
    }

    /// The exit code.
    pub(super) fn code(&self) -> u8 {
        self.exit as u8
    }

    /// As it is printed.
    pub(super) fn render(&self) -> String {
        if self.what.is_empty() {
            return String::new();
        }
        let mut text = format!("error: {}\n", printable(&cut(&self.what)));
        for cause in &self.causes {
            let _ = writeln!(text, "cause: {}", printable(&cut(cause)).replace('\n', "\n       "));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, " hint: {}", printable(&cut(hint)).replace('\n', "\n       "));
        }
        text
    }
}

/// The longest line of a message: what goes on beyond it is somebody's input, repeated.
const LONGEST: usize = 1_000;

/// A message with its longest lines cut.
fn cut(text: &str) -> String {
    let line = |line: &str| match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Text from files and policies without the control characters that a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(
            |character| {
                if character.is_control() && character != '\n' { '\u{fffd}' } else { character }
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_sources_and_what_to_do() {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no such \u{1b}[31mfile");
        let failure = Failure::new(Exit::Input, "cannot replay a.csv", &source).hint("look again");
        insta::assert_snapshot!(failure.render(), @r"
        error: cannot replay a.csv
        cause: no such �[31mfile
         hint: look again
        ");
        assert_eq!(failure.code(), 2);
        let long = Failure::plain(Exit::Input, "x".repeat(5_000) + "\nshort");
        assert_eq!(long.render().chars().count(), "error: ".len() + 1_001 + "\nshort\n".len());
    }
}
