//! The signals that are reported once a second and that windows average. `docs/signals.md` is the catalogue for readers.

use serde::{Deserialize, Serialize};

/// A signal of one target, one value a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// Requests in flight, waiting ones included, averaged over the second by time. Requests.
    Concurrency,
    /// Requests that arrived in the second. Requests a second.
    Arrivals,
    /// Prompt tokens of the requests that were handed to a replica in the second. Tokens a second.
    PromptTokens,
    /// Tokens of the answers that ended in the second. Tokens a second.
    OutputTokens,
}

impl Signal {
    /// Every signal, in the order of [`Report::values`](super::Report).
    pub const ALL: [Signal; 4] =
        [Signal::Concurrency, Signal::Arrivals, Signal::PromptTokens, Signal::OutputTokens];

    /// The name in the catalogue, which policies ask for.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Concurrency => "concurrency",
            Signal::Arrivals => "arrivals",
            Signal::PromptTokens => "prompt-tokens",
            Signal::OutputTokens => "output-tokens",
        }
    }

    /// The signal of that name.
    pub fn named(name: &str) -> Option<Signal> {
        Signal::ALL.into_iter().find(|signal| signal.name() == name)
    }
}
