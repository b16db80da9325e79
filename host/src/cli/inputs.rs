//! What a replay is made of, from the files that arguments name: every command that replays reads them here, and says alike what is
//! wrong with them.

use std::path::Path;

use super::args::{Inputs, World};
use super::failure::{Exit, Failure};
use super::policies;
use crate::backend::sim::Faults;
use crate::definitions::model::Catalogue;
use crate::definitions::node::Fleet;
use crate::definitions::policies::PoliciesDefinition;
use crate::definitions::profile::Profile;
use crate::definitions::service;
use crate::definitions::suite::Inline;
use crate::definitions::{Warning, failures};
use crate::replay::{Load, Policies, ReplayError, Setting};
use crate::seed::Seed;
use crate::time::Time;
use crate::trace::Merged;

/// Longest `--until`. A century of virtual time is a slip of the finger.
const LONGEST_UNTIL_S: f64 = 100.0 * 365.0 * 86_400.0;

/// Opens the load and reads everything else but the policies.
pub(super) fn read(args: &Inputs) -> Result<Setting, Failure> {
    let seed = Seed::new(&args.world.seed);
    let mut traces: Vec<String> =
        args.traces.iter().map(|path| path.display().to_string()).collect();
    // Their order means nothing, so it does not show.
    traces.sort();
    let load = Merged::open(&args.traces, &seed).map_err(|error| {
        Failure::new(Exit::Input, format!("cannot replay {}", traces.join(", ")), &error)
    })?;
    world(&args.world, &Own::default(), (&load).into(), traces)
}

/// Documents that stand where files could be named.
#[derive(Default)]
pub(super) struct Own<'a> {
    pub(super) services: Option<&'a Inline>,
    pub(super) nodes: Option<&'a Inline>,
    pub(super) profile: Option<&'a Inline>,
}

/// The same around a load that is already there; `traces` says how that is named.
pub(super) fn world(
    args: &World,
    own: &Own<'_>,
    load: Load,
    traces: Vec<String>,
) -> Result<Setting, Failure> {
    let input = |what: String| {
        move |error: &(dyn std::error::Error + 'static)| Failure::new(Exit::Input, what, error)
    };
    let mut warnings = Vec::new();
    let catalogue = match &args.models {
        None => Catalogue::builtin(),
        Some(path) => told(
            Catalogue::read(path).map_err(|error| input(cannot_read("models", path))(&error))?,
            &mut warnings,
        ),
    };
    let services = match (own.services, &args.services) {
        (None, None) => Vec::new(),
        (Some(own), _) => {
            let read = service::parse(&own.text, &own.file, &catalogue)
                .map_err(|error| input(cannot_use("services", own))(&error))?;
            warnings.extend(read.warnings.iter().map(ToString::to_string));
            read.services
        }
        (None, Some(path)) => {
            let read = service::read(path, &catalogue)
                .map_err(|error| input(cannot_read("services", path))(&error))?;
            warnings.extend(read.warnings.iter().map(ToString::to_string));
            read.services
        }
    };
    let fleet = match (own.nodes, &args.nodes) {
        (None, None) => Fleet::builtin(),
        (Some(own), _) => told(
            Fleet::parse(&own.text, &own.file)
                .map_err(|error| input(cannot_use("nodes", own))(&error))?,
            &mut warnings,
        ),
        (None, Some(path)) => told(
            Fleet::read(path).map_err(|error| input(cannot_read("nodes", path))(&error))?,
            &mut warnings,
        ),
    };
    let profile = match own.profile {
        None => Profile::find(&args.profile)
            .map_err(|error| input(format!("cannot use the profile {}", args.profile))(&error)),
        Some(own) => Profile::parse(&own.text, &own.file)
            .map_err(|error| input(cannot_use("profile", own))(&error)),
    };
    let profile = told(profile?, &mut warnings);
    let faults = match &args.faults {
        None => Faults::default(),
        Some(path) => {
            failures::read(path).map_err(|error| input(cannot_read("faults", path))(&error))?
        }
    };
    Ok(Setting {
        load,
        traces,
        services,
        catalogue,
        fleet,
        profile,
        faults,
        seed: args.seed.clone(),
        start: start(args.start.as_deref())?,
        until_ms: until(args.until.as_deref())?,
        explains: true,
        makes_room: args.make_room,
        warnings,
    })
}

/// The chain of policies, loaded: what the file says, or the built-in one.
pub(super) fn policies(args: &World) -> Result<Policies, Failure> {
    policies::load(&chain(args)?)
}

/// The chain of policies, not loaded yet.
pub(super) fn chain(args: &World) -> Result<PoliciesDefinition, Failure> {
    match &args.policies {
        Some(path) => PoliciesDefinition::read(path)
            .map_err(|error| Failure::new(Exit::Input, cannot_read("policies", path), &error)),
        None => Ok(PoliciesDefinition::builtin()),
    }
}

/// Why a replay of `named` cannot be, or cannot go on.
pub(super) fn cannot_replay(named: &str, world: &World, error: &ReplayError) -> Failure {
    let exit = match error {
        ReplayError::Placement(_) => Exit::Policy,
        ReplayError::Bind(error) => policies::exit_of(error),
        ReplayError::LoadTwice { .. }
        | ReplayError::Limits(_)
        | ReplayError::Faults(_)
        | ReplayError::Load(_) => Exit::Input,
    };
    let faults = match error {
        ReplayError::Bind(error) => policies::faults_of(error, world.policies.as_deref()),
        ReplayError::Placement(_)
        | ReplayError::LoadTwice { .. }
        | ReplayError::Limits(_)
        | ReplayError::Faults(_)
        | ReplayError::Load(_) => Vec::new(),
    };
    Failure::new(exit, format!("cannot replay {named}"), error).causes(faults)
}

/// What was read; what its author should know of it goes to `warnings`.
fn told<T>((read, noted): (T, Vec<Warning>), warnings: &mut Vec<String>) -> T {
    warnings.extend(noted.iter().map(ToString::to_string));
    read
}

fn cannot_use(what: &str, own: &Inline) -> String {
    format!("cannot use the {what} in {}", own.file)
}

fn cannot_read(what: &str, path: &Path) -> String {
    format!("cannot read the {what} in {}", path.display())
}

/// When the trace begins.
pub(super) fn start(text: Option<&str>) -> Result<Time, Failure> {
    let Some(text) = text else { return Ok(Time::TRACE_START) };
    Time::of_calendar(text).ok_or_else(|| {
        Failure::plain(
            Exit::Input,
            format!("--start is {text}, expected a time of day and year, 1970 or later"),
        )
        .hint("as 2024-01-01T00:00Z, or 2024-01-01 for its first moment in UTC")
    })
}

/// A duration as Kubernetes writes it. Milliseconds.
fn until(text: Option<&str>) -> Result<Option<u64>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let seconds = tidegate_settings::parse_duration(text)
        .map(|nanos| nanos as f64 / tidegate_settings::NANOS_PER_SECOND as f64)
        .filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST_UNTIL_S);
    seconds.map(|seconds| Some((seconds * 1e3) as u64)).ok_or_else(|| {
        Failure::plain(Exit::Input, format!("--until is {text}, expected a duration above 0"))
            .hint("as 90m, 24h or 1h30m")
    })
}
