//! As many replicas as the tokens need: a GPU is full by tokens, not by requests. A first stage, in the place of `knative`; behind it
//! stands `scale-to-zero` as ever.

use serde::{Deserialize, Serialize};
use tidegate_policy::{
    Averaging, Causes, Column, Decision, Document, Faults, Notes, Output, Scaling, Seen, Wants,
};

/// The policy.
#[derive(Debug)]
pub struct TokenRate;

tidegate_policy::export_scaling!(TokenRate);

/// What its user writes under `settings`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// Output tokens a second that one replica gives without making users wait.
    output_tokens_per_second: f64,
    /// Prompt tokens that cost as much as one output token.
    #[serde(default = "ten")]
    prompt_tokens_per_output_token: f64,
    /// Requests that wait, for which one replica more is wanted.
    #[serde(default = "sixteen")]
    waiting_per_replica: f64,
    /// Less is believed after so long, more at once. Seconds.
    #[serde(default = "three_minutes")]
    window_seconds: u32,
}

fn ten() -> f64 {
    10.0
}

fn sixteen() -> f64 {
    16.0
}

fn three_minutes() -> u32 {
    180
}

/// The short window that rises are seen by. Seconds.
const BURST_S: u32 = 15;

/// The settings, and the columns that are read and given.
#[derive(Debug, Serialize, Deserialize)]
pub struct Params {
    settings: Settings,
    /// Output and prompt tokens, over the long and the short window.
    long: [Column; 2],
    short: [Column; 2],
    waiting: Column,
    ready: Column,
    needed: Output,
}

/// What was wanted last, and until when no less is wanted. Unix milliseconds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Held {
    replicas: u32,
    until_ms: u64,
}

impl Scaling for TokenRate {
    type Settings = Settings;
    type Params = Params;
    type State = Held;
    const STATE_SCHEMA: &'static str = "token-rate/1";

    fn bind(document: Document<Settings>, want: &mut Wants) -> Result<Params, Faults> {
        let settings = document.settings;
        let mut faults = Faults::default();
        for (name, value) in [
            ("outputTokensPerSecond", settings.output_tokens_per_second),
            ("promptTokensPerOutputToken", settings.prompt_tokens_per_output_token),
            ("waitingPerReplica", settings.waiting_per_replica),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                let message = format!("found {value}, expected a number above 0");
                faults.push(format!("settings.{name}"), message);
            }
        }
        let span_s = settings.window_seconds;
        if !(BURST_S..=3_600).contains(&span_s) {
            let message = format!("found {span_s}, expected {BURST_S} to 3600");
            faults.push("settings.windowSeconds", message);
        }
        want.causes(Causes::CREATED | Causes::TICK | Causes::POKE);
        let mut tokens = |span_s: u32| {
            ["output-tokens", "prompt-tokens"]
                .map(|signal| want.window(signal, span_s.clamp(1, 3_600), Averaging::Linear))
        };
        let (long, short) = (tokens(span_s), tokens(BURST_S));
        let (waiting, ready) = (want.fact("waiting"), want.fact("ready-replicas"));
        let needed = want.gives("tokens-needed");
        faults.or(Params { settings, long, short, waiting, ready, needed })
    }

    fn init(_: &Params, at_ms: u64, _ready: Option<f64>) -> Held {
        Held { replicas: 0, until_ms: at_ms }
    }

    fn decide(
        params: &Params,
        held: &mut Held,
        seen: &Seen<'_>,
        notes: &mut Notes<'_>,
    ) -> Decision {
        let Settings {
            output_tokens_per_second: capacity,
            prompt_tokens_per_output_token: prompt_part,
            waiting_per_replica,
            window_seconds,
        } = params.settings;
        let rate = |[output, prompt]: [Column; 2]| {
            Some(seen.known(output)? + seen.known(prompt)? / prompt_part)
        };
        let (long, short) = (rate(params.long), rate(params.short));
        let waiting = seen.known(params.waiting).unwrap_or(0.0);
        let is_poked = seen.causes & Causes::POKE != Causes::empty();
        if long.is_none() && short.is_none() && waiting == 0.0 && !is_poked {
            notes.reason(|| "no data".into());
            return Decision::hold();
        }
        let tokens = long.unwrap_or(0.0).max(short.unwrap_or(0.0));
        // Tokens are counted when they are given, so a queue shows need before they do.
        let ready = seen.known(params.ready).unwrap_or(0.0);
        let for_queue =
            if waiting > 0.0 { ready + (waiting / waiting_per_replica).ceil() } else { 0.0 };
        let for_tokens = (tokens / capacity).ceil();
        let wanted = for_tokens.max(for_queue).max(f64::from(u8::from(is_poked))) as u32;
        if wanted >= held.replicas || seen.at_ms >= held.until_ms {
            let until_ms = seen.at_ms + u64::from(window_seconds) * 1_000;
            *held = Held { replicas: wanted, until_ms };
        }
        notes.give(params.needed, tokens);
        notes.figure("tokens needed a second, prompts weighed", tokens);
        notes.figure("waiting, requests", waiting);
        notes.reason(|| {
            if held.replicas > wanted {
                format!("{} were wanted within {window_seconds} s, now {wanted}", held.replicas)
            } else if for_queue > for_tokens {
                format!("{waiting} wait for {ready} ready")
            } else {
                format!("{tokens:.0} tokens/s at {capacity} a replica")
            }
        });
        Decision::replicas(held.replicas)
    }
}

#[cfg(test)]
mod tests;
