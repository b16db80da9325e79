//! `tidegate trace synth`.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::sink::Sink;
use crate::cli::args::Output;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::Terminal;
use crate::seed::Seed;
use crate::trace::Item;
use crate::trace::synth::{Arrivals, Durations, ServiceLoad, Shape, Span, Synth, Tokens};
use crate::trace::write::{Requests, WriteError};

pub(in crate::cli) const EXAMPLES: &str = "Shapes (several are added, with + or with --shape again):
  constant:5
  steps:0s=1,10m=5,20m=0
  ramp:from=0,to=20,over=1h                  at=0s
  sinus:mean=5,amplitude=4,period=1h         at=0s
  bursts:height=40,period=10m,width=30s      at=0s
  flash:at=2h,peak=80,rise=30s,decay=10m     hold=0s
  diurnal:low=1,high=20                      peak-at=14h,weekend=1,starts=0s
  on-off:rate=3,on=10m,off=50m               at=0s

Examples:
  tidegate trace synth --shape constant:2+flash:at=2h,peak=80,rise=30s,decay=10m --for 6h -O flash.csv.gz
  tidegate trace synth --shape diurnal:low=1,high=20,weekend=0.3 --for 7d --service chat | head
  tidegate trace synth --from load.yaml --seed ebb -O load.csv.gz";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// How many requests per second, over time; see below.
    #[arg(long, value_name = "SHAPE", required_unless_present = "from")]
    shape: Vec<Shape>,
    /// How long the load is, as 90m, 24h or 7d.
    #[arg(long = "for", value_name = "DURATION", required_unless_present = "from")]
    length: Option<Span>,
    /// The service that gets it.
    #[arg(long, value_name = "NAME", default_value = "synth")]
    service: String,
    /// Arrivals at even distances, as those of a load generator, rather than a Poisson process.
    #[arg(long)]
    even: bool,
    /// Tokens of each request: a number, or the median and the 99 % quantile. [default: 1024,4123]
    #[arg(long, value_name = "N|P50,P99")]
    prompt_tokens: Option<Tokens>,
    /// Tokens of each answer: a number, or the median and the 99 % quantile. [default: 115,601]
    #[arg(long, value_name = "N|P50,P99")]
    output_tokens: Option<Tokens>,
    /// How long each request runs, instead of tokens: a duration, or the median and the 99 % quantile.
    #[arg(long, value_name = "D|P50,P99", conflicts_with_all = ["prompt_tokens", "output_tokens"])]
    duration: Option<Durations>,
    /// The description of the load, with several services if need be; --for replaces its length.
    #[arg(
        long, value_name = "FILE.yaml",
        conflicts_with_all = ["shape", "service", "even", "prompt_tokens", "output_tokens", "duration"]
    )]
    from: Option<PathBuf>,
    /// Any word: all arrivals and lengths come from it.
    #[arg(long, default_value = "tide", value_name = "WORD")]
    seed: String,
    /// The file to write, gzip if it ends in .gz; stdout if not given.
    #[arg(short = 'O', long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How to say what was written: on stderr for a person, or on stdout for a program.
    #[arg(short, long, value_enum, default_value_t = Output::Text, requires_if("json", "out"))]
    output: Output,
}

/// What was written: the document that `-o json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    api_version: &'static str,
    kind: &'static str,
    requests: u64,
    services: u64,
    window_s: f64,
    mean_rps: f64,
}

pub(in crate::cli) fn run(args: &Arguments, terminal: &Terminal) -> Result<(), Failure> {
    let synth = described(args)?;
    let mut sink = Sink::open(args.out.as_deref())?;
    let bar = terminal.progress(Some((synth.length().us() / 1_000_000).max(1)));
    let written = write(&synth, &Seed::new(&args.seed), &mut sink, &mut |at_us| {
        bar.set_position(at_us / 1_000_000);
    });
    bar.finish_and_clear();
    let requests = match written {
        Ok(0) => {
            let what = "nothing arrives: the load has no request";
            return Err(Failure::plain(Exit::Input, what)
                .hint("a higher rate, a longer --for or another --seed"));
        }
        Ok(requests) => requests,
        Err(WriteError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        Err(error @ WriteError::Write(_)) => {
            return Err(Failure::new(Exit::Environment, "cannot write the load", &error));
        }
        Err(error @ WriteError::Mixed { .. }) => {
            return Err(Failure::new(Exit::Input, "cannot write the load as one trace", &error));
        }
    };
    sink.finish()?;
    let summary = Written {
        api_version: "tidegate.dev/v1alpha1",
        kind: "TraceSynthesis",
        requests,
        services: synth.services().len() as u64,
        window_s: synth.length().seconds(),
        mean_rps: requests as f64 / synth.length().seconds(),
    };
    match args.output {
        Output::Json => {
            let text = serde_json::to_string_pretty(&summary).expect("every key is text");
            terminal.print(&(text + "\n"))
        }
        Output::Text => {
            let to =
                args.out.as_ref().map_or(String::new(), |path| format!(" to {}", path.display()));
            terminal.remark(&format!(
                "wrote {requests} requests in {}{to}, {:.3} a second\n",
                synth.length(),
                summary.mean_rps
            ));
            Ok(())
        }
    }
}

/// The load that the arguments describe.
fn described(args: &Arguments) -> Result<Synth, Failure> {
    if let Some(path) = &args.from {
        let what = format!("cannot read the load in {}", path.display());
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::new(Exit::Input, &what, &error))?;
        let synth: Synth = serde_saphyr::from_str(&text)
            .map_err(|error| Failure::new(Exit::Input, &what, &error))?;
        return match args.length {
            None => Ok(synth),
            Some(length) => Synth::new(length, synth.services().clone())
                .map_err(|error| Failure::new(Exit::Input, what, &error)),
        };
    }
    let cannot = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(Exit::Input, "cannot make that load", error)
    };
    let parts = args.shape.iter().flat_map(|shape| shape.parts().iter().cloned()).collect();
    let load = ServiceLoad {
        shape: Shape::of(parts).map_err(|error| cannot(&error))?,
        arrivals: if args.even { Arrivals::Even } else { Arrivals::Poisson },
        prompt: args.prompt_tokens,
        output: args.output_tokens,
        duration: args.duration,
    };
    let length = args.length.expect("clap asks for it unless there is a file");
    Synth::new(length, BTreeMap::from([(args.service.clone(), load)]))
        .map_err(|error| cannot(&error))
}

fn write(
    synth: &Synth,
    seed: &Seed,
    to: &mut Sink,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, WriteError> {
    let load = synth.load(seed);
    let mut requests = Requests::new(to);
    for item in load.items {
        let Ok(Item::Arrival { at_us, service, work }) = item else {
            unreachable!("a synthetic load is drawn, and offers nothing");
        };
        requests.write(at_us, &load.services[service as usize], work)?;
        if requests.rows().is_multiple_of(10_000) {
            progress(at_us);
        }
    }
    Ok(requests.rows())
}
