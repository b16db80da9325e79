//! `tidegate trace convert`.

use std::io;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::sink::Sink;
use crate::cli::args::Output;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::Terminal;
use crate::seed::Seed;
use crate::trace::convert::{
    Asking, ConvertError, FieldMap, Format, Metric, Options, Report, To, convert,
};
use crate::trace::synth::{Durations, Span, Tokens};
use crate::trace::write::WriteError;

pub(in crate::cli) const EXAMPLES: &str = "Formats:
  auto                   told by the content of each file
  prometheus             the answer of /api/v1/query_range: rates, concurrency, or a counter
  access-log             Apache's and nginx's common and combined, with $request_time if it is there
  jsonl, csv             anything else, with --field for what its fields mean
  caddy traefik envoy    their access logs in JSON
  azure-llm azure-functions-2021 azure-functions-2019 burstgpt mooncake
  tidegate               our own requests, to sort, shift or sum them

Fields: time (arrival), end, duration, service, prompt, output; :s, :ms, :us or :ns behind a field is its unit.
In JSON a field may be a path, as request.host; access logs have time, host, method, path, path.N, status, request_time.

Examples:
  tidegate trace convert access.log.1.gz access.log -O load.csv.gz
  tidegate trace convert access.log --where path=/v1/models/ --field service=path.3 -O load.csv
  tidegate trace convert calls.jsonl --field end=ts --field duration=took:ms --field service=req.host -O load.csv
  curl -s \"$PROM/api/v1/query_range?query=…&step=60s\" | tidegate trace convert - --metric concurrency -O load.csv
  tidegate trace convert AzureLLMInferenceTrace_conv.csv --to rates --step 10s | head";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// What was recorded, plain or gzip, or - for stdin; several are merged by time.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The format of the files; see below.
    #[arg(long, default_value = "auto", value_name = "FORMAT")]
    from: String,
    /// A row a request, or a row a step with the rate of each service. [default: requests, where there are any]
    #[arg(long, value_enum, value_name = "KIND")]
    to: Option<Kind>,
    /// Which field means what, as time=ts or duration=took:ms; once for each.
    #[arg(long, value_name = "KEY=FIELD")]
    field: Vec<String>,
    /// Only records whose field begins so, as path=/v1/.
    #[arg(long = "where", value_name = "FIELD=START")]
    wanted: Vec<String>,
    /// The one service that all of it is of.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// What the samples of Prometheus are.
    #[arg(long, value_enum, default_value_t = Samples::Rate, value_name = "KIND")]
    metric: Samples,
    /// The label of Prometheus that names services. [default: service, app and the like]
    #[arg(long, value_name = "LABEL")]
    service_label: Option<String>,
    /// Tokens of each request, whatever the files say: a number, or the median and the 99 % quantile.
    #[arg(long, value_name = "N|P50,P99")]
    prompt_tokens: Option<Tokens>,
    /// Tokens of each answer, likewise.
    #[arg(long, value_name = "N|P50,P99")]
    output_tokens: Option<Tokens>,
    /// How long each request runs, instead of tokens, likewise.
    #[arg(long, value_name = "D|P50,P99", conflicts_with_all = ["prompt_tokens", "output_tokens"])]
    duration: Option<Durations>,
    /// The moment that becomes 0, as 2024-05-10T00:00Z; what is before it is left out. [default: the minute of the first request]
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Requests may stand so much later in a file than others that arrived after them.
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    window: Span,
    /// How long a row of rates lasts.
    #[arg(long, default_value = "60s", value_name = "DURATION")]
    step: Span,
    /// Leave times in whole seconds as they are, rather than spread them within their second.
    #[arg(long)]
    no_spread: bool,
    /// Any odd line is an error.
    #[arg(long)]
    strict: bool,
    /// Any word: what is drawn comes from it.
    #[arg(long, default_value = "tide", value_name = "WORD")]
    seed: String,
    /// The file to write, gzip if it ends in .gz; stdout if not given.
    #[arg(short = 'O', long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How to say what was converted: on stderr for a person, or on stdout for a program.
    #[arg(short, long, value_enum, default_value_t = Output::Text, requires_if("json", "out"))]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A row a request.
    Requests,
    /// A row a step.
    Rates,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Samples {
    /// Requests per second.
    Rate,
    /// Requests in flight.
    Concurrency,
    /// A counter of requests.
    Counter,
}

pub(in crate::cli) fn run(args: &Arguments, terminal: &Terminal) -> Result<(), Failure> {
    let named: Vec<String> = args.files.iter().map(|path| path.display().to_string()).collect();
    let fails = |error: &ConvertError| failure(error, &named.join(", "));
    let options = options(args)?;
    let mut sink = Sink::open(args.out.as_deref())?;
    let bar = terminal.progress(None);
    let done = convert(&args.files, &options, &mut sink, &mut |lines| {
        bar.set_message(format!("{lines} lines"));
    });
    bar.finish_and_clear();
    let report: Report = match done {
        Ok(report) => report,
        Err(ConvertError::Write(WriteError::Write(error)))
            if error.kind() == io::ErrorKind::BrokenPipe =>
        {
            return Ok(());
        }
        Err(error) => return Err(fails(&error)),
    };
    sink.finish()?;
    match args.output {
        Output::Json => {
            let text = serde_json::to_string_pretty(&report).expect("every key is text");
            terminal.print(&(text + "\n"))
        }
        Output::Text => {
            terminal.remark(&report.render());
            Ok(())
        }
    }
}

fn failure(error: &ConvertError, named: &str) -> Failure {
    let is_full = matches!(error, ConvertError::Write(WriteError::Write(_)));
    let exit = if is_full { Exit::Environment } else { Exit::Input };
    let failure = Failure::new(exit, format!("cannot convert {named}"), error);
    match error {
        ConvertError::Late { by_s, .. } => {
            let minutes = (by_s / 60.0).ceil() + 1.0;
            failure.hint(format!("try --window {minutes}m, or sort the file; if it is several logs in one, give each for itself"))
        }
        ConvertError::SomeDurations { .. } => failure.hint(
            "--duration or --prompt-tokens for what all of them ask for, or --to rates, which does not need it",
        ),
        ConvertError::UnknownContent { .. } | ConvertError::NoTimeField { .. } => failure
            .hint("such as --from jsonl --field time=ts --field service=model --field duration=took:ms"),
        _ => failure,
    }
}

fn options(args: &Arguments) -> Result<Options, Failure> {
    let wrong = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(Exit::Input, "cannot convert that way", error)
    };
    let mut fields = FieldMap::default();
    for field in &args.field {
        fields.set(field).map_err(|error| wrong(&error))?;
    }
    let mut wanted = Vec::new();
    for condition in &args.wanted {
        let Some((field, start)) = condition.split_once('=') else {
            let what = format!("--where is {condition}, expected a field and how it begins");
            return Err(Failure::plain(Exit::Input, what).hint("as path=/v1/"));
        };
        wanted.push((field.to_owned(), start.to_owned()));
    }
    if args.step.us() == 0 {
        return Err(Failure::plain(Exit::Input, "--step is 0s, expected a duration above 0"));
    }
    if let Some(name) = args.service.as_ref().filter(|name| name.is_empty() || name.contains(',')) {
        let what = format!("--service is `{name}`, expected a name without commas");
        return Err(Failure::plain(Exit::Input, what));
    }
    let start =
        args.start.as_deref().map(|text| crate::cli::inputs::start(Some(text))).transpose()?;
    Ok(Options {
        from: match args.from.as_str() {
            "auto" => None,
            name => Some(name.parse::<Format>().map_err(|error| wrong(&error))?),
        },
        to: args.to.map(|kind| match kind {
            Kind::Requests => To::Requests,
            Kind::Rates => To::Rates,
        }),
        fields,
        service: args.service.clone(),
        wanted,
        asks: Asking::of(args.prompt_tokens, args.output_tokens, args.duration)
            .map_err(|error| wrong(&error))?,
        start_us: start.map(|start| start.0 as i64 * 1_000),
        window: args.window,
        spreads: !args.no_spread,
        step: args.step,
        metric: match args.metric {
            Samples::Rate => Metric::Rate,
            Samples::Concurrency => Metric::Concurrency,
            Samples::Counter => Metric::Counter,
        },
        service_label: args.service_label.clone(),
        is_strict: args.strict,
        seed: Seed::new(&args.seed),
    })
}
