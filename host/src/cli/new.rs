//! `tidegate new`: a project for a policy.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _};

use super::failure::{Exit, Failure};
use super::output::Terminal;
use crate::project::{self, NewError, Template, component_file};

/// Arguments of `tidegate new`.
#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// The folder to make; the policy is called like it.
    #[arg(value_name = "NAME")]
    folder: PathBuf,
    /// What to begin with.
    #[arg(long, value_name = "TEMPLATE", value_parser = templates())]
    template: Template,
}

fn templates() -> impl clap::builder::TypedValueParser<Value = Template> {
    let values = Template::ALL.map(|one| PossibleValue::new(one.name()).help(one.purpose()));
    PossibleValuesParser::new(values).map(|name| {
        let known = Template::ALL.into_iter().find(|template| template.name() == name);
        known.expect("the parser takes no other names")
    })
}

/// Writes the project, and says what to do with it.
pub(super) fn run(args: &New, terminal: &Terminal) -> Result<(), Failure> {
    project::begin(&args.folder, args.template).map_err(|error| {
        let exit = match error {
            NewError::Name { .. } | NewError::NotEmpty { .. } => Exit::Input,
            NewError::Write { .. } => Exit::Environment,
        };
        let what = format!("cannot begin a project in {}", args.folder.display());
        let failure = Failure::new(exit, what, &error);
        match error {
            NewError::NotEmpty { .. } => failure.hint("name another folder, or empty this one"),
            NewError::Name { .. } | NewError::Write { .. } => failure,
        }
    })?;
    // The result is the folder.
    if terminal.is_quiet() {
        return Ok(());
    }
    let name = args.folder.file_name().unwrap_or_default().to_string_lossy();
    terminal.print(&format!(
        "{} began with the template {}: {}.\n\n\
         next      cd {}\n          \
         cargo test        # its tests, natively\n          \
         tidegate build    # leaves {}\n          \
         tidegate test     # replays load.csv, held to expectations and a snapshot\n",
        args.folder.display(),
        args.template.name(),
        uncapitalised(args.template.purpose()),
        args.folder.display(),
        component_file(&name),
    ))
}

fn uncapitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
