//! The formats, and how to tell them by their first bytes.

use std::str::FromStr;

use serde_json::Value;

use super::access::AccessLine;
use super::fields::{Field, FieldMap, at_path};
use super::time::Unit;
use super::{ConvertError, table};
use crate::trace::fields::quoted;

/// A format that load is recorded in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The answer of a range query, `/api/v1/query_range`.
    Prometheus,
    /// Lines of Apache and nginx: common, combined, with a virtual host, with a request time.
    AccessLog,
    /// A JSON document a line, with a map of its fields.
    JsonLines,
    /// CSV with a map of its columns.
    Csv,
    /// Caddy's log.
    Caddy,
    /// Traefik's access log in JSON.
    Traefik,
    /// Envoy's access log in JSON, as Istio sets it up.
    Envoy,
    /// `AzureLLMInferenceTrace_*.csv`, 2023 and 2024.
    AzureLlm,
    /// Invocations of Azure Functions with durations, 2021.
    AzureFunctions2021,
    /// Invocations of Azure Functions per minute, 2019.
    AzureFunctions2019,
    /// `BurstGPT_*.csv`.
    BurstGpt,
    /// Mooncake's traces.
    Mooncake,
    /// Our own requests.
    Tidegate,
}

impl Format {
    /// All there are.
    pub const ALL: [Format; 13] = [
        Format::Prometheus,
        Format::AccessLog,
        Format::JsonLines,
        Format::Csv,
        Format::Caddy,
        Format::Traefik,
        Format::Envoy,
        Format::AzureLlm,
        Format::AzureFunctions2021,
        Format::AzureFunctions2019,
        Format::BurstGpt,
        Format::Mooncake,
        Format::Tidegate,
    ];

    /// As it is named on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Prometheus => "prometheus",
            Format::AccessLog => "access-log",
            Format::JsonLines => "jsonl",
            Format::Csv => "csv",
            Format::Caddy => "caddy",
            Format::Traefik => "traefik",
            Format::Envoy => "envoy",
            Format::AzureLlm => "azure-llm",
            Format::AzureFunctions2021 => "azure-functions-2021",
            Format::AzureFunctions2019 => "azure-functions-2019",
            Format::BurstGpt => "burstgpt",
            Format::Mooncake => "mooncake",
            Format::Tidegate => "tidegate",
        }
    }

    /// How its records are read.
    pub(super) fn kind(self) -> Kind {
        match self {
            Format::Prometheus => Kind::Prometheus,
            Format::AzureFunctions2019 => Kind::Counts,
            Format::AccessLog => Kind::Access,
            Format::JsonLines
            | Format::Caddy
            | Format::Traefik
            | Format::Envoy
            | Format::Mooncake => Kind::Json,
            Format::Csv
            | Format::AzureLlm
            | Format::AzureFunctions2021
            | Format::BurstGpt
            | Format::Tidegate => Kind::Table,
        }
    }

    /// What its fields mean. Those of [`Format::Tidegate`] depend on the file.
    pub(super) fn map(self) -> FieldMap {
        let none = FieldMap::default();
        let named = |path| Some(Field::named(path));
        let of = |path, unit| Some(Field::of(path, unit));
        match self {
            Format::Prometheus
            | Format::AzureFunctions2019
            | Format::JsonLines
            | Format::Csv
            | Format::Tidegate => none,
            // nginx writes a line when the request ends; a line without a time it took is read as its arrival.
            Format::AccessLog => {
                FieldMap { end: named("time"), duration: named("request_time"), ..none }
            }
            Format::Caddy => FieldMap {
                end: of("ts", Unit::Seconds),
                duration: of("duration", Unit::Seconds),
                service: named("request.host"),
                ..none
            },
            Format::Traefik => FieldMap {
                time: named("StartUTC"),
                duration: of("Duration", Unit::Nanoseconds),
                service: named("ServiceName"),
                ..none
            },
            Format::Envoy => FieldMap {
                time: named("start_time"),
                duration: of("duration", Unit::Milliseconds),
                service: named("authority"),
                ..none
            },
            Format::AzureLlm => FieldMap {
                time: named("TIMESTAMP"),
                prompt: named("ContextTokens"),
                output: named("GeneratedTokens"),
                ..none
            },
            Format::AzureFunctions2021 => FieldMap {
                end: of("end_timestamp", Unit::Seconds),
                duration: of("duration", Unit::Seconds),
                service: named("func"),
                ..none
            },
            Format::BurstGpt => FieldMap {
                time: of("Timestamp", Unit::Seconds),
                service: named("Model"),
                prompt: named("Request tokens"),
                output: named("Response tokens"),
                ..none
            },
            Format::Mooncake => FieldMap {
                time: of("timestamp", Unit::Milliseconds),
                prompt: named("input_length"),
                output: named("output_length"),
                ..none
            },
        }
    }

    /// Tells a format by the first bytes of a file.
    pub(super) fn of(path: &str, start: &[u8]) -> Result<Format, ConvertError> {
        let text = String::from_utf8_lossy(start);
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let line = text.lines().next().unwrap_or_default();
        if text.starts_with('{') {
            let head: String =
                text.chars().take(4_096).filter(|char| !char.is_whitespace()).collect();
            if head.contains("\"resultType\":")
                || head.starts_with("{\"status\":\"") && head.contains("\"data\":{")
            {
                return Ok(Format::Prometheus);
            }
            return Ok(of_json(line));
        }
        let columns = table::split(line);
        let has =
            |names: &[&str]| names.iter().all(|name| columns.iter().any(|column| column == name));
        let found = [
            (Format::AzureLlm, has(&["TIMESTAMP", "ContextTokens", "GeneratedTokens"])),
            (Format::BurstGpt, has(&["Timestamp", "Model", "Request tokens", "Response tokens"])),
            (Format::AzureFunctions2021, has(&["app", "func", "end_timestamp", "duration"])),
            (Format::AzureFunctions2019, has(&["HashFunction", "1", "2"])),
            (Format::Tidegate, has(&["t_s"]) || has(&["minute", "concurrency"])),
            (Format::AccessLog, text.lines().take(20).any(|line| AccessLine::of(line).is_some())),
        ];
        match found.into_iter().find(|(_, is_found)| *is_found) {
            Some((format, _)) => Ok(format),
            None => Err(ConvertError::UnknownContent {
                path: path.to_owned(),
                found: quoted(line.as_bytes()),
            }),
        }
    }
}

/// A log in JSON by the fields of its first line; one that is not known needs a map.
fn of_json(line: &str) -> Format {
    let Ok(document) = serde_json::from_str::<Value>(line) else { return Format::JsonLines };
    let has = |paths: &[&str]| paths.iter().all(|path| at_path(&document, path).is_some());
    let known = [
        (Format::Mooncake, has(&["timestamp", "input_length", "output_length"])),
        (Format::Caddy, has(&["ts", "duration", "request.host"])),
        (Format::Traefik, has(&["StartUTC", "Duration"])),
        (Format::Envoy, has(&["start_time", "duration", "authority"])),
    ];
    known.into_iter().find(|(_, is_it)| *is_it).map_or(Format::JsonLines, |(format, _)| format)
}

/// How records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Prometheus,
    Counts,
    Access,
    Json,
    Table,
}

impl FromStr for Format {
    type Err = ConvertError;

    fn from_str(name: &str) -> Result<Format, ConvertError> {
        let names = Format::ALL.map(Format::name);
        let found = Format::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| ConvertError::UnknownFormat {
            found: name.to_owned(),
            expected: match tidegate_settings::nearest(name, names) {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => format!("expected one of {}", names.join(", ")),
            },
        })
    }
}
