//! Load out: requests, rates and concurrency as the CSV that [`super::Trace`] reads.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::Work;
use super::fields::in_seconds;
use super::layout::{CONCURRENCY, DURATION, MINUTE, OUTPUT, PROMPT, TIME};

/// What rows ask for: one of them in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tokens,
    Duration,
}

/// Why rows cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file, or the pipe.
    #[error("cannot write")]
    Write(#[from] io::Error),
    /// Requests of two kinds.
    #[error(
        "{service} asks for {found}, but the rows before it for {before}; a trace has one of them, so write two"
    )]
    Mixed {
        /// The service.
        service: String,
        /// What it asks for.
        found: &'static str,
        /// What others ask for.
        before: &'static str,
    },
}

/// Writes requests, a row each.
pub struct Requests<'a> {
    to: &'a mut dyn Write,
    kind: Option<Kind>,
    /// Rows so far.
    rows: u64,
    row: Vec<u8>,
}

impl<'a> Requests<'a> {
    /// Nothing is written before the first row.
    pub fn new(to: &'a mut dyn Write) -> Requests<'a> {
        Requests { to, kind: None, rows: 0, row: Vec::new() }
    }

    /// A request, no earlier than the one before it.
    ///
    /// # Errors
    /// When it cannot be written, or is of another kind than the others.
    pub fn write(&mut self, at_us: u64, service: &str, work: Work) -> Result<(), WriteError> {
        let kind = match work {
            Work::Tokens { .. } => Kind::Tokens,
            Work::Duration(_) => Kind::Duration,
        };
        match self.kind.replace(kind) {
            Some(before) if before != kind => {
                let [found, before] = [kind, before].map(|kind| match kind {
                    Kind::Tokens => "tokens",
                    Kind::Duration => "a duration",
                });
                return Err(WriteError::Mixed { service: service.to_owned(), found, before });
            }
            Some(_) => {}
            None => match kind {
                Kind::Tokens => writeln!(self.to, "{TIME},model,{PROMPT},{OUTPUT}")?,
                Kind::Duration => writeln!(self.to, "{TIME},model,{DURATION}")?,
            },
        }
        self.row.clear();
        seconds(&mut self.row, at_us);
        self.row.push(b',');
        self.row.extend_from_slice(service.as_bytes());
        self.row.push(b',');
        match work {
            Work::Tokens { prompt, output } => write!(self.row, "{prompt},{output}")?,
            Work::Duration(us) => seconds(&mut self.row, us),
        }
        self.row.push(b'\n');
        self.to.write_all(&self.row)?;
        self.rows += 1;
        Ok(())
    }

    /// How many were written.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// Whole microseconds as seconds, without zeros at the end.
fn seconds(row: &mut Vec<u8>, us: u64) {
    let (whole, mut rest) = (us / 1_000_000, us % 1_000_000);
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    let _ = write!(row, "{whole}");
    let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    if kept > 0 {
        row.push(b'.');
        row.extend_from_slice(&digits[..kept]);
    }
}

/// Something per service in steps of equal length, from the first step on; what is left out is 0.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// By service: the steps' values.
    pub(super) rows: BTreeMap<String, Vec<f64>>,
}

impl Table {
    pub(super) fn add(&mut self, service: &str, step: usize, amount: f64) {
        let steps = match self.rows.get_mut(service) {
            Some(steps) => steps,
            None => self.rows.entry(service.to_owned()).or_default(),
        };
        if steps.len() <= step {
            steps.resize(step + 1, 0.0);
        }
        steps[step] += amount;
    }

    pub(super) fn steps(&self) -> usize {
        self.rows.values().map(Vec::len).max().unwrap_or(0)
    }

    /// As a table of rates, a row a step; what was added is multiplied by `factor`. Gives the number of rows.
    pub(super) fn write_rates(
        &self,
        to: &mut dyn Write,
        step_us: u64,
        factor: f64,
    ) -> io::Result<u64> {
        // A reader takes `_` for `-`, so services that differ in that alone are one.
        let mut columns: BTreeMap<String, Vec<&[f64]>> = BTreeMap::new();
        for (service, rates) in &self.rows {
            columns.entry(service.replace('_', "-")).or_default().push(rates);
        }
        write!(to, "{TIME}")?;
        for service in columns.keys() {
            write!(to, ",{service}_rps")?;
        }
        writeln!(to)?;
        // A row lasts until the next, so one alone would have no length.
        let steps = self.steps().max(2);
        for step in 0..steps {
            let at = in_seconds(step as u64 * step_us);
            write!(to, "{}", at.trim_end_matches(" s"))?;
            for series in columns.values() {
                let sum: f64 = series.iter().filter_map(|rates| rates.get(step)).sum();
                let rate = factor * sum;
                // Nine decimals are one request in thirty years. The sum of nothing is -0, which is no rate.
                write!(to, ",{}", ((rate * 1e9).round() / 1e9).abs())?;
            }
            writeln!(to)?;
        }
        Ok(steps as u64)
    }

    /// As a table of concurrency, whose steps are minutes. Gives the number of rows.
    pub(super) fn write_concurrency(&self, to: &mut dyn Write) -> io::Result<u64> {
        writeln!(to, "{MINUTE},model,{CONCURRENCY}")?;
        let mut rows = 0;
        for minute in 0..self.steps() {
            for (service, values) in &self.rows {
                let value = values.get(minute).copied().unwrap_or(0.0);
                // The last minute is written in any case: it says how long the load is.
                if value > 0.0 || minute + 1 == self.steps() {
                    writeln!(to, "{minute},{service},{}", (value * 1e6).round() / 1e6)?;
                    rows += 1;
                }
            }
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_written_in_full_and_without_zeros_at_the_end() {
        for (us, expected) in [
            (0, "0"),
            (1, "0.000001"),
            (250_000, "0.25"),
            (60_000_000, "60"),
            (10_010_000, "10.01"),
        ] {
            let mut row = Vec::new();
            seconds(&mut row, us);
            assert_eq!(String::from_utf8(row).unwrap(), expected);
        }
    }

    #[test]
    fn services_that_a_reader_takes_for_one_are_one_column() {
        let mut table = Table::default();
        for (service, step, amount) in [("a_b", 0, 1.0), ("a-b", 0, 2.0), ("a-b", 1, 4.0)] {
            table.add(service, step, amount);
        }
        let mut to = Vec::new();
        table.write_rates(&mut to, 500_000, 2.0).unwrap();
        assert_eq!(String::from_utf8(to).unwrap(), "t_s,a-b_rps\n0,6\n0.5,8\n");
    }

    #[test]
    fn one_file_has_one_kind_of_requests() {
        let mut to = Vec::new();
        let mut requests = Requests::new(&mut to);
        requests.write(1, "a", Work::Tokens { prompt: 1, output: 2 }).unwrap();
        let error = requests.write(2, "b", Work::Duration(3)).unwrap_err();
        insta::assert_snapshot!(error, @"b asks for a duration, but the rows before it for tokens; a trace has one of them, so write two");
        assert_eq!(to, b"t_s,model,prompt_tokens,output_tokens\n0.000001,a,1,2\n");
    }
}
