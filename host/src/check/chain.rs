//! Checks policies: a component on its own, the chain of a policies file, and settings documents. Components are loaded and asked to
//! bind settings; none is asked to decide.

use super::place::Place;
use super::{Checked, Context, Finding, Source, counted, is_trap};
use crate::definitions::Outline;
use crate::definitions::model::Catalogue;
use crate::definitions::policies::{PoliciesDefinition, PolicyRef};
use crate::definitions::profile::Profile;
use crate::definitions::service::Service;
use crate::engine::windows::Averaging;
use crate::engine::{Engine, Options, Signal};
use crate::policy::load::{self, PLACEMENT, SCALING};
use crate::policy::wire::{Fault, Input, Program, Source as From};
use crate::policy::{
    BindError, Limits, LoadError, Package, PlacementPolicy as _, Sandbox, ScalingPolicy as _,
    builtin, keys,
};

/// A component file, alone.
pub(super) fn component(
    bytes: &[u8],
    profile: &Profile,
    context: &Context<'_>,
    checked: &mut Checked,
) {
    let limits = Limits::default();
    let Some(sandbox) = sandbox(limits.clone(), context, checked) else { return };
    let package = match sandbox.load(bytes) {
        Ok(package) => package,
        Err(error) => return refuse(&error, &Place::whole(), checked),
    };
    let (scaling, placement) = (package.scaling(), package.placement());
    let (kind, interface) = match (scaling.is_some(), placement.is_some()) {
        (true, true) => ("a policy that scales and places", format!("{SCALING}, {PLACEMENT}")),
        (false, true) => ("a placement policy", PLACEMENT.to_owned()),
        (_, false) => ("a scaling policy", SCALING.to_owned()),
    };
    checked.about = format!(
        "{kind}, {} of {}",
        crate::policy::size(bytes.len() as u64),
        crate::policy::size(limits.package_bytes as u64)
    );
    checked.details.push(format!("exports   {interface}"));
    checked.details.push("imports   nothing".to_owned());
    if let Some(keys) = keys::of(&package) {
        let paths: Vec<String> = keys.into_iter().map(|key| key.path).collect();
        let told = if paths.is_empty() { "none of its own".to_owned() } else { paths.join(", ") };
        checked.details.push(format!("settings  {told}"));
    }
    let service = Service::default_for("service", &Catalogue::builtin());
    let own = serde_json::json!({});
    if let Some(mut policy) = scaling {
        let document = service.scaling_document(&own, &profile.settings);
        match policy.bind(&document) {
            Ok(program) => {
                about_program(&program, checked);
                for input in &program.inputs {
                    if let Some((what, nearest)) = not_given(input) {
                        let finding = Finding::error(&what).near(nearest);
                        let is_needed = input.required;
                        checked.findings.push(if is_needed {
                            finding
                        } else {
                            finding.into_warning()
                        });
                    }
                }
                warn(&program.warnings, &Place::whole(), checked);
            }
            Err(error) => unbound(&error, &Place::whole(), true, checked),
        }
    }
    if let Some(mut policy) = placement {
        let document = service.placement_document(&service.pod, &own, &profile.settings);
        match policy.bind(&document) {
            Ok(program) => warn(&program.warnings, &Place::whole(), checked),
            Err(error) => unbound(&error, &Place::whole(), true, checked),
        }
        placed(policy, &Place::whole(), checked);
    }
}

/// A policies file: every policy is loaded and bound to its settings, and every input must come from somewhere.
pub(super) fn policies(
    definition: &PoliciesDefinition,
    text: &str,
    profile: &Profile,
    context: &Context<'_>,
    checked: &mut Checked,
) {
    let outline = Outline::of(text, &checked.file).ok();
    let place = |path: &str| Place { outline: outline.as_ref(), path: path.to_owned() };
    let Some(sandbox) = sandbox(definition.limits.all.clone(), context, checked) else { return };
    let service = Service::default_for("service", &Catalogue::builtin());
    // What each stage gives; nothing is known of the outputs of one that did not bind.
    let mut given: Vec<Option<(String, Vec<String>)>> = Vec::new();
    for (position, stage) in definition.scaling.iter().enumerate() {
        let here = place(&format!("scaling.{position}.policy"));
        let settings = place(&format!("scaling.{position}"));
        if let Some(name) = &stage.fallback {
            let here = place(&format!("scaling.{position}.fallback"));
            if let Some(package) =
                loaded(&sandbox, &PolicyRef::Builtin(name.clone()), &here, checked)
                && package.scaling().is_none()
            {
                here.error(&format!("builtin:{name} does not scale"), None, checked);
            }
        }
        let mut outputs = None;
        let own = within(&sandbox, definition.limits.of(&stage.name), &here, checked);
        if let Some(package) = own.and_then(|own| loaded(&own, &stage.policy, &here, checked)) {
            match package.scaling() {
                None => here.error("this policy does not scale", None, checked),
                Some(mut policy) => {
                    let bound = bind_all(&stage.settings, |own| {
                        policy.bind(&service.scaling_document(own, &profile.settings))
                    });
                    match bound {
                        Err(error) => unbound(&error, &settings, false, checked),
                        Ok(program) => {
                            warn(&program.warnings, &settings, checked);
                            connect(&stage.name, &program, &given, &here, checked);
                            outputs = Some((stage.name.clone(), program.outputs));
                        }
                    }
                }
            }
        }
        given.push(outputs);
    }
    let here = place("placement.policy");
    let settings = place("placement");
    let own = within(&sandbox, definition.limits.of(crate::engine::PLACEMENT), &here, checked);
    if let Some(package) = own.and_then(|own| loaded(&own, &definition.placement, &here, checked)) {
        match package.placement() {
            None => here.error("this policy does not place", None, checked),
            Some(mut policy) => {
                let bound = bind_all(&definition.placement_settings, |own| {
                    policy.bind(&service.placement_document(&service.pod, own, &profile.settings))
                });
                match bound {
                    Ok(program) => warn(&program.warnings, &settings, checked),
                    Err(error) => unbound(&error, &settings, false, checked),
                }
                placed(policy, &here, checked);
            }
        }
    }
}

/// A settings document: the components beside it must take it, or else the built-in scaling policies.
pub(super) fn settings(
    text: &str,
    components: &[&Source],
    profile: &Profile,
    context: &Context<'_>,
    checked: &mut Checked,
) {
    let Some(outline) = checked.take(
        Outline::of(text, &checked.file)
            .and_then(Outline::or_faults)
            .map(|read| (read, Vec::new())),
    ) else {
        return;
    };
    let Some(sandbox) = sandbox(Limits::default(), context, checked) else { return };
    let mut document = outline.json();
    if document.get("profile").is_none() {
        document["profile"] = serde_json::json!(profile.settings);
    }
    if document.get("settings").is_none() {
        document["settings"] = serde_json::json!({});
    }
    let document = document.to_string();
    let here = Place { outline: Some(&outline), path: String::new() };
    let mut packages = Vec::new();
    for source in components {
        // What is wrong with the component is told of that file.
        if let Ok(package) = sandbox.load(&source.bytes) {
            packages.push((source.name.clone(), package));
        }
    }
    if components.is_empty() {
        for name in builtin::names() {
            let reference = PolicyRef::Builtin(name.to_owned());
            if let Some(package) = loaded(&sandbox, &reference, &here, checked)
                && package.scaling().is_some()
            {
                packages.push((format!("builtin:{name}"), package));
            }
        }
    }
    let mut names = Vec::new();
    for (name, package) in &packages {
        let before = checked.findings.len();
        if let Some(mut policy) = package.scaling() {
            match policy.bind(&document) {
                Ok(program) => warn(&program.warnings, &here, checked),
                Err(error) => unbound(&error, &here, false, checked),
            }
        } else if let Some(mut policy) = package.placement() {
            match policy.bind(&document) {
                Ok(program) => warn(&program.warnings, &here, checked),
                Err(error) => unbound(&error, &here, false, checked),
            }
        }
        // Two policies that read the same profile say the same of it.
        let (earlier, new) = checked.findings.split_at(before);
        let new: Vec<Finding> =
            new.iter().filter(|finding| !earlier.contains(finding)).cloned().collect();
        checked.findings.truncate(before);
        checked.findings.extend(new);
        names.push(name.as_str());
    }
    checked.about = format!("a settings document, for {}", names.join(" and "));
}

fn sandbox(limits: Limits, context: &Context<'_>, checked: &mut Checked) -> Option<Sandbox> {
    match (context.sandbox)(limits) {
        Ok(sandbox) => Some(sandbox),
        Err(error) => {
            checked.error(&format!("limits: {error}"));
            None
        }
    }
}

fn within(
    sandbox: &Sandbox,
    limits: &Limits,
    here: &Place<'_>,
    checked: &mut Checked,
) -> Option<Sandbox> {
    sandbox
        .within(limits)
        .map_err(|error| here.error(&format!("limits: {error}"), None, checked))
        .ok()
}

/// Binds settings so that every unknown key in them is told: a policy may tell no more than the first, so it is asked again without.
fn bind_all<P>(
    settings: &serde_json::Value,
    mut bind: impl FnMut(&serde_json::Value) -> Result<P, BindError>,
) -> Result<P, BindError> {
    let mut settings = settings.clone();
    let mut told = Vec::new();
    loop {
        let faults = match bind(&settings) {
            Err(BindError::Faults(faults)) => faults,
            Ok(program) if told.is_empty() => return Ok(program),
            Ok(_) => return Err(BindError::Faults(told)),
            Err(error @ BindError::Call(_)) => return Err(error),
        };
        let unknown: Vec<Fault> =
            faults.iter().filter(|fault| keys::known(&fault.message).is_some()).cloned().collect();
        let is_any = !unknown.is_empty();
        if is_any && unknown.iter().all(|fault| keys::remove(&mut settings, &fault.path)) {
            told.extend(unknown);
        } else {
            told.extend(faults);
            return Err(BindError::Faults(told));
        }
    }
}

fn loaded(
    sandbox: &Sandbox,
    named: &PolicyRef,
    here: &Place<'_>,
    checked: &mut Checked,
) -> Option<Package> {
    let loaded = match named {
        PolicyRef::Builtin(name) => match builtin::builtin(name) {
            Some(component) => sandbox.load_trusted(component),
            None => {
                let nearest = tidegate_settings::nearest(name, builtin::names());
                let message = match nearest {
                    Some(nearest) => {
                        format!("no policy {name} is built in; did you mean builtin:{nearest}?")
                    }
                    None => {
                        let known: Vec<&str> = builtin::names().collect();
                        format!("no policy {name} is built in, there are {}", known.join(", "))
                    }
                };
                here.error(&message, nearest, checked);
                return None;
            }
        },
        PolicyRef::File(path) => match load::read(path, sandbox.limits()) {
            Ok(component) => sandbox.load(&component),
            Err(error) => {
                here.error(&format!("cannot read {}: {error}", path.display()), None, checked);
                return None;
            }
        },
    };
    match loaded {
        Ok(package) => Some(package),
        Err(error) => {
            refuse(&error, here, checked);
            None
        }
    }
}

/// Notes why a component is not loaded.
fn refuse(error: &LoadError, here: &Place<'_>, checked: &mut Checked) {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    if let LoadError::Start { source } = error {
        checked.has_trapped |= is_trap(source.kind);
    }
    let finding = here.finding(&message, "");
    checked.findings.push(Finding { hint: error.hint(), ..finding });
}

/// Notes why settings are not taken. A policy that wants settings is none the worse for it, so of a component alone that is a warning.
fn unbound(error: &BindError, here: &Place<'_>, is_alone: bool, checked: &mut Checked) {
    match error {
        BindError::Faults(faults) if is_alone => {
            for fault in faults {
                let what = format!("it needs settings: {}", fault.message);
                checked.findings.push(Finding::error(&what).into_warning().about(&fault.path));
            }
        }
        BindError::Faults(faults) => {
            for fault in faults {
                checked.findings.push(here.of_settings(fault));
            }
        }
        BindError::Call(error) => {
            checked.has_trapped |= is_trap(error.kind);
            here.error(
                &format!("it cannot say whether it takes the settings: {error}"),
                None,
                checked,
            );
        }
    }
}

/// What a policy says although it takes its settings. What the profile's reader says is not said again.
fn warn(warnings: &[Fault], here: &Place<'_>, checked: &mut Checked) {
    for warning in warnings.iter().filter(|warning| !warning.path.starts_with("profile.")) {
        checked.findings.push(here.finding(&warning.message, &warning.path).into_warning());
    }
}

/// Notes the inputs of a stage that nothing gives.
fn connect(
    stage: &str,
    program: &Program,
    earlier: &[Option<(String, Vec<String>)>],
    here: &Place<'_>,
    checked: &mut Checked,
) {
    for input in &program.inputs {
        let missing = match &input.source {
            From::Output(name) if name == "proposal" => earlier
                .is_empty()
                .then(|| ("the proposal of earlier stages, but is the first".to_owned(), None)),
            // A stage of which nothing is known may give it.
            From::Output(_) if earlier.iter().any(Option::is_none) => None,
            From::Output(name) => {
                let outputs = || earlier.iter().flatten().flat_map(|(_, outputs)| outputs);
                (!outputs().any(|output| output == name)).then(|| {
                    let nearest = tidegate_settings::nearest(name, outputs().map(String::as_str));
                    let what = format!("the output {name}, which no earlier stage gives");
                    (what, nearest)
                })
            }
            From::Window(_) | From::Fact(_) => not_given(input),
        };
        let Some((what, nearest)) = missing else { continue };
        let did_you_mean =
            nearest.map_or(String::new(), |nearest| format!("; the nearest is {nearest}"));
        let finding = if input.required {
            here.finding(&format!("{stage} needs {what}{did_you_mean}"), "")
        } else {
            here.finding(&format!("{stage} would use {what}{did_you_mean}"), "").into_warning()
        };
        // An optional output that is not there is nothing to worry about: most chains lack most.
        let is_usual = !input.required && matches!(input.source, From::Output(_));
        if !is_usual || nearest.is_some() {
            checked.findings.push(finding.near(nearest));
        }
    }
}

/// What an input wants that no installation gives, and the known name that is nearest.
fn not_given(input: &Input) -> Option<(String, Option<&'static str>)> {
    match &input.source {
        From::Window(window) => {
            let signals = Signal::ALL.map(Signal::name);
            if Signal::named(&window.signal).is_none() {
                let nearest = tidegate_settings::nearest(&window.signal, signals);
                return Some((
                    format!("the signal {}, which is not known", window.signal),
                    nearest,
                ));
            }
            if Averaging::named(&window.averaging).is_none() {
                return Some((
                    format!("the averaging {}, which is not known", window.averaging),
                    None,
                ));
            }
            let most = crate::engine::windows::LONGEST_SPAN_S;
            (window.span_s == 0 || window.span_s > most).then(|| {
                (format!("a window of {} s, but one has 1 to {most} s", window.span_s), None)
            })
        }
        From::Fact(name) => {
            let is_known = crate::engine::fact_names().any(|fact| fact == name);
            let nearest = tidegate_settings::nearest(name, crate::engine::fact_names());
            (!is_known).then(|| (format!("the fact {name}, which is not known"), nearest))
        }
        From::Output(_) => None,
    }
}

/// Whether the columns of a placement policy can be given.
fn placed(policy: crate::policy::ComponentPlacement, here: &Place<'_>, checked: &mut Checked) {
    let options = Options {
        tick_ms: 2_000,
        explains: false,
        gateway_is_always_in_path: true,
        ..Options::default()
    };
    if let Err(error) = Engine::new(options, Vec::new(), Box::new(policy), None) {
        checked.has_trapped |= is_trap(error.kind);
        here.error(&error.to_string(), None, checked);
    }
}

/// What a program asks for and gives, a line each.
fn about_program(program: &Program, checked: &mut Checked) {
    let asked = |input: &Input| {
        let what = match &input.source {
            From::Window(window) => {
                format!("{} over {} s ({})", window.signal, window.span_s, window.averaging)
            }
            From::Fact(name) => name.clone(),
            From::Output(name) => format!("{name} of an earlier stage"),
        };
        if input.required { what } else { format!("{what}, if there is any") }
    };
    let asks: Vec<String> = program.inputs.iter().map(asked).collect();
    let gives = if program.outputs.is_empty() {
        "nothing beside the number of replicas".to_owned()
    } else {
        program.outputs.join(", ")
    };
    for (nth, input) in asks.iter().enumerate() {
        let head = if nth == 0 { "asks for" } else { "" };
        checked.details.push(format!("{head:<9} {input}"));
    }
    checked.details.push(format!("gives     {gives}"));
    checked.details.push(format!("settings  {} compiled", counted(program.params.len(), "byte")));
}
