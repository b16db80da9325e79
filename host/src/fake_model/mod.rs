//! A model server that is none: it speaks OpenAI's API, takes as long as a model would, and answers with made-up words, labelled as
//! fake wherever it can say so. For trying out what scales and routes model servers on machines without a GPU.
//!
//! How long an answer takes is decided by the simulator's own batching server ([`crate::backend::sim`]), run in real time: the same
//! requests take the same time here and in a replay. It holds no more than one timer, whatever it runs.

mod answer;
mod ask;
mod batching;
mod metrics;
mod serve;
mod words;

#[cfg(test)]
mod tests;

pub use serve::serve;

use std::time::Duration;

use crate::backend::sim::Speed;

/// What a fake model is like.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What it is called; `fake-` is put before it where it does not begin so.
    pub model: String,
    /// How long it loads before it takes requests.
    pub load_time: Duration,
    /// How fast it reads prompts. Tokens a second, above 0.
    pub prefill_tokens_per_s: f64,
    /// How fast it writes when it runs one sequence. Tokens a second, above 0.
    pub decode_tokens_per_s: f64,
    /// By how much each sequence makes an iteration longer. Microseconds.
    pub per_sequence_us: f64,
    /// Sequences that run at once; further ones wait inside. At least 1.
    pub max_concurrency: u32,
    /// Tokens that its cache holds.
    pub cache_tokens: u64,
    /// Whether it ends with an error when it should be loaded.
    pub fails_to_load: bool,
    /// When it crashes, if it does.
    pub crash_after: Option<CrashAfter>,
    /// The part of requests that are answered with an error, from 0 to 1.
    pub error_rate: f64,
    /// What never gets an answer.
    pub hang: Option<Hang>,
    /// The word that errors and texts are drawn from.
    pub seed: String,
}

/// When a fake model crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashAfter {
    /// As the request after so many comes in.
    Requests(u64),
    /// So long after it was loaded.
    Time(Duration),
}

/// What never gets an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hang {
    /// It never ends loading.
    Load,
    /// Requests for completions; it says that it is well.
    Requests,
    /// Everything.
    All,
}

/// How a fake model ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to, and has answered what it had.
    Stopped,
    /// It was to fail while it loads.
    FailedToLoad,
    /// It was to crash.
    Crashed,
}

/// What a fake model tells its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It takes requests.
    Ready,
    /// It was told to stop and answers what it has.
    Stopping {
        /// Requests that it has.
        running: usize,
    },
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            model: "model".into(),
            load_time: Duration::from_secs(3),
            prefill_tokens_per_s: 8_000.0,
            decode_tokens_per_s: 50.0,
            per_sequence_us: 100.0,
            max_concurrency: 256,
            cache_tokens: 400_000,
            fails_to_load: false,
            crash_after: None,
            error_rate: 0.0,
            hang: None,
            seed: "tide".into(),
        }
    }
}

impl Settings {
    /// The id by which it is listed and which its answers have.
    pub fn id(&self) -> String {
        match self.model.strip_prefix("fake-") {
            Some(_) => self.model.clone(),
            None => format!("fake-{}", self.model),
        }
    }

    fn speed(&self) -> Speed {
        Speed::of_rates(
            self.prefill_tokens_per_s,
            self.decode_tokens_per_s,
            self.per_sequence_us,
            self.cache_tokens,
            self.max_concurrency,
        )
    }
}
