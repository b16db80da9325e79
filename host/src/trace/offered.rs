//! Tables of concurrency: how many requests a service has in flight in each minute. Minutes that are left out are 0.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::fields::{CONCURRENCY as VALUE, MINUTE as WHEN, MINUTE_US, Place, wrong_count};
use super::layout::{CONCURRENCY, ConcurrencyColumns, MINUTE};
use super::lines::Lines;
use super::{Found, Item, TraceError, position_of};

/// Reads a whole table to see that it is one.
pub(super) fn check(
    path: &Arc<str>,
    lines: Lines,
    columns: ConcurrencyColumns,
) -> Result<Found, TraceError> {
    let mut services = columns.service.map(|_| BTreeSet::new());
    let mut in_minute = BTreeSet::new();
    let mut last_us = None;
    let mut rows = Rows::new(path, lines, columns);
    while let Some(name) = rows.checked(&mut in_minute, &mut last_us)? {
        if let Some(services) = &mut services
            && !services.contains(name)
        {
            services.insert(name.to_owned());
        }
    }
    match last_us {
        Some(last_us) => Ok(Found { services, end_us: last_us + MINUTE_US }),
        None => Err(TraceError::NoRows { path: path.to_string() }),
    }
}

/// The rows of a file, in order.
pub(super) struct Rows {
    path: Arc<str>,
    lines: Lines,
    columns: ConcurrencyColumns,
    previous_us: u64,
}

pub(super) struct Row<'a> {
    line: u64,
    at_us: u64,
    concurrency: f64,
    /// Whose, where the file says so.
    service: Option<&'a [u8]>,
}

impl Rows {
    /// `lines` is past the header.
    pub(super) fn new(path: &Arc<str>, lines: Lines, columns: ConcurrencyColumns) -> Rows {
        Rows { path: Arc::clone(path), lines, columns, previous_us: 0 }
    }

    /// Whose the next row is, empty where the file names nobody; `None` at the end. `in_minute` has who has a row in the minute
    /// `minute_us` already.
    pub(super) fn checked(
        &mut self,
        in_minute: &mut BTreeSet<Vec<u8>>,
        minute_us: &mut Option<u64>,
    ) -> Result<Option<&str>, TraceError> {
        let (path, named) = (Arc::clone(&self.path), self.columns.service);
        let Some(row) = self.next()? else { return Ok(None) };
        let (name, line) = (row.service.unwrap_or_default(), row.line);
        let service = match named {
            Some(named) => Place { path: &path, line, column: named.column }.name(name)?,
            None => "",
        };
        if minute_us.replace(row.at_us) != Some(row.at_us) {
            in_minute.clear();
        }
        if in_minute.insert(name.to_vec()) {
            return Ok(Some(service));
        }
        let mut what = format!("minute {}", row.at_us / MINUTE_US);
        if named.is_some() {
            what.push_str(&format!(" of `{}`", String::from_utf8_lossy(name)));
        }
        Err(TraceError::RepeatedRow { path: path.to_string(), line, what })
    }

    fn next(&mut self) -> Result<Option<Row<'_>>, TraceError> {
        let Some((line, text)) = self.lines.next()? else { return Ok(None) };
        let place = |column| Place { path: &self.path, line, column };
        let (mut at, mut value, mut name) = (&[][..], &[][..], &[][..]);
        let mut found = 0;
        for field in text.split(|&byte| byte == b',') {
            if found == self.columns.minute {
                at = field;
            }
            if found == self.columns.concurrency {
                value = field;
            }
            if self.columns.service.is_some_and(|service| found == service.position) {
                name = field.trim_ascii();
            }
            found += 1;
        }
        if found != self.columns.count {
            return Err(wrong_count(&self.path, line, text, self.columns.count));
        }
        let at_us = place(MINUTE).read(at, &WHEN)?;
        if at_us < self.previous_us {
            return Err(TraceError::OutOfOrder {
                path: self.path.to_string(),
                line,
                column: MINUTE,
                at: format!("minute {}", at_us / MINUTE_US),
                previous: format!("minute {}", self.previous_us / MINUTE_US),
            });
        }
        let concurrency = place(CONCURRENCY).read(value, &VALUE)?;
        self.previous_us = at_us;
        let service = self.columns.service.map(|_| name);
        Ok(Some(Row { line, at_us, concurrency, service }))
    }
}

/// Rows as changes of what is offered: one item where a service's concurrency is another than in the minute before.
pub(super) struct Offered {
    path: Arc<str>,
    rows: Rows,
    services: Arc<[String]>,
    /// The row that was read but belongs to a later minute: when, whose, how much.
    ahead: Option<(u64, u32, f64)>,
    /// What is offered now; services at 0 are left out.
    now: BTreeMap<u32, f64>,
    /// Until when: the end of the minute that was read last. `None` before the first.
    until_us: Option<u64>,
    /// Changes to give, all of one moment, by service.
    changes: VecDeque<Item>,
}

impl Offered {
    pub(super) fn new(path: &Arc<str>, rows: Rows, services: &Arc<[String]>) -> Offered {
        Offered {
            path: Arc::clone(path),
            rows,
            services: Arc::clone(services),
            ahead: None,
            now: BTreeMap::new(),
            until_us: None,
            changes: VecDeque::new(),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Item>, TraceError> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return Ok(Some(change));
            }
            if self.ahead.is_none() {
                self.ahead = self.read()?;
            }
            match (self.ahead, self.until_us) {
                (None, None) => return Ok(None),
                // After a minute without rows, or the last one, there is nothing in flight.
                (None, Some(until_us)) => self.change(until_us, BTreeMap::new()),
                (Some((at_us, ..)), Some(until_us)) if at_us > until_us => {
                    self.change(until_us, BTreeMap::new());
                }
                (Some((at_us, ..)), Some(_) | None) => {
                    let minute = self.read_minute(at_us)?;
                    self.change(at_us, minute);
                    self.until_us = Some(at_us + MINUTE_US);
                }
            }
        }
    }

    /// All rows of the minute that begins at `at_us`.
    fn read_minute(&mut self, at_us: u64) -> Result<BTreeMap<u32, f64>, TraceError> {
        let mut minute = BTreeMap::new();
        while let Some((_, service, concurrency)) = self.ahead.filter(|ahead| ahead.0 == at_us) {
            if concurrency > 0.0 {
                minute.insert(service, concurrency);
            }
            self.ahead = self.read()?;
        }
        Ok(minute)
    }

    fn read(&mut self) -> Result<Option<(u64, u32, f64)>, TraceError> {
        let Some(Row { line, at_us, concurrency, service }) = self.rows.next()? else {
            return Ok(None);
        };
        let service = match service {
            Some(name) => position_of(&self.services, name)
                .ok_or_else(|| TraceError::Changed { path: self.path.to_string(), line })?,
            None => 0,
        };
        Ok(Some((at_us, service, concurrency)))
    }

    /// From `at_us` on, `minute` is offered. Nothing is known about the time after it yet.
    fn change(&mut self, at_us: u64, minute: BTreeMap<u32, f64>) {
        self.until_us = None;
        let services: BTreeSet<u32> = self.now.keys().chain(minute.keys()).copied().collect();
        for service in services {
            let concurrency = minute.get(&service).copied().unwrap_or(0.0);
            if self.now.get(&service).copied().unwrap_or(0.0) != concurrency {
                self.changes.push_back(Item::Offered { at_us, service, concurrency });
            }
        }
        self.now = minute;
    }
}
