//! `tidegate bench`: of everything built in, or of one policy.

use std::path::Path;

use super::args::{self, Output};
use super::failure::{Exit, Failure};
use super::output::Terminal;
use super::policies;
use crate::bench::Measured;
use crate::bench::policy::{MeasureError, PolicyMeasured, Subject};
use crate::policy::{BindError, Limits, builtin};

/// Measures, and prints what came of it.
pub(super) fn run(args: &args::Bench, terminal: &Terminal) -> Result<(), Failure> {
    if let Some(named) = &args.policy {
        return policy(named, args, terminal);
    }
    let sandbox = policies::sandbox_without_cache(Limits::default())?;
    let bar = terminal.progress(None);
    let measured = Measured::take(&sandbox, &mut |what| bar.set_message(what.to_owned())).map_err(
        |error| Failure::new(Exit::Policy, "cannot measure the built-in policies", &*error),
    )?;
    bar.finish_and_clear();
    terminal.print(&match args.output {
        Output::Text => measured.render(),
        Output::Json => serde_json::to_string_pretty(&measured).expect("every key is text") + "\n",
    })
}

/// Measures one policy.
fn policy(named: &str, args: &args::Bench, terminal: &Terminal) -> Result<(), Failure> {
    let sandbox = policies::sandbox_without_cache(Limits::default())?;
    let builtin_name = named.strip_prefix("builtin:").unwrap_or(named);
    let builtin = builtin::builtin(builtin_name);
    let read;
    let component = match builtin {
        Some(component) => component,
        None if !Path::new(named).exists() => {
            let known: Vec<&str> = builtin::names().collect();
            let nearest = tidegate_settings::nearest(builtin_name, known.iter().copied());
            let hint = match nearest {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => format!("give a component file, or one of {}", known.join(", ")),
            };
            let what = format!("there is no file {named}, and no policy of that name is built in");
            return Err(Failure::plain(Exit::Input, what).hint(hint));
        }
        None => {
            read = policies::read(Path::new(named), sandbox.limits())?;
            &read
        }
    };
    let settings = settings(args.settings.as_deref())?;
    let subject = Subject {
        name: named,
        component,
        builtin: builtin.map(|_| builtin_name),
        settings: &settings,
    };
    let bar = terminal.progress(None);
    let measured =
        PolicyMeasured::take(&sandbox, &subject, &mut |what| bar.set_message(what.to_owned()))
            .map_err(|error| cannot_measure(named, &error))?;
    bar.finish_and_clear();
    terminal.print(&match args.output {
        Output::Text => measured.render(),
        Output::Json => serde_json::to_string_pretty(&measured).expect("every key is text") + "\n",
    })?;
    let of_places = measured.places.iter().map(|one| &one.failure);
    let failed =
        measured.decisions.iter().map(|one| &one.failure).chain(of_places).find_map(Option::as_ref);
    failed.map_or(Ok(()), |failure| {
        Err(Failure::plain(Exit::Policy, format!("{named} failed: {failure}")))
    })
}

/// Settings as JSON, or the file that has them.
fn settings(text: Option<&str>) -> Result<serde_json::Value, Failure> {
    let Some(text) = text else { return Ok(serde_json::json!({})) };
    let fails = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(Exit::Input, format!("cannot read the settings {text}"), error)
    };
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| fails(&error));
    }
    let file = std::fs::read_to_string(text).map_err(|error| fails(&error))?;
    serde_saphyr::from_str(&file).map_err(|error| fails(&error))
}

fn cannot_measure(named: &str, error: &MeasureError) -> Failure {
    let exit = match error {
        MeasureError::Load(_) | MeasureError::Init(_) | MeasureError::Bind(BindError::Call(_)) => {
            Exit::Policy
        }
        MeasureError::Bind(BindError::Faults(_)) => Exit::Input,
        MeasureError::Folder(_) => Exit::Environment,
    };
    let failure = Failure::new(exit, format!("cannot measure {named}"), error);
    match error {
        MeasureError::Load(error) => match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        },
        MeasureError::Bind(BindError::Faults(faults)) => {
            let told = faults.iter().map(policies::told).collect::<Vec<_>>();
            failure.causes(told)
        }
        MeasureError::Bind(BindError::Call(_))
        | MeasureError::Init(_)
        | MeasureError::Folder(_) => failure,
    }
}
