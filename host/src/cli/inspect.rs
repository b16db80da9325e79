//! `tidegate inspect`: what a component is, what it asks for, and what it gives.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::args::Output;
use super::failure::{Exit, Failure};
use super::output::Terminal;
use super::policies;
use crate::definitions::policies::PolicyRef;
use crate::policy::keys::{self, Key};
use crate::policy::wire::{Causes, Fault, Program, Scope, Source, Subject};
use crate::policy::{BindError, Facts, Limits, Package, PlacementPolicy as _, ScalingPolicy as _};

/// Arguments of `tidegate inspect`.
#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// A component file, or builtin:NAME.
    #[arg(value_name = "FILE.wasm|builtin:NAME")]
    policy: String,
    /// The policy's own settings, YAML or JSON; none if not given.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// All that is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inspected {
    policy: String,
    #[serde(flatten)]
    facts: Facts,
    /// The keys that its settings may have, as far as it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings_keys: Option<Vec<Key>>,
    settings: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    scaling: Option<Bound<Scaling>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    placement: Option<Placing>,
}

/// What a policy made of the settings.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Bound<T> {
    /// It took them.
    Accepted(T),
    /// It did not, for these reasons.
    Refused(Vec<Told>),
}

/// A fault or a warning.
#[derive(Serialize)]
struct Told {
    path: String,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Scaling {
    scope: &'static str,
    causes: Vec<&'static str>,
    inputs: Vec<Input>,
    outputs: Vec<String>,
    state_schema: String,
    params_bytes: usize,
    warnings: Vec<Told>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Placing {
    inputs: Vec<Input>,
    settings: Bound<PlacementProgram>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlacementProgram {
    params_bytes: usize,
    warnings: Vec<Told>,
}

/// A column.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    /// `window`, `fact`, `output`, or what a column of placement describes.
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    averaging: Option<String>,
    required: bool,
}

/// Loads the policy, binds it once, and prints what there is to know.
pub(super) fn run(args: &Inspect, terminal: &Terminal) -> Result<(), Failure> {
    let named = match args.policy.strip_prefix("builtin:") {
        Some(name) => PolicyRef::Builtin(name.to_owned()),
        None => PolicyRef::File(PathBuf::from(&args.policy)),
    };
    let limits = Limits::default();
    let component = policies::bytes(&named, &limits)?;
    let facts =
        Facts::of(&component, &limits).map_err(|error| policies::cannot_load(&named, &error))?;
    let package = policies::package(&policies::sandbox(limits)?, &named)?;
    let settings = match &args.settings {
        None => json!({}),
        Some(path) => read_settings(path)?,
    };
    let document = json!({ "settings": settings }).to_string();
    let inspected = Inspected {
        policy: args.policy.clone(),
        scaling: scaling(&args.policy, &package, &document)?,
        placement: placing(&args.policy, &package, &document)?,
        facts,
        settings_keys: keys::of(&package),
        settings,
    };
    if args.settings.is_some() && refusals(&inspected).next().is_some() {
        let faults = refusals(&inspected).map(line);
        let what = format!("{} refuses its settings", args.policy);
        return Err(Failure::plain(Exit::Input, what).causes(faults));
    }
    terminal.print(&match args.output {
        Output::Text => text(&inspected),
        Output::Json => serde_json::to_string_pretty(&inspected).expect("every key is text") + "\n",
    })
}

fn read_settings(path: &Path) -> Result<Value, Failure> {
    let what = || format!("cannot read the settings in {}", path.display());
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::new(Exit::Input, what(), &error))?;
    serde_saphyr::from_str(&text).map_err(|error| Failure::new(Exit::Input, what(), &error))
}

fn scaling(
    policy: &str,
    package: &Package,
    document: &str,
) -> Result<Option<Bound<Scaling>>, Failure> {
    let Some(mut component) = package.scaling() else { return Ok(None) };
    let fails = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(Exit::Policy, format!("{policy} does not answer"), error)
    };
    let state_schema = component.state_schema().map_err(|error| fails(&error))?;
    Ok(Some(match component.bind(document) {
        Ok(program) => Bound::Accepted(Scaling {
            scope: scope(program.scope),
            causes: causes(program.causes),
            inputs: inputs(&program),
            outputs: program.outputs,
            state_schema,
            params_bytes: program.params.len(),
            warnings: told(program.warnings),
        }),
        Err(BindError::Faults(faults)) => Bound::Refused(told(faults)),
        Err(error @ BindError::Call(_)) => return Err(fails(&error)),
    }))
}

fn placing(policy: &str, package: &Package, document: &str) -> Result<Option<Placing>, Failure> {
    let Some(mut component) = package.placement() else { return Ok(None) };
    let fails = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(Exit::Policy, format!("{policy} does not answer"), error)
    };
    let asked = component.inputs().map_err(|error| fails(&error))?;
    let input = |input: crate::policy::wire::PlacementInput| Input {
        kind: subject(input.subject),
        name: input.name,
        span_s: None,
        averaging: None,
        required: input.required,
    };
    let settings = match component.bind(document) {
        Ok(program) => Bound::Accepted(PlacementProgram {
            params_bytes: program.params.len(),
            warnings: told(program.warnings),
        }),
        Err(BindError::Faults(faults)) => Bound::Refused(told(faults)),
        Err(error @ BindError::Call(_)) => return Err(fails(&error)),
    };
    Ok(Some(Placing { inputs: asked.into_iter().map(input).collect(), settings }))
}

fn told(faults: Vec<Fault>) -> Vec<Told> {
    let one = |fault: Fault| Told { path: fault.path, message: fault.message };
    faults.into_iter().map(one).collect()
}

fn line(fault: &Told) -> String {
    match fault.path.as_str() {
        "" => fault.message.clone(),
        path => format!("{path}: {}", fault.message),
    }
}

/// Why the settings were not accepted.
fn refusals(inspected: &Inspected) -> impl Iterator<Item = &Told> {
    let of_scaling = match &inspected.scaling {
        Some(Bound::Refused(faults)) => &faults[..],
        Some(Bound::Accepted(_)) | None => &[],
    };
    let of_placement = match inspected.placement.as_ref().map(|placing| &placing.settings) {
        Some(Bound::Refused(faults)) => &faults[..],
        Some(Bound::Accepted(_)) | None => &[],
    };
    of_scaling.iter().chain(of_placement)
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Target => "target",
        Scope::Group => "group",
        Scope::Tenant => "tenant",
    }
}

fn causes(of: Causes) -> Vec<&'static str> {
    let all = [
        (Causes::CREATED, "created"),
        (Causes::TICK, "tick"),
        (Causes::POKE, "poke"),
        (Causes::CHANGE, "change"),
        (Causes::TIMER, "timer"),
    ];
    all.into_iter().filter(|(cause, _)| of.contains(*cause)).map(|(_, name)| name).collect()
}

fn subject(subject: Subject) -> &'static str {
    match subject {
        Subject::Node => "node",
        Subject::Replica => "replica",
        Subject::Pair => "pair",
        Subject::Candidate => "candidate",
    }
}

fn inputs(program: &Program) -> Vec<Input> {
    let one = |input: &crate::policy::wire::Input| {
        let (kind, name, span_s, averaging) = match &input.source {
            Source::Window(window) => {
                ("window", &window.signal, Some(window.span_s), Some(window.averaging.clone()))
            }
            Source::Fact(name) => ("fact", name, None, None),
            Source::Output(name) => ("output", name, None, None),
        };
        Input { kind, name: name.clone(), span_s, averaging, required: input.required }
    };
    program.inputs.iter().map(one).collect()
}

fn text(inspected: &Inspected) -> String {
    let facts = &inspected.facts;
    let mut rows_of = vec![
        ("policy", inspected.policy.clone()),
        ("digest", facts.digest.clone()),
        ("size", size_of(facts)),
        ("world", facts.world.to_owned()),
        ("interface", facts.exports.join("\n")),
        ("imports", "nothing".to_owned()),
    ];
    if let Some(largest) = &facts.largest_function {
        let told = format!(
            "{}, the largest {} with {}",
            facts.functions,
            largest.name,
            crate::policy::size(largest.bytes)
        );
        rows_of.push(("functions", told));
    }
    rows_of.push(("memory", format!("{} to begin with", crate::policy::size(facts.memory_bytes))));
    let made_by: Vec<String> = facts
        .made_by
        .iter()
        .map(|maker| format!("{} {}", maker.name, maker.version).trim_end().to_owned())
        .collect();
    if !made_by.is_empty() {
        rows_of.push(("made by", made_by.join(", ")));
    }
    rows_of.push(("takes", takes(inspected.settings_keys.as_deref())));
    let mut text = rows(&rows_of);
    let settings = inspected.settings.to_string();
    match &inspected.scaling {
        Some(Bound::Accepted(scaling)) => {
            let outputs = match scaling.outputs.as_slice() {
                [] => "none".to_owned(),
                outputs => outputs.join(", "),
            };
            let _ = write!(
                text,
                "\n{}",
                rows(&[
                    ("settings", settings),
                    ("scope", scaling.scope.to_owned()),
                    ("causes", scaling.causes.join(", ")),
                    ("state", scaling.state_schema.clone()),
                    ("outputs", outputs),
                    ("inputs", columns(&scaling.inputs)),
                ])
            );
            warnings(&mut text, &scaling.warnings);
        }
        Some(Bound::Refused(faults)) => refused(&mut text, settings, faults),
        None => {}
    }
    if let Some(placing) = &inspected.placement {
        let settings = inspected.settings.to_string();
        match &placing.settings {
            Bound::Accepted(program) => {
                let _ = write!(text, "\n{}", rows(&[("settings", settings)]));
                warnings(&mut text, &program.warnings);
            }
            Bound::Refused(faults) => refused(&mut text, settings, faults),
        }
        text.push_str(&rows(&[("inputs", columns(&placing.inputs))]));
    }
    text
}

/// A line a key of the settings, with what is expected there.
fn takes(keys: Option<&[Key]>) -> String {
    let Some(keys) = keys else {
        return "any settings: it says of no key that it is unknown".to_owned();
    };
    if keys.is_empty() {
        return "no settings of its own".to_owned();
    }
    let paths = keys.iter().map(|key| key.path.len()).max().unwrap_or(0);
    let line = |key: &Key| {
        let told = format!("{:paths$}  {}", key.path, key.expected.as_deref().unwrap_or_default());
        told.trim_end().to_owned()
    };
    keys.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Settings that were not accepted say no more than why: what a policy asks for depends on them.
fn refused(text: &mut String, settings: String, faults: &[Told]) {
    let faults: Vec<String> = faults.iter().map(line).collect();
    let _ = write!(
        text,
        "\n{}",
        rows(&[
            ("settings", format!("{settings} are refused; give others with --settings FILE")),
            ("faults", faults.join("\n")),
        ])
    );
}

fn warnings(text: &mut String, warnings: &[Told]) {
    if !warnings.is_empty() {
        let lines: Vec<String> = warnings.iter().map(line).collect();
        text.push_str(&rows(&[("warnings", lines.join("\n"))]));
    }
}

/// A line a column, with names under one another.
fn columns(inputs: &[Input]) -> String {
    if inputs.is_empty() {
        return "none".to_owned();
    }
    let kinds = inputs.iter().map(|input| input.kind.len()).max().unwrap_or(0);
    let names = inputs.iter().map(|input| input.name.len()).max().unwrap_or(0);
    let line = |input: &Input| {
        let mut more: Vec<String> = Vec::new();
        if let (Some(span_s), Some(averaging)) = (input.span_s, &input.averaging) {
            more.push(format!("over {span_s} s, {averaging}"));
        }
        if !input.required {
            more.push("optional".to_owned());
        }
        let told = format!("{:kinds$}  {:names$}  {}", input.kind, input.name, more.join(", "));
        told.trim_end().to_owned()
    };
    inputs.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Names and what they have, the latter under one another.
pub(super) fn rows(rows: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, told) in rows {
        let mut name = *name;
        for line in told.lines() {
            let _ = writeln!(text, "{name:<9}  {line}");
            name = "";
        }
    }
    text
}

/// The size of a component's file.
pub(super) fn size_of(facts: &Facts) -> String {
    crate::policy::size(facts.size_bytes)
}
