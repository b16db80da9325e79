//! `tidegate build`: a project's component, checked and put where its policies file expects it.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::Output;
use super::failure::{Exit, Failure};
use super::output::Terminal;
use crate::policy::{Facts, Limits, LoadError};
use crate::project::build::{self, BuildError, Tools};

/// Arguments of `tidegate build`.
#[derive(Debug, clap::Args)]
pub(super) struct Build {
    /// The project's folder.
    #[arg(default_value = ".", value_name = "PATH")]
    path: PathBuf,
    /// Where to put the component; where `policies.yaml` expects it if not given.
    #[arg(long, value_name = "FILE.wasm")]
    to: Option<PathBuf>,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Builds, checks, copies, and prints what came of it.
pub(super) fn run(args: &Build, terminal: &Terminal) -> Result<(), Failure> {
    let built = build::build(&args.path, &tools(terminal)).map_err(|error| failure(args, error))?;
    let facts = Facts::of(&built.component, &Limits::default()).map_err(|error| {
        let what = format!("{} was built, and is no policy", built.file.display());
        let failure = Failure::new(Exit::Policy, what, &error);
        match (&error, error.hint()) {
            // The target has no WASI, so it is not that which is wrong.
            (LoadError::Imports { .. }, _) => failure.hint(
                "code or a crate of it asks for them by name: leave that out (`cargo tree` shows the crates)\n\
                 what a policy may know, time included, comes as arguments",
            ),
            (_, Some(hint)) => failure.hint(hint),
            (_, None) => failure,
        }
    })?;
    let to = args.to.clone().unwrap_or_else(|| build::place_of(&args.path, &built.file));
    let to = to.strip_prefix(".").unwrap_or(&to);
    put(to, &built.component)?;
    terminal.print(&match args.output {
        // The result is the file.
        Output::Text if terminal.is_quiet() => String::new(),
        Output::Text => text(to, &facts),
        Output::Json => {
            let mut document = serde_json::to_value(&facts).expect("every key is text");
            document["file"] = json!(to.display().to_string());
            serde_json::to_string_pretty(&document).expect("every key is text") + "\n"
        }
    })
}

fn text(to: &Path, facts: &Facts) -> String {
    super::inspect::rows(&[
        ("file", to.display().to_string()),
        ("size", super::inspect::size_of(facts)),
        ("digest", facts.digest.clone()),
        ("world", facts.world.to_owned()),
        ("interface", facts.exports.join(", ")),
        ("imports", "nothing".to_owned()),
    ])
}

/// The tools of this process's environment.
fn tools(terminal: &Terminal) -> Tools {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    Tools {
        cargo: from("CARGO").unwrap_or_else(|| "cargo".into()),
        clang: from("CLANG").unwrap_or_else(|| "clang".into()),
        rustc: from("RUSTC").unwrap_or_else(|| "rustc".into()),
        target: from("CARGO_TARGET_DIR").map(PathBuf::from),
        is_quiet: terminal.is_quiet(),
    }
}

fn failure(args: &Build, error: BuildError) -> Failure {
    let exit = match error {
        BuildError::NoProject { .. }
        | BuildError::Cargo
        | BuildError::NoComponent { .. }
        | BuildError::Several { .. }
        | BuildError::SeveralSources { .. }
        | BuildError::Clang
        | BuildError::Wrap { .. } => Exit::Input,
        BuildError::NoTool { .. }
        | BuildError::NoCTool { .. }
        | BuildError::NoWasmTarget { .. }
        | BuildError::NoStd { .. }
        | BuildError::SeveralStds { .. }
        | BuildError::NoLinker
        | BuildError::Read { .. } => Exit::Environment,
    };
    let path = if args.path == Path::new(".") {
        "the policy in this folder".to_owned()
    } else {
        args.path.display().to_string()
    };
    let failure = Failure::new(exit, format!("cannot build {path}"), &error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Writes the component whole or not at all: somebody may be replaying the one before.
fn put(to: &Path, component: &[u8]) -> Result<(), Failure> {
    let fails = |error: std::io::Error| {
        Failure::new(Exit::Environment, format!("cannot write {}", to.display()), &error)
    };
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(fails)?;
    }
    let part = to.with_extension("wasm.part");
    std::fs::write(&part, component).map_err(fails)?;
    std::fs::rename(&part, to).map_err(fails)?;
    Ok(())
}
