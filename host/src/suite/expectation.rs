//! What a case expects of its numbers, in a small language: `expired == 0 && gpu_minutes < 300`. It knows numbers by name and nothing
//! of where they come from.
//!
//! Numbers, `+ - * /`, comparisons, `! && ||`, parentheses. A number may have a unit (`2.5s`, `300ms`, `10m`, `2h`, `$3`, `5%`), and what
//! is compared must have units that go together. A minus between names needs spaces, since names of services have hyphens.

mod parse;

use std::fmt::Write as _;

use crate::metrics::{Metric, Unit};
use crate::report::numbers::{dollars, grouped, short};

/// A condition, as its author wrote it and as it is checked.
#[derive(Clone, Debug)]
pub struct Expectation {
    text: String,
    root: Node,
}

/// Whose numbers a condition is about, which decides the names that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// What a replay came to: every number of its summary, and [`REPLAY_NAMES`].
    Replay,
    /// What was decided about recorded observations: [`DECISION_NAMES`].
    Decisions,
}

/// Numbers of a replay that its summary does not have.
pub const REPLAY_NAMES: [(&str, Unit); 6] = [
    ("asleep_s", Unit::Seconds),
    ("changes", Unit::Count),
    ("failures", Unit::Count),
    ("late_changes", Unit::Count),
    ("unplaced", Unit::Count),
    ("duration_s", Unit::Seconds),
];

/// Numbers of recorded observations that were decided.
pub const DECISION_NAMES: [(&str, Unit); 5] = [
    ("rows", Unit::Count),
    ("changes", Unit::Count),
    ("failures", Unit::Count),
    ("wanted_min", Unit::Count),
    ("wanted_max", Unit::Count),
];

/// A condition that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at column {column}: {message}")]
pub struct ExpectationError {
    /// Counted from 1, in characters.
    pub column: usize,
    /// What was found there, and what was expected.
    pub message: String,
}

/// A service that a condition names and a case does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no service {service}, expected {expected}")]
pub struct UnknownService {
    /// The name.
    pub service: String,
    /// The nearest that there is, or all of them.
    pub expected: String,
}

/// A number by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Whose; `None`: all services together.
    pub service: Option<String>,
    /// Which: the long name of a metric, or one of the names of the [`Subject`].
    pub name: &'static str,
    unit: Unit,
    written: String,
}

/// A condition that does not hold, and the numbers that say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// As its author wrote it.
    pub text: String,
    /// The parts that do not hold with their numbers, a line each.
    pub because: Vec<String>,
}

#[derive(Clone, Debug)]
enum Node {
    Number(f64),
    Name(Name),
    /// A part divided by a constant, where units are converted.
    Scaled(Box<Node>, f64),
    Negative(Box<Node>),
    Arithmetic(Box<Node>, Arithmetic, Box<Node>),
    Compare {
        left: Box<Node>,
        by: Compare,
        right: Box<Node>,
        text: String,
    },
    Not(Box<Node>, String),
    All(Vec<Node>),
    Any(Vec<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arithmetic {
    Plus,
    Minus,
    Times,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    Unequal,
}

impl Expectation {
    /// Reads a condition on the numbers of `subject`.
    ///
    /// # Errors
    ///
    /// With the column of the first thing that is not as it must be.
    pub fn parse(text: &str, subject: Subject) -> Result<Expectation, ExpectationError> {
        Ok(Expectation { text: text.trim().to_owned(), root: parse::parse(text, subject)? })
    }

    /// As its author wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The services that it names.
    pub fn services(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.root.names(&mut names);
        names.into_iter().filter_map(|name| name.service.as_deref()).collect()
    }

    /// Checks it: `None` where it holds. `read` gives the number of a name; NaN, which meets nothing, where there is none.
    pub fn check(&self, read: &dyn Fn(&Name) -> f64) -> Option<Unmet> {
        if self.root.holds(read) {
            return None;
        }
        let mut because = Vec::new();
        self.root.tell(read, &mut because);
        Some(Unmet { text: self.text.clone(), because })
    }
}

impl Name {
    fn of_metric(service: Option<String>, metric: &'static Metric, written: &str) -> Name {
        Name { service, name: metric.name, unit: metric.unit, written: written.to_owned() }
    }

    /// The number as people read it, with its unit.
    fn shown(&self, value: f64) -> String {
        if value.is_nan() {
            return "not known".to_owned();
        }
        match self.unit {
            Unit::Seconds => format!("{} s", exact(value)),
            Unit::Dollars => dollars(value),
            Unit::Count | Unit::Minutes => exact(value),
        }
    }
}

/// A number with all its digits, as far as anyone reads them.
fn exact(value: f64) -> String {
    if value.fract() == 0.0 && (0.0..1e15).contains(&value) {
        return grouped(value as u64);
    }
    if value.abs() < 1_000.0 {
        let text = format!("{value:.4}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    short(value)
}

impl Node {
    fn value(&self, read: &dyn Fn(&Name) -> f64) -> f64 {
        match self {
            Node::Number(value) => *value,
            Node::Name(name) => read(name),
            Node::Scaled(node, divisor) => node.value(read) / divisor,
            Node::Negative(node) => -node.value(read),
            Node::Arithmetic(left, by, right) => {
                let (left, right) = (left.value(read), right.value(read));
                match by {
                    Arithmetic::Plus => left + right,
                    Arithmetic::Minus => left - right,
                    Arithmetic::Times => left * right,
                    Arithmetic::Over => left / right,
                }
            }
            Node::Compare { .. } | Node::Not(..) | Node::All(_) | Node::Any(_) => {
                f64::from(self.holds(read))
            }
        }
    }

    fn holds(&self, read: &dyn Fn(&Name) -> f64) -> bool {
        match self {
            Node::Compare { left, by, right, .. } => {
                let (left, right) = (left.value(read), right.value(read));
                match by {
                    Compare::Less => left < right,
                    Compare::AtMost => left <= right,
                    Compare::More => left > right,
                    Compare::AtLeast => left >= right,
                    Compare::Equal => left == right,
                    Compare::Unequal => left != right && !left.is_nan() && !right.is_nan(),
                }
            }
            Node::Not(node, _) => !node.holds(read),
            Node::All(nodes) => nodes.iter().all(|node| node.holds(read)),
            Node::Any(nodes) => nodes.iter().any(|node| node.holds(read)),
            Node::Number(_)
            | Node::Name(_)
            | Node::Scaled(..)
            | Node::Negative(_)
            | Node::Arithmetic(..) => false,
        }
    }

    /// The parts that keep it from holding, each with the numbers in it.
    fn tell(&self, read: &dyn Fn(&Name) -> f64, lines: &mut Vec<String>) {
        match self {
            Node::All(nodes) | Node::Any(nodes) => {
                nodes.iter().filter(|node| !node.holds(read)).for_each(|n| n.tell(read, lines));
            }
            Node::Compare { left, right, text, .. } => {
                let mut line = format!("{text}: {}", self.numbers(read));
                for (side, node) in [("left", left), ("right", right)] {
                    if node.is_computed() {
                        let value = node.value(read);
                        let value =
                            if value.is_nan() { "no number".to_owned() } else { exact(value) };
                        let _ = write!(line, "; the {side} side is {value}");
                    }
                }
                lines.push(line);
            }
            Node::Not(_, text) => lines.push(format!("{text}: {}", self.numbers(read))),
            Node::Number(_)
            | Node::Name(_)
            | Node::Scaled(..)
            | Node::Negative(_)
            | Node::Arithmetic(..) => {}
        }
    }

    fn numbers(&self, read: &dyn Fn(&Name) -> f64) -> String {
        let mut names = Vec::new();
        self.names(&mut names);
        names.dedup();
        let told = |name: &&Name| format!("{} is {}", name.written, name.shown(read(name)));
        match names.is_empty() {
            true => "there is no name in it".to_owned(),
            false => names.iter().map(told).collect::<Vec<_>>().join(", "),
        }
    }

    fn is_computed(&self) -> bool {
        match self {
            Node::Arithmetic(..) | Node::Negative(_) => true,
            Node::Scaled(node, _) => node.is_computed(),
            Node::Number(_)
            | Node::Name(_)
            | Node::Compare { .. }
            | Node::Not(..)
            | Node::All(_)
            | Node::Any(_) => false,
        }
    }

    fn names<'a>(&'a self, names: &mut Vec<&'a Name>) {
        match self {
            Node::Number(_) => {}
            Node::Name(name) => names.push(name),
            Node::Scaled(node, _) | Node::Negative(node) | Node::Not(node, _) => node.names(names),
            Node::Arithmetic(left, _, right) | Node::Compare { left, right, .. } => {
                left.names(names);
                right.names(names);
            }
            Node::All(nodes) | Node::Any(nodes) => nodes.iter().for_each(|node| node.names(names)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> String {
        let read = |name: &Name| match (name.service.as_deref(), name.name) {
            (None, "requests.expired") => 31.0,
            (None, "requests.arrived") => 1_000.0,
            (None, "gpu_minutes") => 341.0,
            (None, "cost") => 8.443,
            (Some("code"), "wait_s.p95") => 14.9,
            (Some("m-large-c155"), "requests.served") => 981.0,
            _ => f64::NAN,
        };
        match Expectation::parse(text, Subject::Replay) {
            Err(error) => error.to_string(),
            Ok(expectation) => match expectation.check(&read) {
                None => "holds".to_owned(),
                Some(unmet) => unmet.because.join("\n"),
            },
        }
    }

    #[test]
    fn a_condition_holds_or_tells_the_parts_that_do_not_with_their_numbers() {
        for (text, expected) in [
            ("expired == 31", "holds"),
            (
                "expired == 0 && gpu_minutes < 300",
                "expired == 0: expired is 31\ngpu_minutes < 300: gpu_minutes is 341",
            ),
            ("expired == 31 && gpu_minutes < 300", "gpu_minutes < 300: gpu_minutes is 341"),
            ("expired == 0 || gpu_minutes > 300", "holds"),
            ("expired / arrived < 5%", "holds"),
            (
                "expired / arrived < 1%",
                "expired / arrived < 1%: expired is 31, arrived is 1,000; the left side is 0.031",
            ),
            ("code.wait_p95 <= 14.9s", "holds"),
            ("code.wait_p95 < 300ms", "code.wait_p95 < 300ms: code.wait_p95 is 14.9 s"),
            ("services.code.wait_s.p95 < 1m", "holds"),
            ("gpu_minutes < 5h", "gpu_minutes < 5h: gpu_minutes is 341"),
            ("gpu_minutes < 6h", "holds"),
            ("m-large-c155.served == 981", "holds"),
            (
                "\"code\".wait_p95 - 4 < 10.8",
                "\"code\".wait_p95 - 4 < 10.8: \"code\".wait_p95 is 14.9 s; the left side is 10.9",
            ),
            ("!(expired > 0)", "!(expired > 0): expired is 31"),
            ("cost <= $8.44", "cost <= $8.44: cost is $8.44"),
            ("(expired + 1) * 2 == 64", "holds"),
            ("failures == 0", "failures == 0: failures is not known"),
            ("failures != 0", "failures != 0: failures is not known"),
        ] {
            assert_eq!(checked(text), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place_and_the_nearest_known_name() {
        for (text, expected) in [
            ("", "at column 1: the end, expected a number or a name"),
            (
                "gpu_minuts < 3",
                "at column 1: there is no number gpu_minuts, did you mean gpu_minutes?",
            ),
            (
                "expired == 0 && code.wait_p96 < 3",
                "at column 17: there is no number wait_p96, did you mean wait_p95?",
            ),
            (
                "frobnication < 3",
                "at column 1: there is no number frobnication, expected one as expired, wait_p99, gpu_minutes or cost",
            ),
            ("expired", "at column 1: a number, expected a condition, as expired == 0"),
            ("expired && cost < 3", "at column 1: a number, expected a condition, as expired == 0"),
            ("(cost < 3) + 1 < 2", "at column 1: a condition, expected a number"),
            ("expired = 0", "at column 9: =, expected =="),
            ("expired == 0 and cost < 3", "at column 14: and, expected &&, || or the end"),
            ("expired < 3s", "at column 11: a time, but expired is a count"),
            ("wait_p99 < $3", "at column 12: dollars, but wait_p99 is a time in seconds"),
            ("cost < 3q", "at column 8: 3q, expected a number, alone or with ms, s, m, h, % or $"),
            ("cost < 1 < 2", "at column 10: <, expected &&, || or the end"),
            ("(cost < 1", "at column 10: the end, expected )"),
            (
                "cost < 1.2.3",
                "at column 8: 1.2.3, expected a number, alone or with ms, s, m, h, % or $",
            ),
            ("cost < #", "at column 8: #, which has no meaning here"),
            ("3 < 4", "at column 1: no name, expected a condition about a number of the case"),
        ] {
            assert_eq!(checked(text), expected, "{text}");
        }
        let deep = "(".repeat(500);
        assert!(checked(&deep).contains("nested too deep"), "{}", checked(&deep));
    }

    #[test]
    fn names_of_the_other_subject_are_unknown() {
        let error = Expectation::parse("cost < 3", Subject::Decisions).expect_err("no such name");
        assert_eq!(
            error.to_string(),
            "at column 1: there is no number cost, expected one of rows, changes, failures, wanted_min, wanted_max"
        );
        assert!(Expectation::parse("code.wanted_max <= 4", Subject::Decisions).is_ok());
    }
}
