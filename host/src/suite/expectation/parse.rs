//! From text to a condition: words, then a parser that goes down by precedence, and units that are checked as it comes up.

use super::{
    Arithmetic, Compare, DECISION_NAMES, ExpectationError, Name, Node, REPLAY_NAMES, Subject,
};
use crate::metrics::{Metric, Reading, Unit};

/// The longest condition. Characters.
const LONGEST: usize = 4_000;
/// Parentheses and signs within one another.
const DEPTH_AT_MOST: usize = 64;

pub(super) fn parse(text: &str, subject: Subject) -> Result<Node, ExpectationError> {
    let length = text.chars().count();
    if length > LONGEST {
        let message = format!("a condition of {length} characters, expected at most {LONGEST}");
        return Err(ExpectationError { column: 1, message });
    }
    let words = words(text)?;
    let mut parser = Parser { text, words, at: 0, subject, depth: 0 };
    let root = parser.any()?;
    let root = parser.condition(root)?;
    if parser.peek() != &Word::End {
        return Err(parser.wrong("&&, || or the end"));
    }
    let mut names = Vec::new();
    root.node.names(&mut names);
    if names.is_empty() {
        let message = "no name, expected a condition about a number of the case".to_owned();
        return Err(error(text, root.start, message));
    }
    Ok(root.node)
}

#[derive(Clone, Debug, PartialEq)]
enum Word {
    Number(f64, Kind),
    Name,
    Sign(&'static str),
    End,
}

/// What a number is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It goes with everything.
    Plain,
    /// Seconds.
    Time,
    /// What a metric counts.
    Of(Unit),
    /// A comparison: true or false.
    Condition,
}

impl Kind {
    fn told(self) -> &'static str {
        match self {
            Kind::Plain => "a number",
            Kind::Time => "a time",
            Kind::Of(Unit::Count) => "a count",
            Kind::Of(Unit::Seconds) => "a time in seconds",
            Kind::Of(Unit::Minutes) => "a time in minutes",
            Kind::Of(Unit::Dollars) => "dollars",
            Kind::Condition => "a condition",
        }
    }
}

struct Placed {
    word: Word,
    start: usize,
    end: usize,
}

struct Part {
    node: Node,
    kind: Kind,
    start: usize,
    end: usize,
}

fn error(text: &str, at: usize, message: String) -> ExpectationError {
    ExpectationError { column: text[..at].chars().count() + 1, message }
}

const SIGNS: [&str; 16] =
    ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "(", ")", "="];

fn words(text: &str) -> Result<Vec<Placed>, ExpectationError> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (word, length) = if first.is_ascii_digit() || first == '$' || first == '.' {
            let length = length_of(rest, |c| c.is_ascii_alphanumeric() || "$.%".contains(c));
            let message = || {
                let found = &rest[..length];
                format!("{found}, expected a number, alone or with ms, s, m, h, % or $")
            };
            let (value, kind) =
                number(&rest[..length]).ok_or_else(|| error(text, at, message()))?;
            (Word::Number(value, kind), length)
        } else if first.is_alphabetic() || first == '"' || first == '_' {
            (
                Word::Name,
                name_length(rest)
                    .ok_or_else(|| error(text, at, "a quote that does not end".to_owned()))?,
            )
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            if *sign == "=" {
                return Err(error(text, at, "=, expected ==".to_owned()));
            }
            (Word::Sign(sign), sign.len())
        } else {
            return Err(error(text, at, format!("{first}, which has no meaning here")));
        };
        words.push(Placed { word, start: at, end: at + length });
        at += length;
    }
    words.push(Placed { word: Word::End, start: text.len(), end: text.len() });
    Ok(words)
}

fn length_of(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_part(c)).unwrap_or(text.len())
}

/// A name goes on over dots, and over hyphens that are within it; a service in quotes may have anything.
fn name_length(text: &str) -> Option<usize> {
    let quoted = match text.strip_prefix('"') {
        Some(rest) => rest.find('"')? + 2,
        None => 0,
    };
    let rest = &text[quoted..];
    let length = length_of(rest, |c| c.is_alphanumeric() || "_.-".contains(c));
    Some(quoted + rest[..length].trim_end_matches(['-', '.']).len())
}

fn number(text: &str) -> Option<(f64, Kind)> {
    let (rest, is_money) = match text.strip_prefix('$') {
        Some(rest) => (rest, true),
        None => (text.strip_suffix('$').unwrap_or(text), text.ends_with('$')),
    };
    let digits = length_of(rest, |c| c.is_ascii_digit() || c == '.');
    let value: f64 = rest[..digits].parse().ok()?;
    // Divided, not multiplied by a part of 1, which would round twice.
    Some(match (&rest[digits..], is_money) {
        ("", true) => (value, Kind::Of(Unit::Dollars)),
        ("", false) => (value, Kind::Plain),
        ("%", false) => (value / 100.0, Kind::Plain),
        ("ms", false) => (value / 1_000.0, Kind::Time),
        ("s", false) => (value, Kind::Time),
        ("m", false) => (value * 60.0, Kind::Time),
        ("h", false) => (value * 3_600.0, Kind::Time),
        (_, true | false) => return None,
    })
}

struct Parser<'a> {
    text: &'a str,
    words: Vec<Placed>,
    at: usize,
    subject: Subject,
    depth: usize,
}

type Parsed = Result<Part, ExpectationError>;

impl Parser<'_> {
    fn peek(&self) -> &Word {
        &self.words[self.at].word
    }

    fn takes(&mut self, sign: &str) -> bool {
        let is_it = matches!(self.peek(), Word::Sign(found) if *found == sign);
        self.at += usize::from(is_it);
        is_it
    }

    fn wrong(&self, expected: &str) -> ExpectationError {
        let Placed { start, end, .. } = self.words[self.at];
        let found = if start == end { "the end" } else { &self.text[start..end] };
        error(self.text, start, format!("{found}, expected {expected}"))
    }

    fn condition(&self, part: Part) -> Parsed {
        if part.kind == Kind::Condition {
            return Ok(part);
        }
        let message = "a number, expected a condition, as expired == 0".to_owned();
        Err(error(self.text, part.start, message))
    }

    fn quantity(&self, part: Part) -> Parsed {
        if part.kind != Kind::Condition {
            return Ok(part);
        }
        Err(error(self.text, part.start, "a condition, expected a number".to_owned()))
    }

    fn any(&mut self) -> Parsed {
        let first = self.all()?;
        self.several(first, "||", Parser::all, Node::Any)
    }

    fn all(&mut self) -> Parsed {
        let first = self.comparison()?;
        self.several(first, "&&", Parser::comparison, Node::All)
    }

    fn several(
        &mut self,
        first: Part,
        sign: &str,
        next: fn(&mut Self) -> Parsed,
        together: fn(Vec<Node>) -> Node,
    ) -> Parsed {
        if !matches!(self.peek(), Word::Sign(found) if *found == sign) {
            return Ok(first);
        }
        let first = self.condition(first)?;
        let (start, mut end) = (first.start, first.end);
        let mut nodes = vec![first.node];
        while self.takes(sign) {
            let part = next(self)?;
            let part = self.condition(part)?;
            end = part.end;
            nodes.push(part.node);
        }
        Ok(Part { node: together(nodes), kind: Kind::Condition, start, end })
    }

    fn comparison(&mut self) -> Parsed {
        let left = self.sum()?;
        let signs = [
            ("<", Compare::Less),
            ("<=", Compare::AtMost),
            (">", Compare::More),
            (">=", Compare::AtLeast),
            ("==", Compare::Equal),
            ("!=", Compare::Unequal),
        ];
        let Some(by) = signs.iter().find_map(|(sign, by)| self.takes(sign).then_some(*by)) else {
            return Ok(left);
        };
        let left = self.quantity(left)?;
        let right = self.sum()?;
        let right = self.quantity(right)?;
        let (start, end) = (left.start, right.end);
        let (left, right, _) = self.alike(left, right)?;
        let text = self.text[start..end].to_owned();
        let node = Node::Compare { left: Box::new(left), by, right: Box::new(right), text };
        Ok(Part { node, kind: Kind::Condition, start, end })
    }

    fn sum(&mut self) -> Parsed {
        let mut left = self.product()?;
        loop {
            let by = match self.peek() {
                Word::Sign("+") => Arithmetic::Plus,
                Word::Sign("-") => Arithmetic::Minus,
                Word::Sign(_) | Word::Number(..) | Word::Name | Word::End => return Ok(left),
            };
            self.at += 1;
            let right = self.product()?;
            let (one, other) = (self.quantity(left)?, self.quantity(right)?);
            let (start, end) = (one.start, other.end);
            let (one, other, kind) = self.alike(one, other)?;
            let node = Node::Arithmetic(Box::new(one), by, Box::new(other));
            left = Part { node, kind, start, end };
        }
    }

    fn product(&mut self) -> Parsed {
        let mut left = self.unary()?;
        loop {
            let by = match self.peek() {
                Word::Sign("*") => Arithmetic::Times,
                Word::Sign("/") => Arithmetic::Over,
                Word::Sign(_) | Word::Number(..) | Word::Name | Word::End => return Ok(left),
            };
            self.at += 1;
            let right = self.unary()?;
            let (one, other) = (self.quantity(left)?, self.quantity(right)?);
            let is_bare = |kind| matches!(kind, Kind::Plain | Kind::Of(Unit::Count));
            let kind = match (by, is_bare(one.kind), is_bare(other.kind)) {
                (Arithmetic::Times, true, false) => other.kind,
                (_, false, true) => one.kind,
                // A share, a rate, or a product of units, which goes with any number.
                (_, true | false, true | false) => Kind::Plain,
            };
            let (start, end) = (one.start, other.end);
            let node = Node::Arithmetic(Box::new(one.node), by, Box::new(other.node));
            left = Part { node, kind, start, end };
        }
    }

    fn unary(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEPTH_AT_MOST {
            let start = self.words[self.at].start;
            return Err(error(self.text, start, "it is nested too deep".to_owned()));
        }
        let part = self.primary();
        self.depth -= 1;
        part
    }

    fn primary(&mut self) -> Parsed {
        let Placed { start, end, ref word } = self.words[self.at];
        match *word {
            Word::Number(value, kind) => {
                self.at += 1;
                Ok(Part { node: Node::Number(value), kind, start, end })
            }
            Word::Name => {
                self.at += 1;
                let name = self.name(start, end)?;
                let kind = Kind::Of(name.unit);
                Ok(Part { node: Node::Name(name), kind, start, end })
            }
            Word::Sign("-") => {
                self.at += 1;
                let part = self.unary()?;
                let Part { node, kind, end, .. } = self.quantity(part)?;
                Ok(Part { node: Node::Negative(Box::new(node)), kind, start, end })
            }
            Word::Sign("!") => {
                self.at += 1;
                let part = self.unary()?;
                let Part { node, kind, end, .. } = self.condition(part)?;
                let text = self.text[start..end].to_owned();
                Ok(Part { node: Node::Not(Box::new(node), text), kind, start, end })
            }
            Word::Sign("(") => {
                self.at += 1;
                let inner = self.any()?;
                if !self.takes(")") {
                    return Err(self.wrong(")"));
                }
                let end = self.words[self.at - 1].end;
                Ok(Part { start, end, ..inner })
            }
            Word::Sign(_) | Word::End => Err(self.wrong("a number or a name")),
        }
    }

    /// Two parts whose units go together, converted where they are of one kind; and the unit of both.
    fn alike(&self, left: Part, right: Part) -> Result<(Node, Node, Kind), ExpectationError> {
        use Kind::{Of, Plain, Time};
        let minutes = |node: Node| Node::Scaled(Box::new(node), 60.0);
        match (left.kind, right.kind) {
            (one, other) if one == other => Ok((left.node, right.node, one)),
            (Plain, other) => Ok((left.node, right.node, other)),
            (one, Plain) => Ok((left.node, right.node, one)),
            (Time, Of(Unit::Seconds)) | (Of(Unit::Seconds), Time) => {
                Ok((left.node, right.node, Of(Unit::Seconds)))
            }
            (Time | Of(Unit::Seconds), Of(Unit::Minutes)) => {
                Ok((minutes(left.node), right.node, Of(Unit::Minutes)))
            }
            (Of(Unit::Minutes), Time | Of(Unit::Seconds)) => {
                Ok((left.node, minutes(right.node), Of(Unit::Minutes)))
            }
            (one, other) => {
                let named = &self.text[left.start..left.end];
                let message = format!("{}, but {named} is {}", other.told(), one.told());
                Err(error(self.text, right.start, message))
            }
        }
    }

    fn name(&self, start: usize, end: usize) -> Result<Name, ExpectationError> {
        let written = &self.text[start..end];
        let plain = written.replace('"', "");
        let plain = plain.strip_prefix("services.").unwrap_or(&plain);
        let own: &[(&'static str, Unit)] = match self.subject {
            Subject::Replay => &REPLAY_NAMES,
            Subject::Decisions => &DECISION_NAMES,
        };
        let (service, last) = match plain.rsplit_once('.') {
            Some((service, last)) => (Some(service.to_owned()), last),
            None => (None, plain),
        };
        if let Some((name, unit)) = own.iter().find(|(name, _)| *name == last) {
            return Ok(Name { service, name, unit: *unit, written: written.to_owned() });
        }
        if self.subject == Subject::Replay
            && let Ok(Reading { service, metric }) = Reading::parse(plain)
        {
            return Ok(Name::of_metric(service, metric, written));
        }
        let names: Vec<&str> = match self.subject {
            Subject::Replay => own
                .iter()
                .map(|(name, _)| *name)
                .chain(crate::metrics::METRICS.iter().flat_map(both))
                .collect(),
            Subject::Decisions => own.iter().map(|(name, _)| *name).collect(),
        };
        let hint = match (tidegate_settings::nearest(last, names.iter().copied()), self.subject) {
            (Some(nearest), _) => format!("did you mean {nearest}?"),
            (None, Subject::Replay) => {
                "expected one as expired, wait_p99, gpu_minutes or cost".to_owned()
            }
            (None, Subject::Decisions) => format!("expected one of {}", names.join(", ")),
        };
        Err(error(self.text, start, format!("there is no number {last}, {hint}")))
    }
}

fn both(metric: &'static Metric) -> impl Iterator<Item = &'static str> {
    [Some(metric.name), metric.short].into_iter().flatten()
}
