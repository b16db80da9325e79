//! Load that others recorded becomes a trace: access logs, logs in JSON, public traces, answers of Prometheus. Formats and what becomes
//! of odd lines are described in `docs/traces.md`.
//!
//! Logs are read once and streamed, in memory that does not grow with them. Several files are one load, merged by time: the parts of a
//! rotated log, or the logs of several machines.

mod access;
mod counts;
mod error;
mod fields;
mod format;
mod prometheus;
mod record;
mod report;
mod sorted;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod time;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write;
use std::path::{Path, PathBuf};

pub use error::ConvertError;
pub use fields::{Field, FieldMap};
pub use format::Format;
use format::Kind;
pub use prometheus::{Metric, Samples};
pub use record::Oddity;
use record::{Asked, Names, Record};
use report::Notes;
pub use report::{Note, Report};
use source::Source;
pub use time::Unit;

use super::lines::Content;
use super::synth::{Asks, Durations, Span, Tokens};
use super::write::{Requests, Table};
use crate::seed::Seed;

/// Before 1973 no log was written: smaller times count from a trace's own start.
const OLDEST_US: i64 = 100_000_000_000_000;
const MINUTE_US: i64 = 60_000_000;
/// A trace is no longer than a hundred years, and a table is in memory.
const LONGEST_US: u64 = 36_525 * 86_400_000_000;
const MOST_STEPS: u64 = 10_000_000;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// A row a request.
    Requests,
    /// A row a step, with a rate for each service.
    Rates,
}

/// How to read it, and what to make of it.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the files are; nothing: told by their first bytes, each for itself.
    pub from: Option<Format>,
    /// What is written; nothing: requests where the files have any, else what they have.
    pub to: Option<To>,
    /// Which field means what, beside or instead of what the format says.
    pub fields: FieldMap,
    /// The service that all of it is of; nothing: what the records say, or the file's name.
    pub service: Option<String>,
    /// Fields, and how their values have to begin. Other records are left out.
    pub wanted: Vec<(String, String)>,
    /// What all requests ask for, whatever the files say.
    pub asks: Option<Asking>,
    /// The moment that becomes 0, since 1970; what is before it is left out. Nothing: the minute in which the first request arrives.
    /// Microseconds.
    pub start_us: Option<i64>,
    /// How much later than a request that arrived after it a line may stand.
    pub window: Span,
    /// Whether times in whole seconds get a moment within their second.
    pub spreads: bool,
    /// How long a row of rates lasts.
    pub step: Span,
    /// What the samples of Prometheus are.
    pub metric: Metric,
    /// The label that names services.
    pub service_label: Option<String>,
    /// Whether an odd line is an error.
    pub is_strict: bool,
    /// What is drawn comes from it.
    pub seed: Seed,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            from: None,
            to: None,
            fields: FieldMap::default(),
            service: None,
            wanted: Vec::new(),
            asks: None,
            start_us: None,
            window: Span::of_s(300),
            spreads: true,
            step: Span::of_s(60),
            metric: Metric::Rate,
            service_label: None,
            is_strict: false,
            seed: Seed::new("tide"),
        }
    }
}

/// What all requests ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asking(Asks);

impl Asking {
    /// Tokens or a duration; nothing if none of them is given.
    ///
    /// # Errors
    /// When both are.
    pub fn of(
        prompt: Option<Tokens>,
        output: Option<Tokens>,
        duration: Option<Durations>,
    ) -> Result<Option<Asking>, super::synth::SynthError> {
        if prompt.is_none() && output.is_none() && duration.is_none() {
            return Ok(None);
        }
        Ok(Some(Asking(Asks::of(prompt, output, duration)?)))
    }
}

/// Converts files into one trace. `progress` hears now and then how many lines were read.
///
/// # Errors
/// When a file cannot be read, is of no known format, or has nothing in it; when a line comes too late for the window; when nothing can
/// be written; when something is odd and that is an error.
pub fn convert(
    paths: &[PathBuf],
    options: &Options,
    to: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, ConvertError> {
    // Their order means nothing, so what is drawn does not depend on it.
    let mut paths = paths.to_vec();
    paths.sort();
    let mut files = Vec::new();
    for path in &paths {
        let name = shown(path);
        let mut content = Content::open(path, &name)?;
        let format = match options.from {
            Some(format) => format,
            None => match content.peek(&name)? {
                [] => return Err(ConvertError::Nothing { path: name }),
                start => Format::of(&name, start)?,
            },
        };
        files.push((path.clone(), content, format));
    }
    let mut report = Report::of(&paths, files.iter().map(|(_, _, format)| *format));
    let kinds: Vec<Kind> = files.iter().map(|(_, _, format)| format.kind()).collect();
    let all = |kind| kinds.iter().all(|of_file| *of_file == kind);
    if let (false, false, Some(odd)) = (
        all(Kind::Prometheus),
        all(Kind::Counts),
        files
            .iter()
            .find(|(_, _, format)| matches!(format.kind(), Kind::Prometheus | Kind::Counts)),
    ) {
        return Err(ConvertError::MixedKinds { path: shown(&odd.0), format: odd.2.name() });
    }
    if all(Kind::Prometheus) || all(Kind::Counts) {
        if options.to == Some(To::Requests) {
            return Err(ConvertError::OnlyRates { format: files[0].2.name() });
        }
        let table = tables(files, options, &mut report)?;
        return write_table(&table, options, report, to);
    }
    let sources: Result<Vec<Source<'_>>, ConvertError> = (0..)
        .zip(files)
        .map(|(ordinal, (path, content, format))| {
            Source::open(&path, content, format, ordinal, options)
        })
        .collect();
    let mut merged = Merged::of(sources?, options)?;
    let table = match options.to {
        Some(To::Rates) => {
            let mut table = Table::default();
            let step_us = options.step.us();
            merged.each(progress, &mut |at_us, service, _| {
                table.add(service, (at_us / step_us) as usize, 1.0);
                Ok(())
            })?;
            Some(table)
        }
        Some(To::Requests) | None => {
            let mut requests = Requests::new(&mut *to);
            merged.each(progress, &mut |at_us, service, work| {
                Ok(requests.write(at_us, service, work)?)
            })?;
            report.rows = requests.rows();
            None
        }
    };
    merged.told(&mut report);
    match table {
        Some(table) => write_table(&table, options, report, to),
        None => Ok(report),
    }
}

/// What has no requests in it, as a table; how it is written follows from what it is.
fn tables(
    files: Vec<(PathBuf, Content, Format)>,
    options: &Options,
    report: &mut Report,
) -> Result<Table, ConvertError> {
    if files[0].2.kind() == Kind::Prometheus {
        let files = files.into_iter().map(|(path, content, _)| (path, content)).collect();
        let read = prometheus::read(files, options)?;
        if options.is_strict && (read.samples.not_numbers > 0 || read.samples.out_of_range > 0) {
            return Err(ConvertError::OddSamples {
                not_numbers: read.samples.not_numbers,
                out_of_range: read.samples.out_of_range,
            });
        }
        report.set_start(Some(read.start_us));
        report.step_us = read.step_us;
        report.samples = Some(read.samples);
        return Ok(read.table);
    }
    let mut table = Table::default();
    for (path, content, _) in files {
        report.lines += counts::read(&path, content, options, &mut table)?;
    }
    report.step_us = MINUTE_US as u64;
    Ok(table)
}

fn write_table(
    table: &Table,
    options: &Options,
    mut report: Report,
    to: &mut dyn Write,
) -> Result<Report, ConvertError> {
    if table.rows.is_empty() {
        return Err(ConvertError::NoRequests);
    }
    report.services = table.rows.len() as u64;
    let counted = report.samples.is_none();
    let step_us = if report.step_us == 0 { options.step.us() } else { report.step_us };
    report.rows = match (&report.samples, options.metric) {
        (Some(_), Metric::Concurrency) => table.write_concurrency(to),
        (Some(_) | None, _) => {
            let factor = if counted { 1e6 / step_us as f64 } else { 1.0 };
            table.write_rates(to, step_us, factor)
        }
    }
    .map_err(super::write::WriteError::from)?;
    report.length_s = report.length_s.max(table.steps() as f64 * step_us as f64 / 1e6);
    report.step_us = step_us;
    Ok(report)
}

/// Several files as one load.
struct Merged<'a> {
    sources: Vec<Source<'a>>,
    heads: BinaryHeap<Reverse<(Record, usize)>>,
    names: Names,
    notes: Notes,
    options: &'a Options,
    /// The moment that becomes 0.
    start_us: i64,
    last_us: u64,
}

impl<'a> Merged<'a> {
    fn of(sources: Vec<Source<'a>>, options: &'a Options) -> Result<Merged<'a>, ConvertError> {
        let mut merged = Merged {
            sources,
            heads: BinaryHeap::new(),
            names: Names::default(),
            notes: Notes::default(),
            options,
            start_us: 0,
            last_us: 0,
        };
        for index in 0..merged.sources.len() {
            merged.advance(index)?;
        }
        let is_dated = |record: &Record| record.at_us >= OLDEST_US;
        let mut dated = None;
        for Reverse((record, index)) in &merged.heads {
            let (path, is_dated) = (merged.sources[*index].path(), is_dated(record));
            match dated.replace(is_dated) {
                Some(before) if before != is_dated => {
                    return Err(ConvertError::MixedTimes { path: path.to_owned() });
                }
                Some(_) | None => {}
            }
        }
        merged.start_us = match (merged.heads.peek(), options.start_us) {
            (_, Some(start_us)) => start_us,
            (Some(Reverse((first, _))), None) if is_dated(first) => {
                first.at_us / MINUTE_US * MINUTE_US
            }
            (Some(_) | None, None) => 0,
        };
        Ok(merged)
    }

    /// Reads the next request of a file.
    fn advance(&mut self, index: usize) -> Result<(), ConvertError> {
        if let Some(record) = self.sources[index].next(&mut self.names, &mut self.notes)? {
            self.heads.push(Reverse((record, index)));
        }
        Ok(())
    }

    /// Hands out all requests in order of time.
    fn each(
        &mut self,
        progress: &mut dyn FnMut(u64),
        give: &mut dyn FnMut(u64, &str, super::Work) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        let draws = |purpose| self.options.seed.draws(purpose, "", 0);
        let (mut prompts, mut outputs) = (draws("convert-prompts"), draws("convert-outputs"));
        let usual = Asks::of(None, None, None).expect("nothing does not contradict itself");
        let asks = self.options.asks.map_or(usual, |asking| asking.0);
        let longest_us = match self.options.to {
            Some(To::Rates) => self.options.step.us().saturating_mul(MOST_STEPS).min(LONGEST_US),
            Some(To::Requests) | None => LONGEST_US,
        };
        let mut given = 0u64;
        let mut by_duration = None;
        while let Some(Reverse((record, index))) = self.heads.pop() {
            self.advance(index)?;
            let path = self.sources[index].path();
            let since_us = record.at_us.saturating_sub(self.start_us);
            let Ok(at_us) = u64::try_from(since_us) else {
                self.notes.add(Oddity::BeforeStart, path, record.line);
                continue;
            };
            if at_us > longest_us {
                return Err(ConvertError::TooLong {
                    path: path.to_owned(),
                    line: record.line,
                    length: Span::of_us(at_us),
                    longest: Span::of_us(longest_us),
                });
            }
            // A log has one kind of requests; one without a duration among those that have one cannot be told in tokens.
            let has_duration = matches!(record.asks, Asked::DurationUs(_));
            if self.options.to != Some(To::Rates)
                && self.options.asks.is_none()
                && *by_duration.get_or_insert(has_duration) != has_duration
            {
                self.notes.add(Oddity::NoDuration, path, record.line);
                if self.options.is_strict || has_duration {
                    return Err(ConvertError::SomeDurations {
                        path: path.to_owned(),
                        line: record.line,
                    });
                }
                continue;
            }
            let work = match record.asks.work() {
                Some(work) => work,
                None => {
                    if self.options.to != Some(To::Rates) {
                        self.notes.add(Oddity::Drawn, path, record.line);
                    }
                    asks.draw(&mut prompts, &mut outputs)
                }
            };
            self.last_us = at_us;
            given += 1;
            give(at_us, &self.names.names[record.service as usize], work)?;
            if given.is_multiple_of(16_384) {
                progress(self.sources.iter().map(|source| source.read).sum());
            }
        }
        if given == 0 { Err(ConvertError::NoRequests) } else { Ok(()) }
    }

    fn told(self, report: &mut Report) {
        report.lines = self.sources.iter().map(|source| source.read).sum();
        report.services = self.names.names.len() as u64;
        report.set_start((self.start_us >= OLDEST_US).then_some(self.start_us));
        report.length_s = self.last_us as f64 / 1e6;
        report.notes = self.notes.list();
    }
}

fn shown(path: &Path) -> String {
    match path == Path::new("-") {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    }
}
