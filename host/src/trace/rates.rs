//! Tables of rates: each column is a service, and each row says how many requests per second it gets until the next row.
//! Arrivals are drawn, not recorded: a Poisson process whose rate is the row's.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use super::fields::{Place, RATE, SECONDS, in_seconds, wrong_count};
use super::layout::{RateColumns, TIME};
use super::lines::Lines;
use super::{Found, Item, TokenDistribution, TraceError, Work};
use crate::seed::{Draws, Seed};

/// Reads a whole table to see that it is one.
pub(super) fn check(
    path: &Arc<str>,
    lines: Lines,
    columns: &RateColumns,
) -> Result<Found, TraceError> {
    let mut rows = Rows::new(path, lines, columns);
    let mut steps = 0;
    let mut end_us = 0;
    while rows.advance()? {
        steps += 1;
        end_us = rows.end_us;
    }
    if steps == 0 {
        return Err(TraceError::NoRows { path: path.to_string() });
    }
    let services = columns.rates.iter().map(|rate| rate.service.clone()).collect();
    Ok(Found { services: Some(services), end_us })
}

/// The rows of a file, one read ahead, since a row lasts until the next. The last lasts as long as the one before it.
pub(super) struct Rows {
    path: Arc<str>,
    lines: Lines,
    columns: RateColumns,
    /// Where each of the file's columns stands in `columns.rates`.
    rate_at: Vec<Option<usize>>,
    /// The row that was advanced to: from, to, and its rates, one for each service.
    start_us: u64,
    end_us: u64,
    rates: Vec<f64>,
    /// Of that row, from 0.
    ordinal: Option<u64>,
    /// The row after it.
    ahead_us: Option<u64>,
    ahead: Vec<f64>,
}

impl Rows {
    /// `lines` is past the header.
    pub(super) fn new(path: &Arc<str>, lines: Lines, columns: &RateColumns) -> Rows {
        let mut rate_at = vec![None; columns.count];
        for (index, rate) in columns.rates.iter().enumerate() {
            rate_at[rate.position] = Some(index);
        }
        let services = columns.rates.len();
        Rows {
            path: Arc::clone(path),
            lines,
            columns: columns.clone(),
            rate_at,
            start_us: 0,
            end_us: 0,
            rates: vec![0.0; services],
            ordinal: None,
            ahead_us: None,
            ahead: vec![0.0; services],
        }
    }

    /// Goes to the next row; false if there is none.
    pub(super) fn advance(&mut self) -> Result<bool, TraceError> {
        let is_first = self.ordinal.is_none();
        if is_first {
            self.ahead_us = self.read()?;
        }
        let Some(start_us) = self.ahead_us else { return Ok(false) };
        let length_us = self.end_us - self.start_us;
        std::mem::swap(&mut self.rates, &mut self.ahead);
        self.start_us = start_us;
        self.ahead_us = self.read()?;
        self.end_us = match self.ahead_us {
            Some(next_us) => next_us,
            None if is_first => return Err(TraceError::OneRate { path: self.path.to_string() }),
            None => start_us + length_us,
        };
        self.ordinal = Some(self.ordinal.map_or(0, |ordinal| ordinal + 1));
        Ok(true)
    }

    /// Reads the next line for its faults alone; false if there is none.
    pub(super) fn read_on(&mut self) -> Result<bool, TraceError> {
        let Some(at_us) = self.read()? else { return Ok(false) };
        self.ahead_us = Some(at_us);
        Ok(true)
    }

    /// From when to when the row lasts that was advanced to.
    pub(super) fn span_us(&self) -> (u64, u64) {
        (self.start_us, self.end_us)
    }

    /// Its rates, by position in the list of services.
    pub(super) fn rates(&self) -> &[f64] {
        &self.rates
    }

    /// Reads a line into `ahead`, and gives its time.
    fn read(&mut self) -> Result<Option<u64>, TraceError> {
        let Some((line, text)) = self.lines.next()? else { return Ok(None) };
        let place = |column| Place { path: &self.path, line, column };
        let mut at = &[][..];
        let mut found = 0;
        for field in text.split(|&byte| byte == b',') {
            if found == self.columns.time {
                at = field;
            }
            if let Some(Some(rate)) = self.rate_at.get(found).copied() {
                let column = &self.columns.rates[rate].column;
                self.ahead[rate] = place(column).read(field, &RATE)?;
            }
            found += 1;
        }
        if found != self.columns.count {
            return Err(wrong_count(&self.path, line, text, self.columns.count));
        }
        let at_us = place(TIME).read(at, &SECONDS)?;
        match self.ahead_us {
            Some(previous_us) if at_us < previous_us => Err(TraceError::OutOfOrder {
                path: self.path.to_string(),
                line,
                column: TIME,
                at: in_seconds(at_us),
                previous: in_seconds(previous_us),
            }),
            Some(previous_us) if at_us == previous_us => Err(TraceError::RepeatedRow {
                path: self.path.to_string(),
                line,
                what: in_seconds(at_us),
            }),
            Some(_) | None => Ok(Some(at_us)),
        }
    }
}

/// The arrivals that a table's rates draw.
///
/// A Poisson process has no memory, so each row begins anew with generators of its own, and a changed row moves no arrival of
/// another. Memory is one row and one pending arrival for each service.
pub(super) struct Arrivals {
    rows: Rows,
    seed: Seed,
    rate_factor: f64,
    services: Vec<Service>,
    /// The next arrival of each service that has one in this row.
    next: BinaryHeap<Reverse<(u64, u32)>>,
}

struct Service {
    tokens: TokenDistribution,
    row: Option<Process>,
}

/// A service's arrivals within one row.
struct Process {
    mean_gap_us: f64,
    since_start_us: f64,
    gaps: Draws,
    lengths: Draws,
}

impl Arrivals {
    pub(super) fn new(
        rows: Rows,
        seed: &Seed,
        tokens: Vec<TokenDistribution>,
        rate_factor: f64,
    ) -> Arrivals {
        let services = tokens.into_iter().map(|tokens| Service { tokens, row: None }).collect();
        Arrivals { rows, seed: seed.clone(), rate_factor, services, next: BinaryHeap::new() }
    }

    pub(super) fn next(&mut self) -> Result<Option<Item>, TraceError> {
        loop {
            let Some(mut head) = self.next.peek_mut() else {
                if !self.begin_row()? {
                    return Ok(None);
                }
                continue;
            };
            let Reverse((at_us, service)) = *head;
            let drawing = &mut self.services[service as usize];
            let process = drawing.row.as_mut().expect("only a service with a rate is in the heap");
            let work = Work::Tokens {
                prompt: drawing.tokens.prompt.draw(&mut process.lengths),
                output: drawing.tokens.output.draw(&mut process.lengths),
            };
            match process.next_us(self.rows.start_us, self.rows.end_us) {
                Some(later_us) => *head = Reverse((later_us, service)),
                None => {
                    PeekMut::pop(head);
                }
            }
            return Ok(Some(Item::Arrival { at_us, service, work }));
        }
    }

    fn begin_row(&mut self) -> Result<bool, TraceError> {
        if !self.rows.advance()? {
            return Ok(false);
        }
        let ordinal = self.rows.ordinal.expect("a row was advanced to");
        for (index, (service, rate)) in self.services.iter_mut().zip(&self.rows.rates).enumerate() {
            let rate = rate * self.rate_factor;
            if rate == 0.0 {
                continue;
            }
            let name = &self.rows.columns.rates[index].service;
            let mut process = Process {
                mean_gap_us: 1e6 / rate,
                since_start_us: 0.0,
                gaps: self.seed.draws("arrivals", name, ordinal),
                lengths: self.seed.draws("tokens", name, ordinal),
            };
            if let Some(first_us) = process.next_us(self.rows.start_us, self.rows.end_us) {
                let index = u32::try_from(index).expect("a line of a mebibyte holds fewer columns");
                self.next.push(Reverse((first_us, index)));
            }
            service.row = Some(process);
        }
        Ok(true)
    }
}

impl Process {
    /// The next arrival before the row ends.
    fn next_us(&mut self, start_us: u64, end_us: u64) -> Option<u64> {
        self.since_start_us += self.gaps.exponential(self.mean_gap_us);
        let is_inside = self.since_start_us < (end_us - start_us) as f64;
        is_inside.then(|| start_us + self.since_start_us as u64)
    }
}
