//! `tidegate fake-model`: OpenAI's API without a model.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use super::failure::{Exit, Failure};
use super::output::Terminal;
use crate::fake_model::{CrashAfter, Ended, Hang, Settings, Told, serve};

pub(super) const EXAMPLES: &str = "Each option can be given in the environment instead, as FAKE_MODEL_LOAD_TIME for --load-time; the port is PORT as well.
The address is printed on stdout. It stops on SIGTERM: health says so, what runs is answered, exit code 0. A crash or a load that
fails ends it with exit code 1, without a word to its clients.

Examples:
  tidegate fake-model --port 8001 --model llama --load-time 3s
  PORT=8001 tidegate fake-model --decode-tokens-per-s 200 --max-concurrency 8
  tidegate fake-model --crash-after 100 --error-rate 0.01
  curl -N localhost:8001/v1/completions -d '{\"prompt\": \"hello\", \"max_tokens\": 20, \"stream\": true}'";

/// Arguments of `tidegate fake-model`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where it listens; any free port if not given, or 0.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The address it listens at. [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,
    /// What it is called; fake- is put before it. [default: model]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// How long it loads before it takes requests. [default: 3s]
    #[arg(long, value_name = "DURATION")]
    load_time: Option<Span>,
    /// How fast it reads prompts. [default: 8000]
    #[arg(long, value_name = "TOKENS")]
    prefill_tokens_per_s: Option<Rate>,
    /// How fast it writes when it runs one sequence alone. [default: 50]
    #[arg(long, value_name = "TOKENS")]
    decode_tokens_per_s: Option<Rate>,
    /// By how much each sequence makes an iteration longer; as much at most as an iteration takes. [default: 100us]
    #[arg(long, value_name = "DURATION")]
    per_sequence: Option<Span>,
    /// Sequences that run at once; further ones wait inside. [default: 256]
    #[arg(long, value_name = "COUNT")]
    max_concurrency: Option<std::num::NonZeroU32>,
    /// Tokens that its cache holds. [default: 400000]
    #[arg(long, value_name = "TOKENS")]
    cache_tokens: Option<std::num::NonZeroU32>,
    /// End with an error instead of getting ready.
    #[arg(long)]
    fail_load: bool,
    /// Crash as the request after so many comes in, or so long after it was ready: 100, or 30s.
    #[arg(long, value_name = "REQUESTS|DURATION")]
    crash_after: Option<CrashAfter>,
    /// The part of requests that get an error, from 0 to 1. [default: 0]
    #[arg(long, value_name = "PART")]
    error_rate: Option<Part>,
    /// What never gets an answer; SIGTERM does not help then. Loading, requests (it says that it is well), or all.
    #[arg(long, value_name = "load|requests|all")]
    hang: Option<Hang>,
    /// Any word: errors and words are drawn from it. [default: tide]
    #[arg(long, value_name = "WORD")]
    seed: Option<String>,
}

/// Serves until it is told to stop, or until it was to end.
pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<(), Failure> {
    let settings = settings(args)?;
    let host = or_env(args.host, "HOST")?.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let port = match or_env(args.port, "PORT")? {
        Some(port) => port,
        None => from_env("PORT")?.unwrap_or(0),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Environment, "cannot start", &error))?;
    let id = settings.id();
    let ended = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((host, port))
            .await
            .and_then(|listener| listener.local_addr().map(|address| (listener, address)));
        let (listener, address) = listener.map_err(|error| {
            Failure::new(Exit::Environment, format!("cannot listen at {host}:{port}"), &error)
        })?;
        let stop = stop_signal()
            .map_err(|error| Failure::new(Exit::Environment, "cannot take signals", &error))?;
        terminal.remark(&format!(
            "{id}: a fake model: made-up words, no model; loads for {:?}\n",
            settings.load_time
        ));
        terminal.print(&format!("http://{address}\n"))?;
        let told = |told: Told| match told {
            Told::Ready => terminal.remark(&format!("{id}: ready\n")),
            Told::Stopping { running } => {
                terminal.remark(&format!("{id}: stops, {running} requests to answer\n"));
            }
        };
        Ok(serve(settings, listener, stop, told).await)
    })?;
    // Connections of a crash are not ended in order: they just break.
    runtime.shutdown_background();
    match ended {
        Ended::Stopped => Ok(()),
        Ended::FailedToLoad => Err(Failure::plain(
            Exit::Check,
            format!("{id}: cannot load, as it was told to fail (--fail-load)"),
        )),
        Ended::Crashed => Err(Failure::plain(
            Exit::Check,
            format!("{id}: crashed, as it was told to (--crash-after)"),
        )),
    }
}

fn settings(args: &Args) -> Result<Settings, Failure> {
    let usual = Settings::default();
    let model = or_env(args.model.clone(), "MODEL")?.unwrap_or(usual.model);
    if model.is_empty() || model.chars().any(char::is_control) {
        return Err(Failure::plain(
            Exit::Input,
            "the model's name is empty or has control characters",
        ));
    }
    let micros = |span: Span| span.0.as_secs_f64() * 1e6;
    Ok(Settings {
        model,
        load_time: or_env(args.load_time, "LOAD_TIME")?.map_or(usual.load_time, |span| span.0),
        prefill_tokens_per_s: or_env(args.prefill_tokens_per_s, "PREFILL_TOKENS_PER_S")?
            .map_or(usual.prefill_tokens_per_s, |rate| rate.0),
        decode_tokens_per_s: or_env(args.decode_tokens_per_s, "DECODE_TOKENS_PER_S")?
            .map_or(usual.decode_tokens_per_s, |rate| rate.0),
        per_sequence_us: or_env(args.per_sequence, "PER_SEQUENCE")?
            .map_or(usual.per_sequence_us, micros),
        max_concurrency: or_env(args.max_concurrency, "MAX_CONCURRENCY")?
            .map_or(usual.max_concurrency, std::num::NonZeroU32::get),
        cache_tokens: or_env(args.cache_tokens, "CACHE_TOKENS")?
            .map_or(usual.cache_tokens, |tokens| u64::from(tokens.get())),
        fails_to_load: args.fail_load || from_env("FAKE_MODEL_FAIL_LOAD")?.unwrap_or(false),
        crash_after: or_env(args.crash_after, "CRASH_AFTER")?,
        error_rate: or_env(args.error_rate, "ERROR_RATE")?.map_or(usual.error_rate, |part| part.0),
        hang: or_env(args.hang, "HANG")?,
        seed: or_env(args.seed.clone(), "SEED")?.unwrap_or(usual.seed),
    })
}

/// What was given as an argument, or else as `FAKE_MODEL_…` in the environment.
fn or_env<T: FromStr<Err: std::fmt::Display>>(
    given: Option<T>,
    name: &str,
) -> Result<Option<T>, Failure> {
    match given {
        Some(given) => Ok(Some(given)),
        None => from_env(&format!("FAKE_MODEL_{name}")),
    }
}

fn from_env<T: FromStr<Err: std::fmt::Display>>(name: &str) -> Result<Option<T>, Failure> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge: who starts servers gives them their port in the environment"
    )]
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some(value) = value else { return Ok(None) };
    value.parse().map(Some).map_err(|error| {
        Failure::plain(Exit::Input, format!("{name}={value} in the environment: {error}"))
    })
}

/// Ends when the process is told to stop.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// A duration that is not negative, as Go writes it.
#[derive(Clone, Copy, Debug)]
struct Span(Duration);

/// More than 0.
#[derive(Clone, Copy, Debug)]
struct Rate(f64);

/// From 0 to 1.
#[derive(Clone, Copy, Debug)]
struct Part(f64);

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Span, Self::Err> {
        let nanos = tidegate_settings::parse_duration(text)
            .and_then(|nanos| u64::try_from(nanos).ok())
            .ok_or("a duration such as 3s or 250ms is expected")?;
        Ok(Span(Duration::from_nanos(nanos)))
    }
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Rate, Self::Err> {
        let rate = text.parse().ok().filter(|rate| (0.001..=1e9).contains(rate));
        rate.map(Rate).ok_or("tokens a second from 0.001 to 1000000000 are expected")
    }
}

impl FromStr for Part {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Part, Self::Err> {
        let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
        part.map(Part).ok_or("a part from 0 to 1 is expected")
    }
}

impl FromStr for CrashAfter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<CrashAfter, Self::Err> {
        if let Ok(requests) = text.parse() {
            return Ok(CrashAfter::Requests(requests));
        }
        let span: Result<Span, _> = text.parse();
        span.map(|span| CrashAfter::Time(span.0))
            .map_err(|_| "a number of requests such as 100, or a duration such as 30s, is expected")
    }
}

impl FromStr for Hang {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Hang, Self::Err> {
        match text {
            "load" => Ok(Hang::Load),
            "requests" => Ok(Hang::Requests),
            "all" => Ok(Hang::All),
            _ => Err("load, requests or all is expected"),
        }
    }
}
