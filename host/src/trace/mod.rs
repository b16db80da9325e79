//! Recorded load in: what arrives when, for whom. It knows nothing of planning. Formats are described in `docs/traces.md`.
//!
//! A [`Trace`] is one file. Opening it reads it once from end to end, so that its services are known and a bad row at the end
//! is told before a replay begins; its items are then streamed as often as wanted, in memory that does not grow with the file.
//! [`Merged`] is several files as one load.

pub mod convert;
mod error;
mod faults;
mod fields;
mod layout;
mod lines;
mod merged;
mod offered;
mod rates;
mod requests;
pub mod stat;
pub mod synth;
#[cfg(test)]
mod tests;
mod tokens;
pub mod write;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::TraceError;
pub use merged::{Merged, MergedItems};
pub use tokens::{Lengths, TokenDistribution};

use crate::seed::Seed;
use fields::Place;
use layout::Layout;
use lines::Lines;

/// Something that a trace asks for. Times are microseconds since the trace's start, and never step back within a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item {
    /// A request arrives.
    Arrival {
        /// When.
        at_us: u64,
        /// Whose, by position in the trace's list of services.
        service: u32,
        /// What it asks for.
        work: Work,
    },
    /// From now on a service holds so many requests in flight, whatever it is given: offered load as it is.
    Offered {
        /// When.
        at_us: u64,
        /// Whose, by position in the trace's list of services.
        service: u32,
        /// Requests in flight.
        concurrency: f64,
    },
}

/// What a request asks of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// So many tokens read and written; how long that takes depends on model, GPU and company.
    Tokens {
        /// Tokens of the request.
        prompt: u32,
        /// Tokens of the answer; none is a request that ends with its prompt.
        output: u32,
    },
    /// So long, whatever else runs. Microseconds.
    Duration(u64),
}

impl Item {
    /// When. Microseconds since the trace's start.
    pub fn at_us(&self) -> u64 {
        match *self {
            Item::Arrival { at_us, .. } | Item::Offered { at_us, .. } => at_us,
        }
    }

    /// Whose, by position in the trace's list of services.
    pub fn service(&self) -> u32 {
        match *self {
            Item::Arrival { service, .. } | Item::Offered { service, .. } => service,
        }
    }
}

/// One file of recorded load, checked from end to end.
#[derive(Clone, Debug)]
pub struct Trace {
    path: PathBuf,
    /// The path as messages show it.
    shown: Arc<str>,
    layout: Layout,
    /// Sorted.
    services: Arc<[String]>,
    end_us: u64,
    seed: Seed,
    /// One for each service.
    tokens: Vec<TokenDistribution>,
    rate_factor: f64,
}

impl Trace {
    /// Opens and checks a file, plain or gzip. `seed` is what the arrivals of a rate table are drawn from.
    ///
    /// # Errors
    /// If anything in the file cannot be read, with line and column.
    pub fn open(path: &Path, seed: &Seed) -> Result<Trace, TraceError> {
        let shown: Arc<str> = path.display().to_string().into();
        let mut lines = Lines::open(path, &shown)?;
        let layout = match lines.next()? {
            Some((_, header)) => Layout::of(&shown, header)?,
            None => return Err(TraceError::Empty { path: shown.to_string() }),
        };
        let found = match &layout {
            Layout::Requests(columns) => requests_in(&shown, lines, *columns)?,
            Layout::Rates(columns) => rates::check(&shown, lines, columns)?,
            Layout::Concurrency(columns) => offered::check(&shown, lines, *columns)?,
        };
        let services: Arc<[String]> = match found.services {
            Some(services) => services.into_iter().collect(),
            None => [stem(path)].into(),
        };
        let tokens = vec![TokenDistribution::default(); services.len()];
        let (path, seed) = (path.to_owned(), seed.clone());
        let end_us = found.end_us;
        Ok(Trace { path, shown, layout, services, end_us, seed, tokens, rate_factor: 1.0 })
    }

    /// The services, sorted by name. A file that names none is one service, called like the file without `.csv` and `.gz`.
    pub fn services(&self) -> &[String] {
        &self.services
    }

    /// When it is over: at the last arrival, or at the end of the last row of a table. Microseconds since its start.
    pub fn end_us(&self) -> u64 {
        self.end_us
    }

    /// Sets what the requests of one service of a rate table ask for; other traces say so themselves, and ignore it.
    pub fn with_tokens(mut self, service: &str, tokens: TokenDistribution) -> Trace {
        if let Ok(position) = self.services.binary_search_by(|name| name.as_str().cmp(service)) {
            self.tokens[position] = tokens;
        }
        self
    }

    /// Multiplies the rates of a rate table, by 0 or more; other traces are what they are, and ignore it.
    ///
    /// # Panics
    /// If `factor` is negative or no number.
    pub fn with_rates_times(mut self, factor: f64) -> Trace {
        assert!(factor.is_finite() && factor >= 0.0, "a factor of rates is a number, 0 or more");
        self.rate_factor = factor;
        self
    }

    /// All items in order of time, from the start. After an error there are no more.
    ///
    /// # Errors
    /// The file was checked when it was opened, so only if it changed or vanished since then.
    pub fn items(&self) -> Items {
        Items(match self.source() {
            Ok(source) => source,
            Err(error) => Source::Failed(error),
        })
    }

    /// The rows of a table of rates; nothing for other traces. Errors are those of [`Trace::items`].
    fn rates(&self) -> Option<Result<rates::Rows, TraceError>> {
        let Layout::Rates(columns) = &self.layout else { return None };
        let rows = || {
            let mut lines = Lines::open(&self.path, &self.shown)?;
            lines.next()?;
            Ok(rates::Rows::new(&self.shown, lines, columns))
        };
        Some(rows())
    }

    fn source(&self) -> Result<Source, TraceError> {
        let mut lines = Lines::open(&self.path, &self.shown)?;
        lines.next()?;
        Ok(match &self.layout {
            Layout::Requests(columns) => {
                let rows = requests::Rows::new(&self.shown, lines, *columns);
                Source::Requests(requests::Requests::new(&self.shown, rows, &self.services))
            }
            Layout::Rates(columns) => {
                let rows = rates::Rows::new(&self.shown, lines, columns);
                let tokens = self.tokens.clone();
                Source::Rates(rates::Arrivals::new(rows, &self.seed, tokens, self.rate_factor))
            }
            Layout::Concurrency(columns) => {
                let rows = offered::Rows::new(&self.shown, lines, *columns);
                Source::Offered(offered::Offered::new(&self.shown, rows, &self.services))
            }
        })
    }
}

/// A trace's items, in order of time.
pub struct Items(Source);

enum Source {
    Requests(requests::Requests),
    Rates(rates::Arrivals),
    Offered(offered::Offered),
    Failed(TraceError),
    Over,
}

impl Iterator for Items {
    type Item = Result<Item, TraceError>;

    fn next(&mut self) -> Option<Result<Item, TraceError>> {
        let next = match &mut self.0 {
            Source::Requests(requests) => requests.next(),
            Source::Rates(arrivals) => arrivals.next(),
            Source::Offered(offered) => offered.next(),
            Source::Failed(_) | Source::Over => Ok(None),
        };
        match next {
            Ok(Some(item)) => Some(Ok(item)),
            Err(error) => {
                self.0 = Source::Over;
                Some(Err(error))
            }
            Ok(None) => match std::mem::replace(&mut self.0, Source::Over) {
                Source::Failed(error) => Some(Err(error)),
                Source::Requests(_) | Source::Rates(_) | Source::Offered(_) | Source::Over => None,
            },
        }
    }
}

/// What a first pass over a file finds out.
struct Found {
    /// The services, where the file names them.
    services: Option<BTreeSet<String>>,
    end_us: u64,
}

fn requests_in(
    path: &Arc<str>,
    lines: Lines,
    columns: layout::RequestColumns,
) -> Result<Found, TraceError> {
    let mut services = columns.service.map(|_| BTreeSet::new());
    let mut end_us = None;
    let mut rows = requests::Rows::new(path, lines, columns);
    while let Some(row) = rows.next()? {
        end_us = Some(row.at_us);
        if let (Some(services), Some(named), Some(name)) =
            (&mut services, columns.service, row.service)
        {
            let place = Place { path, line: row.line, column: named.column };
            add_service(services, place, name)?;
        }
    }
    match end_us {
        Some(end_us) => Ok(Found { services, end_us }),
        None => Err(TraceError::NoRows { path: path.to_string() }),
    }
}

fn add_service(
    services: &mut BTreeSet<String>,
    place: Place<'_>,
    name: &[u8],
) -> Result<(), TraceError> {
    let name = place.name(name)?;
    if !services.contains(name) {
        services.insert(name.to_owned());
    }
    Ok(())
}

/// Where a name stands in the sorted list of services.
fn position_of(services: &[String], name: &[u8]) -> Option<u32> {
    let position = services.binary_search_by(|service| service.as_bytes().cmp(name)).ok()?;
    Some(u32::try_from(position).expect("a file has fewer than four billion services"))
}

fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.strip_suffix(".csv").unwrap_or(name).to_owned()
}
