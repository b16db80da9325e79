//! Gates: conditions on the numbers of two runs, as `gpu_minutes<=+5%`. Parsed before anything runs, checked after.

use serde::Serialize;

use crate::ledger::Sums;
use crate::metrics::{Amount, AmountError, Reading, UnknownMetric};

/// A condition on a number of B, absolute or relative to A's.
#[derive(Clone, Debug)]
pub struct Gate {
    /// As it was written.
    pub text: String,
    /// Which number.
    pub reading: Reading,
    relation: Relation,
    bound: Bound,
}

/// How B's number must stand to the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
}

/// Longer ones first: `<=` is not `<`.
const RELATIONS: [(&str, Relation); 5] = [
    ("<=", Relation::AtMost),
    (">=", Relation::AtLeast),
    ("==", Relation::Equal),
    ("<", Relation::Below),
    (">", Relation::Above),
];

/// The longest gate. Characters.
const LONGEST: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    /// That number.
    Absolute(f64),
    /// A's, and so much more.
    More(f64),
    /// A's, and so many hundredths of it more.
    MorePercent(f64),
}

/// A gate that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// It has no relation.
    #[error(
        "gate `{gate}`: no relation in it, expected a metric, then <=, <, >=, > or ==, then a number, as gpu_minutes<=+5%"
    )]
    NoRelation {
        /// As it was written.
        gate: String,
    },
    /// It is longer than any condition.
    #[error("a gate of {length} characters, expected at most {LONGEST}")]
    TooLong {
        /// How long it is. Characters.
        length: usize,
    },
    /// It names a metric that there is not.
    #[error("gate `{gate}`, column {column}")]
    Metric {
        /// As it was written.
        gate: String,
        /// Counted from 1.
        column: usize,
        /// What is wrong.
        source: UnknownMetric,
    },
    /// The number is none, or has another metric's unit.
    #[error("gate `{gate}`, column {column}")]
    Amount {
        /// As it was written.
        gate: String,
        /// Counted from 1.
        column: usize,
        /// What is wrong.
        source: AmountError,
    },
    /// A percentage of nothing.
    #[error(
        "gate `{gate}`, column {column}: {found} is a part of A's number, expected a sign before it, as +{found}"
    )]
    PercentWithoutSign {
        /// As it was written.
        gate: String,
        /// Counted from 1.
        column: usize,
        /// What was written.
        found: String,
    },
}

/// What became of a gate.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// As it was written.
    pub gate: String,
    /// The service; `None`: all together.
    pub service: Option<String>,
    /// The metric, by its name in the document.
    pub metric: &'static str,
    /// A's number.
    pub a: f64,
    /// B's number.
    pub b: f64,
    /// `<=`, `<`, `>=`, `>` or `==`.
    pub relation: &'static str,
    /// What B's number was held against.
    pub bound: f64,
    /// What to know of the bound: that a part of nothing is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
    /// Whether it holds.
    pub has_passed: bool,
}

impl Gate {
    /// Reads `[service.]metric RELATION [SIGN]NUMBER[UNIT]`; spaces mean nothing. With a sign the number is relative to A's.
    ///
    /// # Errors
    ///
    /// When there is no such metric, relation, number or unit.
    pub fn parse(text: &str) -> Result<Gate, GateError> {
        let length = text.chars().count();
        if length > LONGEST {
            return Err(GateError::TooLong { length });
        }
        let gate = || text.to_owned();
        let first = text.find(['<', '>', '=']);
        let Some((at, (word, relation))) = first.and_then(|at| {
            let found = RELATIONS.iter().find(|(word, _)| text[at..].starts_with(word));
            found.map(|found| (at, *found))
        }) else {
            return Err(GateError::NoRelation { gate: gate() });
        };
        let column = |part: &str| {
            text[..part.as_ptr() as usize - text.as_ptr() as usize].chars().count() + 1
        };
        let name = text[..at].trim();
        let reading = Reading::parse(name).map_err(|source| GateError::Metric {
            gate: gate(),
            column: column(name),
            source,
        })?;
        let number = text[at + word.len()..].trim();
        let (sign, unsigned) = match number.split_at_checked(1) {
            Some(("+", rest)) => (Some(1.0), rest.trim_start()),
            Some(("-", rest)) => (Some(-1.0), rest.trim_start()),
            Some(_) | None => (None, number),
        };
        let amount = Amount::parse(unsigned, reading.metric).map_err(|source| {
            GateError::Amount { gate: gate(), column: column(unsigned), source }
        })?;
        let bound = match (sign, amount) {
            (None, Amount::Plain(value)) => Bound::Absolute(value),
            (Some(sign), Amount::Plain(value)) => Bound::More(sign * value),
            (Some(sign), Amount::Percent(value)) => Bound::MorePercent(sign * value),
            (None, Amount::Percent(_)) => {
                return Err(GateError::PercentWithoutSign {
                    gate: gate(),
                    column: column(unsigned),
                    found: unsigned.to_owned(),
                });
            }
        };
        Ok(Gate { text: gate(), reading, relation, bound })
    }

    /// What to know of the bound where A's number is `a`.
    fn note(&self, a: f64) -> Option<&'static str> {
        match self.bound {
            Bound::MorePercent(_) if a == 0.0 => Some(
                "A has 0, and every percentage of that is 0: a number with a sign, as +2, says how much more there may be",
            ),
            Bound::Absolute(_) | Bound::More(_) | Bound::MorePercent(_) => None,
        }
    }

    /// Holds B's number against A's; `None` where the service is not among them.
    pub fn check(&self, a: &Sums, b: &Sums) -> Option<Checked> {
        let (a, b) = (self.reading.of(a)?, self.reading.of(b)?);
        let bound = match self.bound {
            Bound::Absolute(value) => value,
            Bound::More(value) => a + value,
            Bound::MorePercent(percent) => a * (100.0 + percent) / 100.0,
        };
        let has_passed = match self.relation {
            Relation::AtMost => b <= bound,
            Relation::Below => b < bound,
            Relation::AtLeast => b >= bound,
            Relation::Above => b > bound,
            Relation::Equal => b == bound,
        };
        let word = RELATIONS.iter().find(|(_, relation)| *relation == self.relation);
        Some(Checked {
            gate: self.text.clone(),
            service: self.reading.service.clone(),
            metric: self.reading.metric.name,
            a,
            b,
            relation: word.map_or("", |(word, _)| word),
            bound,
            note: self.note(a),
            has_passed,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::error::Error as _;

    use super::*;
    use crate::ledger::Summary;

    fn sums(gpu_minutes: u64, p99: f64) -> Sums {
        let mut whole = Summary { gpu_minutes, ..Summary::default() };
        whole.wait_s.p99 = p99;
        Sums { services: BTreeMap::from([("chat".to_owned(), whole.clone())]), whole }
    }

    #[test]
    fn gates_hold_b_against_a_number_or_against_a() {
        let (a, b) = (sums(100, 2.0), sums(105, 2.5));
        for (gate, passes) in [
            ("gpu_minutes<=+5%", true),
            ("gpu_minutes<+5%", false),
            ("gpu_minutes <= +4.9 %", false),
            ("gpu_minutes<=105", true),
            ("gpu_minutes<105", false),
            ("gpu_minutes>=105m", true),
            ("gpu_minutes>100", true),
            ("gpu_minutes<=-5%", false),
            ("gpu_minutes==105", true),
            ("gpu_minutes==+5", true),
            ("chat.gpu_minutes<=+6", true),
            ("wait_p99<=+0.5s", true),
            ("wait_p99<=+499ms", false),
            ("chat.wait_s.p99<2s", false),
            ("expired==0", true),
            ("expired<=+5%", true),
            // A has none, and a percentage of none is none.
            ("expired>+5%", false),
            ("expired<=+2", true),
        ] {
            let gate = Gate::parse(&gate.replace(" %", "%")).expect(gate);
            let checked = gate.check(&a, &b).expect("the service is there");
            assert_eq!(checked.has_passed, passes, "{checked:?}");
        }
        assert!(Gate::parse("search.cost<1").expect("it is one").check(&a, &b).is_none());
    }

    #[test]
    fn a_gate_that_is_none_is_refused_with_its_place() {
        let told = |gate| {
            let error = Gate::parse(gate).expect_err(gate);
            let source = error.source().map_or(String::new(), |source| format!(": {source}"));
            format!("{error}{source}")
        };
        insta::assert_snapshot!(
            ["gpu_minuts<=5", "gpu_minutes", "gpu_minutes<=5%", " wait_p99 <= +5$", "cost=3", "chat.wat_p99<1", "cost<="]
                .map(told).join("\n"), @r"
                gate `gpu_minuts<=5`, column 1: there is no metric gpu_minuts, did you mean gpu_minutes?
                gate `gpu_minutes`: no relation in it, expected a metric, then <=, <, >=, > or ==, then a number, as gpu_minutes<=+5%
                gate `gpu_minutes<=5%`, column 14: 5% is a part of A's number, expected a sign before it, as +5%
                gate ` wait_p99 <= +5$`, column 15: 5$ is no amount of wait_s.p99, expected a time, as 0.5s, 250ms or 2m (seconds without a unit), or a percentage, as 5%
                gate `cost=3`: no relation in it, expected a metric, then <=, <, >=, > or ==, then a number, as gpu_minutes<=+5%
                gate `chat.wat_p99<1`, column 1: there is no metric wat_p99, did you mean wait_p99?
                gate `cost<=`, column 7: nothing is no amount of cost, expected US dollars, as 12.50 or $12.50, or a percentage, as 5%
                ");
    }
}
