//! Traces whose rows are requests.

use std::sync::Arc;

use super::fields::{Place, SECONDS, TOKENS, in_seconds, wrong_count};
use super::layout::{DURATION, OUTPUT, PROMPT, RequestColumns, TIME, WorkColumns};
use super::lines::Lines;
use super::{Item, TraceError, Work, position_of};

/// The rows of a file, in order.
pub(super) struct Rows {
    path: Arc<str>,
    lines: Lines,
    columns: RequestColumns,
    previous_us: u64,
}

pub(super) struct Row<'a> {
    pub(super) line: u64,
    pub(super) at_us: u64,
    pub(super) work: Work,
    /// Whose, where the file says so.
    pub(super) service: Option<&'a [u8]>,
}

impl Rows {
    /// `lines` is past the header.
    pub(super) fn new(path: &Arc<str>, lines: Lines, columns: RequestColumns) -> Rows {
        Rows { path: Arc::clone(path), lines, columns, previous_us: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>, TraceError> {
        let Some((line, text)) = self.lines.next()? else { return Ok(None) };
        let place = |column| Place { path: &self.path, line, column };
        let RequestColumns { count, time, work, service } = self.columns;
        let (mut at, mut first, mut second, mut name) = (&[][..], &[][..], &[][..], &[][..]);
        let (first_column, second_column) = match work {
            WorkColumns::Tokens { prompt, output } => (prompt, output),
            WorkColumns::Duration(duration) => (duration, duration),
        };
        let mut found = 0;
        for field in text.split(|&byte| byte == b',') {
            if found == time {
                at = field;
            }
            if found == first_column {
                first = field;
            }
            if found == second_column {
                second = field;
            }
            if service.is_some_and(|service| found == service.position) {
                name = field.trim_ascii();
            }
            found += 1;
        }
        if found != count {
            return Err(wrong_count(&self.path, line, text, count));
        }
        let at_us = place(TIME).read(at, &SECONDS)?;
        if at_us < self.previous_us {
            return Err(TraceError::OutOfOrder {
                path: self.path.to_string(),
                line,
                column: TIME,
                at: in_seconds(at_us),
                previous: in_seconds(self.previous_us),
            });
        }
        let work = match work {
            WorkColumns::Tokens { .. } => Work::Tokens {
                prompt: place(PROMPT).read(first, &TOKENS)?,
                output: place(OUTPUT).read(second, &TOKENS)?,
            },
            WorkColumns::Duration(_) => Work::Duration(place(DURATION).read(first, &SECONDS)?),
        };
        self.previous_us = at_us;
        Ok(Some(Row { line, at_us, work, service: service.map(|_| name) }))
    }
}

/// Rows as arrivals.
pub(super) struct Requests {
    path: Arc<str>,
    rows: Rows,
    services: Arc<[String]>,
}

impl Requests {
    pub(super) fn new(path: &Arc<str>, rows: Rows, services: &Arc<[String]>) -> Requests {
        Requests { path: Arc::clone(path), rows, services: Arc::clone(services) }
    }

    pub(super) fn next(&mut self) -> Result<Option<Item>, TraceError> {
        let Some(Row { line, at_us, work, service }) = self.rows.next()? else { return Ok(None) };
        let service = match service {
            Some(name) => position_of(&self.services, name)
                .ok_or_else(|| TraceError::Changed { path: self.path.to_string(), line })?,
            None => 0,
        };
        Ok(Some(Item::Arrival { at_us, service, work }))
    }
}
