//! `tidegate trace play`: sends recorded load to a running server.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::super::args::Output;
use super::super::failure::{Exit, Failure};
use super::super::output::Terminal;
use crate::clock::Clock;
use crate::player::{self, PlayError, Played, ServicePlayed, Settings, Target};
use crate::seed::Seed;
use crate::trace::Merged;

pub(in crate::cli) const EXAMPLES: &str = "Examples:
  tidegate trace play load.csv --to http://127.0.0.1:8080
  tidegate trace play day.csv.gz --to 'http://127.0.0.1:8080/{service}/v1/completions' --speed 60 -o json";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Recorded load, CSV, plain or gzip; several are merged.
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,
    /// Where to: http://host:port, with a path or with /v1/completions. {service} stands for the service's name; the body's `model`
    /// names it too.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    to: String,
    /// The Host header, as {service}.example.com.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// So many times faster than recorded.
    #[arg(long, value_name = "TIMES", default_value_t = 1.0)]
    speed: f64,
    /// Tokens a second: how many to ask for where only a duration is recorded.
    #[arg(long, value_name = "NUMBER", default_value_t = 50.0)]
    tokens_per_s: f64,
    /// Ask for answers as event streams.
    #[arg(long)]
    stream: bool,
    /// Wait so long for an answer's last byte, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600.0)]
    timeout: f64,
    /// Any word: the arrivals that a table of rates stands for come from it.
    #[arg(long, default_value = "tide", value_name = "WORD")]
    seed: String,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(in crate::cli) fn run(args: &Arguments, terminal: &Terminal) -> Result<(), Failure> {
    let positive = |name: &str, value: f64| {
        let is_good = value.is_finite() && value > 0.0 && value <= 1e9;
        is_good.then_some(value).ok_or_else(|| {
            Failure::plain(Exit::Input, format!("{name} is {value}, expected a number above 0"))
        })
    };
    let settings = Settings {
        speed: positive("--speed", args.speed)?,
        tokens_per_s: positive("--tokens-per-s", args.tokens_per_s)?,
        timeout: Duration::from_secs_f64(positive("--timeout", args.timeout)?),
        target: Target::new(&args.to, args.host.as_deref(), args.stream)
            .map_err(|error| Failure::new(Exit::Input, "cannot send the load", &error))?,
    };
    let load = Merged::open(&args.traces, &Seed::new(&args.seed))
        .map_err(|error| Failure::new(Exit::Input, "cannot read the load", &error))?;
    let length_s = load.end_us() as f64 / 1e6 / settings.speed;
    let bar = terminal.progress(Some(length_s.ceil() as u64));
    let clock = Arc::new(Clock::start());
    let mut progress = |at_us: u64, under_way: usize| {
        bar.set_position((at_us as f64 / 1e6 / settings.speed) as u64);
        bar.set_message(format!("{under_way} under way"));
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Environment, "cannot start threads", &error))?;
    let playing = player::play(load.items(), load.services(), &settings, &clock, &mut progress);
    let played = runtime.block_on(playing).map_err(|error| {
        let exit = match &error {
            PlayError::Load(_) => Exit::Input,
            PlayError::Address { .. } => Exit::Environment,
        };
        Failure::new(exit, "cannot send the load", &error)
    })?;
    bar.finish_and_clear();
    terminal.print(&match args.output {
        Output::Text => text(&played),
        Output::Json => serde_json::to_string_pretty(&played).expect("every key is text") + "\n",
    })?;
    if played.latest_ms > 50.0 {
        terminal.remark(&format!(
            "warning: requests were sent up to {:.0} ms late: the sending machine is the bottleneck\n",
            played.latest_ms
        ));
    }
    if played.whole.good == played.whole.requests { Ok(()) } else { Err(Failure::of_checks()) }
}

/// A line a service.
fn text(played: &Played) -> String {
    let width = played.services.keys().map(|name| name.chars().count()).max().unwrap_or(0).max(7);
    let mut text = format!(
        "{:width$} {:>9} {:>9} {:>7} {:>7} {:>21} {:>21}\n",
        "service",
        "requests",
        "good",
        "other",
        "held",
        "first byte p50/p99 ms",
        "last byte p50/p99 ms"
    );
    let mut line = |name: &str, of: &ServicePlayed| {
        let pair = |of: &player::Quantiles| format!("{:.1} / {:.1}", of.p50, of.p99);
        let _ = writeln!(
            text,
            "{name:width$} {:>9} {:>9} {:>7} {:>7} {:>21} {:>21}",
            of.requests,
            of.good,
            of.requests - of.good,
            of.held,
            pair(&of.first_byte_ms),
            pair(&of.whole_ms)
        );
    };
    for (name, of) in &played.services {
        line(name, of);
    }
    if played.services.len() > 1 {
        line("all", &played.whole);
    }
    let whole = &played.whole;
    let _ = write!(
        text,
        "\n{:.1} s; the longest was held {:.2} s\n",
        played.duration_s,
        whole.held_ms.max / 1e3
    );
    for (status, times) in &whole.refused {
        let _ = writeln!(text, "status {status}: {times}");
    }
    for (reason, times) in &whole.broken {
        let _ = writeln!(text, "no whole answer: {times}: {reason}");
    }
    for (times, what) in
        [(whole.unanswered, "no answer in time"), (whole.left_out, "not sent: too many under way")]
    {
        if times > 0 {
            let _ = writeln!(text, "{what}: {times}");
        }
    }
    text
}
