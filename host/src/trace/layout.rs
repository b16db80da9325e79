//! What a trace's first line says: which kind it is, and which column is what.

use std::collections::BTreeSet;

use super::TraceError;
use super::fields::quoted;

/// Columns that say whose a row is. `client` does not: clients of one service are one service.
const NAMES: [&str; 3] = ["model", "app", "function"];
const RATE_ENDING: &str = "_rps";

pub(super) const TIME: &str = "t_s";
pub(super) const PROMPT: &str = "prompt_tokens";
pub(super) const OUTPUT: &str = "output_tokens";
pub(super) const DURATION: &str = "duration_s";
pub(super) const MINUTE: &str = "minute";
pub(super) const CONCURRENCY: &str = "concurrency";

/// The kinds of traces. Columns go by position; those that are named nowhere are not read.
#[derive(Clone, Debug)]
pub(super) enum Layout {
    /// A row is a request.
    Requests(RequestColumns),
    /// A row is a step in time, with a rate for each service.
    Rates(RateColumns),
    /// A row is a service's minute.
    Concurrency(ConcurrencyColumns),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct RequestColumns {
    /// Of all columns.
    pub(super) count: usize,
    pub(super) time: usize,
    pub(super) work: WorkColumns,
    pub(super) service: Option<Named>,
}

#[derive(Clone, Debug)]
pub(super) struct RateColumns {
    /// Of all columns.
    pub(super) count: usize,
    pub(super) time: usize,
    /// Sorted by service.
    pub(super) rates: Vec<RateColumn>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ConcurrencyColumns {
    /// Of all columns.
    pub(super) count: usize,
    pub(super) minute: usize,
    pub(super) concurrency: usize,
    pub(super) service: Option<Named>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum WorkColumns {
    Tokens { prompt: usize, output: usize },
    Duration(usize),
}

/// The column whose values are services, and its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub(super) position: usize,
    pub(super) column: &'static str,
}

#[derive(Clone, Debug)]
pub(super) struct RateColumn {
    pub(super) position: usize,
    pub(super) column: String,
    pub(super) service: String,
}

impl Layout {
    /// Reads the first line of the file `path`.
    pub(super) fn of(path: &str, header: &[u8]) -> Result<Layout, TraceError> {
        let not_text = || TraceError::NotText { path: path.to_owned(), line: 1 };
        let header = str::from_utf8(header).map_err(|_| not_text())?;
        if header.chars().any(|c| c.is_control() && c != '\t') {
            return Err(not_text());
        }
        let header = Header { path, names: header.split(',').map(str::trim).collect() };
        header.no_name_twice()?;
        header.layout()
    }
}

struct Header<'a> {
    path: &'a str,
    names: Vec<&'a str>,
}

impl Header<'_> {
    fn layout(&self) -> Result<Layout, TraceError> {
        let count = self.names.len();
        let rates = self.rates()?;
        if let Some(concurrency) = self.find(CONCURRENCY) {
            let minute = self.expect(MINUTE, "`minute`, the time of each row")?;
            let service = self.service()?;
            return Ok(Layout::Concurrency(ConcurrencyColumns {
                count,
                minute,
                concurrency,
                service,
            }));
        }
        if self.find(MINUTE).is_some() && self.find(TIME).is_none() {
            return Err(self.missing("`concurrency`, the requests in flight in each `minute`"));
        }
        let time = self.expect(TIME, "`t_s`, the time of each row")?;
        let work = match (self.find(PROMPT), self.find(OUTPUT), self.find(DURATION)) {
            (Some(prompt), Some(output), None) => WorkColumns::Tokens { prompt, output },
            (None, None, Some(duration)) => WorkColumns::Duration(duration),
            (None, None, None) if !rates.is_empty() => {
                return Ok(Layout::Rates(RateColumns { count, time, rates }));
            }
            (None, None, None) => {
                return Err(self.missing(
                    "for what arrives: `prompt_tokens` and `output_tokens`, or `duration_s`, or one that ends in `_rps`",
                ));
            }
            (Some(_), None, None) => {
                return Err(self.missing("`output_tokens`, which goes with `prompt_tokens`"));
            }
            (None, Some(_), None) => {
                return Err(self.missing("`prompt_tokens`, which goes with `output_tokens`"));
            }
            (Some(_), _, Some(_)) => return Err(self.both_work(PROMPT, DURATION)),
            (None, Some(_), Some(_)) => return Err(self.both_work(OUTPUT, DURATION)),
        };
        if let Some(rate) = rates.first() {
            let work = match work {
                WorkColumns::Tokens { .. } => PROMPT,
                WorkColumns::Duration(_) => DURATION,
            };
            return Err(self.both_work(work, &rate.column));
        }
        Ok(Layout::Requests(RequestColumns { count, time, work, service: self.service()? }))
    }

    fn rates(&self) -> Result<Vec<RateColumn>, TraceError> {
        let mut rates: Vec<RateColumn> = Vec::new();
        let mut services = BTreeSet::new();
        for (position, column) in self.names.iter().enumerate() {
            let Some(stem) = column.strip_suffix(RATE_ENDING).filter(|stem| !stem.is_empty())
            else {
                continue;
            };
            // Services have names that Kubernetes takes, which have no underscores.
            let service = stem.replace('_', "-");
            if !services.insert(service.clone()) {
                return Err(TraceError::RepeatedColumn {
                    path: self.path.to_owned(),
                    column: quoted(service.as_bytes()),
                });
            }
            rates.push(RateColumn { position, column: (*column).to_owned(), service });
        }
        // Sorted, so that a column's place in the list of services is its place here.
        rates.sort_by(|a, b| a.service.cmp(&b.service));
        Ok(rates)
    }

    fn service(&self) -> Result<Option<Named>, TraceError> {
        let mut found = None;
        for column in NAMES {
            let Some(position) = self.find(column) else { continue };
            if let Some(Named { column: first, .. }) = found {
                return Err(self.both(first, column, "each would name a row's service"));
            }
            found = Some(Named { position, column });
        }
        Ok(found)
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|&column| column == name)
    }

    fn expect(&self, name: &str, missing: &'static str) -> Result<usize, TraceError> {
        self.find(name).ok_or_else(|| self.missing(missing))
    }

    fn no_name_twice(&self) -> Result<(), TraceError> {
        let mut sorted = self.names.clone();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(TraceError::RepeatedColumn {
                path: self.path.to_owned(),
                column: quoted(pair[0].as_bytes()),
            }),
            None => Ok(()),
        }
    }

    fn missing(&self, missing: &'static str) -> TraceError {
        /// Enough to recognise a file by.
        const SHOWN: usize = 12;
        let mut found: Vec<String> =
            (self.names.iter().take(SHOWN)).map(|name| quoted(name.as_bytes())).collect();
        if self.names.len() > SHOWN {
            found.push(format!("{} more", self.names.len() - SHOWN));
        }
        TraceError::MissingColumn { path: self.path.to_owned(), missing, found: found.join(", ") }
    }

    fn both_work(&self, first: &str, second: &str) -> TraceError {
        self.both(first, second, "each would say what a row asks for")
    }

    fn both(&self, first: &str, second: &str, why: &'static str) -> TraceError {
        TraceError::ConflictingColumns {
            path: self.path.to_owned(),
            first: first.to_owned(),
            second: second.to_owned(),
            why,
        }
    }
}
