//! What a policy tells beside its decision: its named outputs always, and reason and figures only when somebody reads.

use crate::{Explanation, Figure, Output};

/// Takes what a policy tells about one target. Without a reader, reasons and figures cost a test of one flag: give text as a
/// closure, and nothing is formatted.
#[derive(Debug)]
pub struct Notes<'a> {
    outputs: &'a mut [f64],
    told: Option<&'a mut Explanation>,
}

impl<'a> Notes<'a> {
    /// Notes on one target: `outputs` holds its outputs in the order of the program, `told` is there when somebody reads.
    pub(crate) fn new(outputs: &'a mut [f64], told: Option<&'a mut Explanation>) -> Notes<'a> {
        Notes { outputs, told }
    }

    /// Gives the value of an output that `bind` announced. One that is not given reads NaN.
    pub fn give(&mut self, output: Output, value: f64) {
        if let Some(slot) = self.outputs.get_mut(output.index()) {
            *slot = value;
        }
    }

    /// Gives an output that is 0 or 1.
    pub fn give_flag(&mut self, output: Output, value: bool) {
        self.give(output, f64::from(u8::from(value)));
    }

    /// Why the decision is what it is, in one line for a timeline. The last one told stands.
    pub fn reason(&mut self, text: impl FnOnce() -> String) {
        if let Some(told) = &mut self.told {
            told.reason = text();
        }
    }

    /// A number that the decision rests on, named in a few words with its unit.
    pub fn figure(&mut self, name: &str, value: f64) {
        if let Some(told) = &mut self.told {
            told.figures.push(Figure { name: name.into(), value });
        }
    }

    /// Whether somebody reads: for figures that are costly to come by.
    pub fn is_read(&self) -> bool {
        self.told.is_some()
    }
}
