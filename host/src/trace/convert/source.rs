//! One file of requests: its lines become records, and leave in order.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::access::AccessLine;
use super::fields::{FieldMap, at_path};
use super::format::{Format, Kind};
use super::record::{Names, Odd, Oddity, Reading, Record};
use super::sorted::Window;
use super::table::{Columns, split};
use super::{ConvertError, Notes, Options};
use crate::seed::Draws;
use crate::trace::lines::{Content, Lines};

/// If none of so many lines is one of the format, the file is of another.
const TRIED: u64 = 1_000;

pub(super) struct Source<'a> {
    path: Arc<str>,
    lines: Lines,
    how: How,
    map: FieldMap,
    /// Whose the requests are, where no line says so.
    service: String,
    options: &'a Options,
    spread: Option<Draws>,
    window: Window,
    /// Lines that became requests, and all.
    taken: u64,
    pub(super) read: u64,
    is_over: bool,
    /// Why the first line was left out that was.
    first_odd: Option<(u64, Odd)>,
}

enum How {
    Access,
    Json,
    Table(Box<Columns>),
}

impl<'a> Source<'a> {
    /// `ordinal` tells files apart whose lines draw something.
    pub(super) fn open(
        path: &Path,
        content: Content,
        format: Format,
        ordinal: u64,
        options: &'a Options,
    ) -> Result<Source<'a>, ConvertError> {
        let shown: Arc<str> = super::shown(path).into();
        let mut lines = Lines::over(content, &shown);
        let asked = options.fields.clone();
        let how = match format.kind() {
            Kind::Access => How::Access,
            Kind::Json | Kind::Prometheus | Kind::Counts => How::Json,
            Kind::Table => {
                let header =
                    lines.next()?.map(|(_, line)| String::from_utf8_lossy(line).into_owned());
                let Some(header) = header else {
                    return Err(ConvertError::Nothing { path: shown.to_string() });
                };
                How::Table(Box::new(Columns::of(&shown, &header, format, asked.clone())?))
            }
        };
        let map = match &how {
            How::Table(columns) => columns.map().clone(),
            How::Access | How::Json => asked.or(format.map()),
        };
        if !map.has_time() {
            let keys = match lines.next()? {
                Some((_, line)) => keys(line),
                None => return Err(ConvertError::Nothing { path: shown.to_string() }),
            };
            return Err(ConvertError::NoTimeField { path: shown.to_string(), found: keys });
        }
        // Whole seconds of our own are what they say.
        let spreads = options.spreads && format != Format::Tidegate;
        Ok(Source {
            service: options.service.clone().unwrap_or_else(|| stem(path)),
            path: shown,
            lines,
            how,
            map,
            options,
            spread: spreads.then(|| options.seed.draws("convert-spread", "", ordinal)),
            window: Window::new(options.window.us()),
            taken: 0,
            read: 0,
            is_over: false,
            first_odd: None,
        })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The next request in order of time.
    pub(super) fn next(
        &mut self,
        names: &mut Names,
        notes: &mut Notes,
    ) -> Result<Option<Record>, ConvertError> {
        loop {
            if self.is_over {
                return Ok(self.window.pop());
            }
            if let Some(record) = self.window.ready() {
                return Ok(Some(record));
            }
            self.read_line(names, notes)?;
        }
    }

    fn read_line(&mut self, names: &mut Names, notes: &mut Notes) -> Result<(), ConvertError> {
        let Some((line, text)) = self.lines.next()? else {
            self.is_over = true;
            return self.none_taken();
        };
        self.read += 1;
        let path = &self.path;
        let mut note = |kind| notes.add(kind, path, line);
        let mut reading = Reading {
            map: &self.map,
            service: &self.service,
            is_one_service: self.options.service.is_some(),
            draws_work: self.options.asks.is_some(),
            spread: self.spread.as_mut(),
        };
        let text = String::from_utf8_lossy(text);
        let record = record(&self.how, &text, line, self.options, &mut reading, names, &mut note);
        match record {
            Ok(record) => {
                self.taken += 1;
                self.window.push(record).map_err(|by_us| ConvertError::Late {
                    path: self.path.to_string(),
                    line,
                    by_s: (by_us as f64 / 1e6).round(),
                    window: self.options.window,
                })
            }
            Err(odd) => {
                notes.add(odd.kind, &self.path, line);
                if self.options.is_strict && odd.kind.is_fault() {
                    return Err(self.malformed(line, odd));
                }
                if odd.kind.is_fault() && self.first_odd.is_none() {
                    self.first_odd = Some((line, odd));
                }
                if self.read == TRIED { self.none_taken() } else { Ok(()) }
            }
        }
    }

    /// A file none of whose lines is right is not one with some odd lines.
    fn none_taken(&mut self) -> Result<(), ConvertError> {
        match (self.taken, self.first_odd.take()) {
            (0, Some((line, odd))) => Err(self.malformed(line, odd)),
            (_, first_odd) => {
                self.first_odd = first_odd;
                Ok(())
            }
        }
    }

    fn malformed(&self, line: u64, odd: Odd) -> ConvertError {
        ConvertError::Line {
            path: self.path.to_string(),
            line,
            expected: odd.expected,
            found: odd.found,
        }
    }
}

fn record(
    how: &How,
    text: &str,
    line: u64,
    options: &Options,
    reading: &mut Reading<'_>,
    names: &mut Names,
    note: &mut dyn FnMut(Oddity),
) -> Result<Record, Odd> {
    let wanted = |get: &dyn Fn(&str) -> Option<String>| {
        let is_elsewhere = options.wanted.iter().find(|(field, start)| {
            !get(field).is_some_and(|value| value.starts_with(start.as_str()))
        });
        match is_elsewhere {
            Some((field, _)) => Err(Odd::new(Oddity::Elsewhere, "what --where asks for", field)),
            None => Ok(()),
        }
    };
    match how {
        How::Access => {
            let Some(access) = AccessLine::of(text) else {
                let expected =
                    "a line of an access log: client, [time], \"request\", status, bytes";
                return Err(Odd::new(Oddity::NotTheFormat, expected, text));
            };
            wanted(&|field| access.field(field).map(Cow::into_owned))?;
            let mut texts = reading.map.texts(|field| access.field(&field.path));
            // Apache's time is that of the arrival, so a line without a time it took says when it arrived.
            if texts.duration.is_none() && texts.time.is_none() {
                texts.time = texts.end.take();
            }
            reading.record(&texts, line, names, note)
        }
        How::Json => {
            let Ok(document @ Value::Object(_)) = serde_json::from_str::<Value>(text) else {
                return Err(Odd::new(Oddity::NotTheFormat, "a JSON object", text));
            };
            wanted(&|field| at_path(&document, field).map(Cow::into_owned))?;
            let texts = reading.map.texts(|field| at_path(&document, &field.path));
            reading.record(&texts, line, names, note)
        }
        How::Table(columns) => {
            let fields = split(text);
            if fields.len() != columns.count() {
                let expected = "as many fields as the first line has";
                return Err(Odd::new(Oddity::NotTheFormat, expected, text));
            }
            wanted(&|field| columns.field(&fields, field).map(Cow::into_owned))?;
            reading.record(&columns.texts(&fields), line, names, note)
        }
    }
}

/// The fields of a line of JSON, for whoever has to name one.
fn keys(line: &[u8]) -> String {
    let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(line) else {
        return crate::trace::fields::quoted(line);
    };
    let keys: Vec<String> = object.keys().take(20).map(|key| format!("`{key}`")).collect();
    keys.join(", ")
}

/// What a file is called without what says how it is written.
fn stem(path: &Path) -> String {
    if path == Path::new("-") {
        return "stdin".to_owned();
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let mut name = name.strip_suffix(".gz").unwrap_or(&name);
    for ending in [".csv", ".jsonl", ".json", ".log", ".ndjson"] {
        name = name.strip_suffix(ending).unwrap_or(name);
    }
    name.replace(',', "_")
}
