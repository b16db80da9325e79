//! One request of a log, and what can be odd about the line it stands on.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields::{FieldMap, Texts};
use super::time::{duration_us, moment};
use crate::seed::Draws;
use crate::trace::Work;
use crate::trace::fields::quoted;

/// A request, not yet in order. Times are microseconds since 1970, or since its file's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    pub(super) at_us: i64,
    /// Where it stands, which keeps the order of what came at the same moment.
    pub(super) line: u64,
    pub(super) service: u32,
    /// What it asks for, where the log says so.
    pub(super) asks: Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    Tokens(u32, u32),
    DurationUs(u64),
    Unknown,
}

impl Asked {
    pub(super) fn work(self) -> Option<Work> {
        match self {
            Asked::Tokens(prompt, output) => Some(Work::Tokens { prompt, output }),
            Asked::DurationUs(us) => Some(Work::Duration(us)),
            Asked::Unknown => None,
        }
    }
}

/// What can be odd about a line.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Oddity {
    /// It has not the format. Left out.
    NotTheFormat,
    /// It does not say when. Left out.
    NoTime,
    /// Its time is none. Left out.
    BadTime,
    /// Its duration is none. Left out.
    BadDuration,
    /// It has no duration, while the trace is one of durations. Left out.
    NoDuration,
    /// Its tokens are none. Left out.
    BadTokens,
    /// It has no tokens of the request. Left out.
    NoTokens,
    /// It names no service. Left out.
    NoService,
    /// It has no tokens of the answer; 0 are taken.
    NoAnswer,
    /// It says when it ended, but not how long it took; its end is taken for its arrival.
    EndForArrival,
    /// It does not begin as `--where` wants. Left out, as asked.
    Elsewhere,
    /// It comes before the start: that of `--start`, or the trace's own. Left out.
    BeforeStart,
    /// It does not say what it asks for; tokens or a duration are drawn.
    Drawn,
    /// Its time is in whole seconds; it gets a moment within its second.
    Spread,
}

impl Oddity {
    /// What becomes of such a line, in words that follow a number of lines.
    pub(super) fn words(self) -> &'static str {
        match self {
            Oddity::NotTheFormat => "left out: not of the format",
            Oddity::NoTime => "left out: no time",
            Oddity::BadTime => "left out: a time that is none",
            Oddity::BadDuration => "left out: a duration that is none",
            Oddity::NoDuration => "left out: no duration",
            Oddity::BadTokens => "left out: tokens that are none",
            Oddity::NoTokens => "left out: no tokens of the request",
            Oddity::NoService => "left out: no service",
            Oddity::NoAnswer => "without tokens of the answer: 0 taken",
            Oddity::EndForArrival => "without a duration: their end taken for their arrival",
            Oddity::Elsewhere => "left out: not what --where asks for",
            Oddity::BeforeStart => "left out: before the start",
            Oddity::Drawn => "do not say what they ask for: drawn",
            Oddity::Spread => "have whole seconds: spread within their second",
        }
    }

    /// Whether something is wrong with the line, rather than with what the format says or with what was asked for.
    pub(super) fn is_fault(self) -> bool {
        match self {
            Oddity::NotTheFormat
            | Oddity::NoTime
            | Oddity::BadTime
            | Oddity::BadDuration
            | Oddity::NoDuration
            | Oddity::BadTokens
            | Oddity::NoTokens
            | Oddity::NoService
            | Oddity::NoAnswer
            | Oddity::EndForArrival => true,
            Oddity::Elsewhere | Oddity::BeforeStart | Oddity::Drawn | Oddity::Spread => false,
        }
    }
}

/// A line that is left out, and why.
#[derive(Debug)]
pub(super) struct Odd {
    pub(super) kind: Oddity,
    pub(super) expected: &'static str,
    pub(super) found: String,
}

impl Odd {
    pub(super) fn new(kind: Oddity, expected: &'static str, found: &str) -> Odd {
        Odd { kind, expected, found: quoted(found.as_bytes()) }
    }
}

/// The services so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) names: Vec<String>,
    by_name: BTreeMap<String, u32>,
}

impl Names {
    pub(super) fn position(&mut self, name: &str) -> u32 {
        if let Some(position) = self.by_name.get(name) {
            return *position;
        }
        let position = u32::try_from(self.names.len()).expect("fewer than four billion services");
        self.names.push(name.to_owned());
        self.by_name.insert(name.to_owned(), position);
        position
    }
}

/// What a trace needs to be told of each line.
pub(super) struct Reading<'a> {
    pub(super) map: &'a FieldMap,
    /// Whose a request is, where the line does not say.
    pub(super) service: &'a str,
    /// Whether the service that the line names is not wanted.
    pub(super) is_one_service: bool,
    /// Whether what the line says it asks for is not wanted.
    pub(super) draws_work: bool,
    /// Moments within a second; nothing: whole seconds stay what they are.
    pub(super) spread: Option<&'a mut Draws>,
}

const TIME: &str = "a time as 2024-05-10T00:00:00Z, 10/May/2024:00:00:00 +0000 or 1715299200.5";
const DURATION: &str = "a duration as 0.125 or 125ms";
const TOKENS: &str = "a whole number of tokens, 0 to 4294967295";
const NAME: &str = "the name of a service";

impl Reading<'_> {
    /// What the texts of a line say. `note` hears what is odd about a line that stays.
    pub(super) fn record(
        &mut self,
        texts: &Texts<'_>,
        line: u64,
        names: &mut Names,
        note: &mut dyn FnMut(Oddity),
    ) -> Result<Record, Odd> {
        let unit =
            |field: &Option<super::fields::Field>| field.as_ref().and_then(|field| field.unit);
        let (text, unit_of_time, is_end) = match (&texts.time, &texts.end) {
            (Some(text), _) => (text, unit(&self.map.time), false),
            (None, Some(text)) => (text, unit(&self.map.end), true),
            (None, None) => return Err(Odd::new(Oddity::NoTime, TIME, "")),
        };
        let Some(when) = moment(text, unit_of_time) else {
            return Err(Odd::new(Oddity::BadTime, TIME, text));
        };
        let took_us = match texts.duration.as_deref().filter(|text| !is_nothing(text)) {
            None => None,
            Some(text) => match duration_us(text, unit(&self.map.duration)) {
                Some(us) => Some(us),
                None => return Err(Odd::new(Oddity::BadDuration, DURATION, text)),
            },
        };
        let asks = self.asks(texts, took_us, note)?;
        let service = match texts.service.as_deref().filter(|_| !self.is_one_service) {
            None if self.map.service.is_some() && !self.is_one_service => {
                return Err(Odd::new(Oddity::NoService, NAME, ""));
            }
            None => names.position(self.service),
            Some(name) => names.position(&as_name(name)?),
        };
        let mut at_us = when.us;
        if let (true, Some(spread)) = (when.is_whole_second, &mut self.spread) {
            note(Oddity::Spread);
            at_us += (spread.uniform() * 1e6) as i64;
        }
        if is_end {
            match took_us {
                Some(us) => at_us = at_us.saturating_sub_unsigned(us),
                None => note(Oddity::EndForArrival),
            }
        }
        Ok(Record { at_us, line, service, asks })
    }

    fn asks(
        &self,
        texts: &Texts<'_>,
        took_us: Option<u64>,
        note: &mut dyn FnMut(Oddity),
    ) -> Result<Asked, Odd> {
        if self.draws_work {
            return Ok(Asked::Unknown);
        }
        if self.map.has_tokens() {
            let tokens = |text: &Option<Cow<'_, str>>| match text.as_deref() {
                Some(text) if !is_nothing(text) => match whole(text) {
                    Some(tokens) => Ok(Some(tokens)),
                    None => Err(Odd::new(Oddity::BadTokens, TOKENS, text)),
                },
                Some(_) | None => Ok(None),
            };
            let output = tokens(&texts.output)?;
            let Some(prompt) = tokens(&texts.prompt)? else {
                return Err(Odd::new(Oddity::NoTokens, TOKENS, ""));
            };
            if output.is_none() {
                note(Oddity::NoAnswer);
            }
            return Ok(Asked::Tokens(prompt, output.unwrap_or(0)));
        }
        match took_us {
            Some(us) => Ok(Asked::DurationUs(us)),
            None => Ok(Asked::Unknown),
        }
    }
}

fn is_nothing(text: &str) -> bool {
    matches!(text.trim(), "" | "-" | "null")
}

/// A whole number, also where its writer only has floats.
fn whole(text: &str) -> Option<u32> {
    let text = text.trim();
    let text = match text.split_once('.') {
        Some((whole, decimals)) if decimals.bytes().all(|digit| digit == b'0') => whole,
        Some(_) => return None,
        None => text,
    };
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A name that a trace can hold.
fn as_name(text: &str) -> Result<Cow<'_, str>, Odd> {
    let name = text.trim();
    if is_nothing(name) {
        return Err(Odd::new(Oddity::NoService, NAME, text));
    }
    let breaks = |char: char| char == ',' || char.is_control();
    match name.contains(breaks) {
        true => Ok(Cow::Owned(name.replace(breaks, "_"))),
        false => Ok(Cow::Borrowed(name)),
    }
}
