//! `tidegate check`: reads files, has them checked, and prints what was found.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::failure::{Exit, Failure};
use super::output::Terminal;
use super::policies;
use crate::check::{self, Context, Severity, Source, Unchecked};
use crate::definitions::profile::Profile;
use crate::policy::{Limits, Sandbox};
use crate::report::Style;

pub(super) const EXAMPLES: &str = "What a file is, is seen from what is in it; `-` is standard input.

Examples:
  tidegate check config-autoscaler.yaml
  tidegate check isvc.yaml nodes.yaml --profile gpu
  kubectl get configmap config-autoscaler -n knative-serving -o yaml | tidegate check -
  tidegate check policies.yaml -o sarif > check.sarif

Exit codes: 0 clean, warnings allowed · 1 a file is wrong (or, with --strict, there are warnings) · 2 a file cannot be read, or nothing says what it is · 3 a policy trapped or overran";

/// The largest file that is read whole. A trace may be larger: it is read row by row.
const LARGEST: u64 = 16 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Files of any kind that the program reads; those that belong together are checked together.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Cluster settings that services and policies are checked against, unless a file has them.
    #[arg(long, default_value = "gpu", value_name = "NAME|FILE")]
    profile: String,
    /// Exit with 1 for warnings too.
    #[arg(long)]
    strict: bool,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a person or an editor: a line each, beginning with its place.
    Text,
    /// For a program.
    Json,
    /// For a code-scanning page: SARIF 2.1.0.
    Sarif,
}

pub(super) fn run(args: &Check, terminal: &Terminal) -> Result<(), Failure> {
    let (profile, _) = Profile::find(&args.profile).map_err(|error| {
        Failure::new(Exit::Input, format!("cannot use the profile {}", args.profile), &error)
    })?;
    let program = std::env::current_exe().map_err(|error| {
        Failure::new(Exit::Environment, "cannot find this program, which compiles policies", &error)
    })?;
    let cache = policies::cache_folder();
    let sandbox = |limits: Limits| {
        let sandbox = Sandbox::new(limits)?.with_compiler(&program);
        Ok(match &cache {
            Some(folder) => sandbox.with_cache(folder),
            None => sandbox,
        })
    };
    let (mut sources, mut unread) = (Vec::new(), Vec::new());
    for path in &args.files {
        let file = path.display().to_string();
        match read(path) {
            Ok(source) => sources.push(source),
            Err(error) => {
                unread.push(Unchecked { file, message: format!("cannot read it: {error}") })
            }
        }
    }
    let bar = terminal.progress(None);
    let mut report = check::check(&sources, &Context { profile, sandbox: &sandbox });
    bar.finish_and_clear();
    report.unchecked.extend(unread);
    terminal.print(&match args.output {
        Format::Text => {
            report.render(Style { colour: terminal.has_colors, width: terminal.width() })
        }
        Format::Json => report.json(),
        Format::Sarif => check::sarif(&report),
    })?;
    if let Some(first) = report.unchecked.first() {
        let what = format!("cannot check {}", first.file);
        return Err(Failure::plain(Exit::Input, what).causes([first.message.clone()]));
    }
    if report.has_trapped() {
        return Err(Failure::plain(
            Exit::Policy,
            "a policy trapped or overran while it was checked",
        ));
    }
    let is_strict = args.strict && report.count(Severity::Warning) > 0;
    if report.count(Severity::Error) > 0 || is_strict {
        return Err(Failure::of_checks());
    }
    Ok(())
}

/// Reads a file, or the beginning of a larger one.
fn read(path: &Path) -> std::io::Result<Source> {
    let mut bytes = Vec::new();
    let (name, place) = if path == Path::new("-") {
        std::io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes)?;
        ("<stdin>".to_owned(), None)
    } else {
        std::fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        (path.display().to_string(), Some(path.to_owned()))
    };
    let is_whole = bytes.len() as u64 <= LARGEST;
    bytes.truncate(LARGEST as usize);
    Ok(Source { name, path: place, bytes, is_whole })
}
