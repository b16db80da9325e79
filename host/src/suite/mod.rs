//! Suites: cases that a policy must pass, run in threads, held to expectations and snapshots, and contract checks on every policy that
//! they name. It prints nothing and chooses no exit code; what files say becomes policies and settings elsewhere.
//!
//! - [`run`] takes cases through and returns a [`Report`].
//! - [`snapshot`] reads and writes insta's files, [`diff`] tells what changed in one and what that costs.

mod asked;
pub mod chain;
pub mod contract;
mod decided;
pub mod diff;
pub mod expectation;
mod observed;
pub(crate) mod outcome;
pub mod pending;
pub mod print;
mod recording;
pub mod snapshot;
mod table;
mod unrest;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::definitions::policies::PolicyRef;
use crate::definitions::profile::Profile;
use crate::definitions::service::Service;
use crate::definitions::suite::{CaseDefinition, SuiteDefinition};
use crate::policy::PlacementPolicy;
use crate::replay::Setting;
use crate::time::Time;
use chain::{Chain, Recordings};
use contract::Checked;
use expectation::Unmet;
use recording::{Heard, Recording};
use snapshot::{Snapshot, SnapshotError};

/// What is to be done about snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// What differs is written beside the accepted one, for review.
    Pending,
    /// What differs becomes the accepted one.
    Accept,
    /// Nothing is written.
    Check,
}

/// What a case is made of, as whoever runs it makes it from the case's definition.
pub struct Made {
    /// Its chain; for a case that asks one policy, a chain of that one.
    pub chain: Chain,
    /// What is around the chain.
    pub around: MadeAround,
}

/// What is around the chain of a case.
pub enum MadeAround {
    /// A replay.
    Replay(Box<Setting>),
    /// Decisions without a simulator.
    Decisions {
        /// When it begins.
        start: Time,
        /// Services that are defined.
        services: Vec<Service>,
        /// The cluster's settings.
        profile: Box<Profile>,
        /// What people should know of the files that were read.
        warnings: Vec<String>,
    },
}

/// Why a case could not be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Whose fault it is.
    pub by: Fault,
    /// What is wrong, a line a cause, the outermost first.
    pub told: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Whose fault something is; the exit code goes by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Of files that people wrote.
    Input,
    /// Of a policy.
    Policy,
    /// Of the file system.
    Environment,
}

/// A whole run.
#[derive(Debug)]
pub struct Report {
    /// Suites in order, each with its cases.
    pub suites: Vec<SuiteReport>,
    /// How long it took. Seconds.
    pub took_s: f64,
}

/// What a suite came to.
#[derive(Debug)]
pub struct SuiteReport {
    /// The suite's file.
    pub file: PathBuf,
    /// Its cases, in order; those that were not chosen are not among them.
    pub cases: Vec<CaseReport>,
    /// Cases that were not chosen.
    pub skipped: usize,
    /// The policies that its cases name.
    pub policies: Vec<Checked>,
    /// Snapshots that no case of it has, pending ones among them.
    pub orphans: Vec<PathBuf>,
    /// What is wrong with it beside its cases.
    pub broken: Option<Broken>,
}

/// What a case came to.
#[derive(Debug)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// Where it begins in the suite's file.
    pub line: u64,
    /// `replay`, `observations` or `inputs`.
    pub kind: &'static str,
    /// A few numbers in a line.
    pub headline: String,
    /// Its numbers by name.
    pub numbers: BTreeMap<String, f64>,
    /// Expectations that do not hold, and rows that were decided otherwise than wanted.
    pub unmet: Vec<Unmet>,
    /// What became of its snapshot.
    pub snapshot: SnapshotState,
    /// Policies that gave no answer, a line each.
    pub failures: Vec<String>,
    /// What people should know.
    pub warnings: Vec<String>,
    /// Why it could not be run.
    pub broken: Option<Broken>,
    /// How long it took. Seconds.
    pub took_s: f64,
}

/// What became of a snapshot.
#[derive(Debug)]
pub enum SnapshotState {
    /// The case has none.
    None,
    /// It is as it was.
    Same,
    /// There was none.
    New {
        /// What the case came to.
        now: Snapshot,
        /// Where that is.
        file: PathBuf,
    },
    /// It differs.
    Changed {
        /// The accepted one.
        before: Snapshot,
        /// What the case came to.
        now: Snapshot,
        /// Where the accepted one is.
        file: PathBuf,
    },
    /// It was written as the accepted one.
    Accepted {
        /// The one before, if there was one.
        before: Option<Snapshot>,
        /// What was accepted.
        now: Snapshot,
        /// Where.
        file: PathBuf,
    },
}

impl CaseReport {
    /// Whether nothing is wrong with it.
    pub fn passed(&self) -> bool {
        self.broken.is_none()
            && self.unmet.is_empty()
            && self.failures.is_empty()
            && matches!(
                self.snapshot,
                SnapshotState::None | SnapshotState::Same | SnapshotState::Accepted { .. }
            )
    }
}

/// What came of a case before it is held to a snapshot.
struct Came {
    headline: String,
    numbers: BTreeMap<String, f64>,
    unmet: Vec<Unmet>,
    text: String,
    description: String,
    simulator: Option<u32>,
    failures: Vec<String>,
    warnings: Vec<String>,
}

/// How cases are run.
pub struct Options<'a> {
    /// What is to be done about snapshots.
    pub update: Update,
    /// Cases that are run at the same time. At least 1.
    pub jobs: usize,
    /// Which cases are run, by their names.
    pub is_chosen: &'a (dyn Fn(&SuiteDefinition, &CaseDefinition) -> bool + Sync),
    /// Makes a case from its definition: reads files, loads policies.
    pub make: &'a (dyn Fn(&CaseDefinition) -> Result<Made, Broken> + Sync),
    /// Hears of every case that is done, and how many those are.
    pub progress: &'a (dyn Fn(&str, usize) + Sync),
}

/// Runs the cases of `suites` that are chosen, in threads, and checks the policies that they name.
pub fn run(suites: &[SuiteDefinition], options: &Options<'_>) -> Report {
    let began = now();
    let chosen: Vec<(usize, &CaseDefinition)> = suites
        .iter()
        .enumerate()
        .flat_map(|(at, suite)| suite.cases.iter().map(move |case| (at, case)))
        .filter(|(at, case)| (options.is_chosen)(&suites[*at], case))
        .collect();
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Ran>>> = chosen.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, chosen.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((suite, case)) = chosen.get(at) else { return };
                    let ran = one(&suites[*suite], case, options);
                    *results[at].lock().expect("nobody else has this one") = Some(ran);
                    (options.progress)(&case.name, done.fetch_add(1, Ordering::Relaxed) + 1);
                }
            });
        }
    });
    let mut ran: Vec<Vec<Ran>> = suites.iter().map(|_| Vec::new()).collect();
    for ((suite, _), result) in chosen.iter().zip(results) {
        let result = result.into_inner().expect("nobody panicked over it");
        ran[*suite].push(result.expect("every case was run"));
    }
    let suites = suites.iter().zip(ran).map(|(suite, ran)| finished(suite, ran)).collect();
    Report { suites, took_s: began.elapsed().as_secs_f64() }
}

struct Ran {
    report: CaseReport,
    /// What its policies were asked, with the chain that they are of.
    heard: Option<(Chain, Recordings)>,
}

/// Runs a case.
fn one(suite: &SuiteDefinition, case: &CaseDefinition, options: &Options<'_>) -> Ran {
    let began = now();
    let mut report = CaseReport {
        name: case.name.clone(),
        line: case.line,
        kind: outcome::kind(case),
        headline: String::new(),
        numbers: BTreeMap::new(),
        unmet: Vec::new(),
        snapshot: SnapshotState::None,
        failures: Vec::new(),
        warnings: Vec::new(),
        broken: None,
        took_s: 0.0,
    };
    let mut heard = None;
    match (options.make)(case).and_then(|made| {
        let recordings: Recordings = match suite.contract.is_off {
            true => Recordings::new(),
            false => made
                .chain
                .scaling()
                .into_iter()
                .chain([&made.chain.definition().placement])
                .map(|policy| {
                    let limits = made.chain.limits(policy).clone();
                    (policy.clone(), Arc::new(Recording::new(limits)))
                })
                .collect(),
        };
        let chain = made.chain.clone();
        let came = outcome::of(suite, case, made, &recordings)?;
        heard = Some((chain, recordings));
        Ok(came)
    }) {
        Err(broken) => report.broken = Some(broken),
        Ok(came) => {
            report.headline = came.headline.clone();
            report.numbers = came.numbers.clone();
            report.unmet = came.unmet.clone();
            report.failures = came.failures.clone();
            report.warnings = came.warnings.clone();
            match hold(suite, case, came, options.update) {
                Ok(state) => report.snapshot = state,
                Err(error) => report.broken = Some(Broken::of(Fault::Environment, &error)),
            }
        }
    }
    report.took_s = began.elapsed().as_secs_f64();
    Ran { report, heard }
}

/// Holds what came of a case to its snapshot.
fn hold(
    suite: &SuiteDefinition,
    case: &CaseDefinition,
    came: Came,
    update: Update,
) -> Result<SnapshotState, SnapshotError> {
    if !case.has_snapshot {
        return Ok(SnapshotState::None);
    }
    let file = snapshot::path_of(&suite.file, &case.slug);
    let pending = snapshot::pending_of(&file);
    let source = suite.file.file_name().map(|name| name.to_string_lossy().into_owned());
    let now = Snapshot {
        head: snapshot::Head {
            source: source.unwrap_or_default(),
            description: came.description,
            expression: case.name.clone(),
            info: snapshot::Info {
                kind: outcome::kind(case).to_owned(),
                simulator: came.simulator,
                numbers: came.numbers.into_iter().map(rounded).collect(),
            },
        },
        text: came.text.trim_end().to_owned(),
    };
    let before = Snapshot::read(&file)?;
    if before.as_ref().is_some_and(|before| before.text == now.text) {
        // What waited for a decision is of the past.
        if update != Update::Check {
            pending::remove(&pending)?;
        }
        return Ok(SnapshotState::Same);
    }
    match update {
        Update::Check => {}
        Update::Pending => now.write(&pending)?,
        Update::Accept => {
            now.write(&file)?;
            pending::remove(&pending)?;
            return Ok(SnapshotState::Accepted { before, now, file });
        }
    }
    Ok(match before {
        None => SnapshotState::New { now, file },
        Some(before) => SnapshotState::Changed { before, now, file },
    })
}

/// A number as it stands in a snapshot's head: with no more digits than people compare.
fn rounded((name, value): (String, f64)) -> (String, f64) {
    (name, (value * 1e4).round() / 1e4)
}

/// Checks the policies that the cases of a suite asked, and looks for snapshots that no case has.
fn finished(suite: &SuiteDefinition, ran: Vec<Ran>) -> SuiteReport {
    let mut policies: BTreeMap<PolicyRef, (Chain, Heard)> = BTreeMap::new();
    let mut cases = Vec::with_capacity(ran.len());
    for Ran { report, heard } in ran {
        cases.push(report);
        let Some((chain, recordings)) = heard else { continue };
        for (policy, recording) in recordings {
            let heard = recording.heard();
            match policies.get_mut(&policy) {
                Some((_, known)) => known.take_in(&heard),
                None => drop(policies.insert(policy, (chain.clone(), heard.clone()))),
            }
        }
    }
    let skipped = suite.cases.len() - cases.len();
    let mut broken = None;
    let scales = |policy: &PolicyRef, chain: &Chain| chain.scaling().contains(&policy);
    let named = policies.iter().filter(|(policy, (chain, _))| scales(policy, chain));
    let named: Vec<String> = named.map(|(policy, _)| policy.name()).collect();
    let unknown = suite.contract.monotone.keys().find(|name| !named.contains(name));
    if let Some(unknown) = unknown.filter(|_| skipped == 0 && !suite.contract.is_off) {
        let nearest = tidegate_settings::nearest(unknown, named.iter().map(String::as_str));
        let expected = nearest.map_or_else(|| named.join(", "), str::to_owned);
        let file = suite.file.display();
        broken = Some(Broken {
            by: Fault::Input,
            told: vec![format!(
                "{file}: contract.monotone.{unknown} is no policy of a case, expected {expected}"
            )],
            hint: None,
        });
    }
    let mut checked = Vec::new();
    for (policy, (chain, heard)) in &policies {
        let (name, package) = (policy.name(), chain.package(policy));
        if scales(policy, chain) {
            let monotone = suite.contract.monotone.get(&name).map_or(&[][..], Vec::as_slice);
            let limits = chain.limits(policy);
            checked.push(contract::check(&name, package, limits, heard, monotone));
        }
        if heard.places.decisions > 0 {
            let name = if scales(policy, chain) { format!("{name} (placement)") } else { name };
            let fresh = || -> Box<dyn PlacementPolicy> {
                Box::new(package.placement().expect("it was asked, so it places"))
            };
            checked.push(contract::check_places(&name, &fresh, &heard.places));
        }
    }
    let orphans = match snapshot::files_of(&suite.file) {
        Ok(files) => files.into_iter().filter(|file| is_orphan(suite, file)).collect(),
        Err(error) => {
            broken.get_or_insert(Broken::of(Fault::Environment, &error));
            Vec::new()
        }
    };
    SuiteReport { file: suite.file.clone(), cases, skipped, policies: checked, orphans, broken }
}

fn is_orphan(suite: &SuiteDefinition, file: &std::path::Path) -> bool {
    !suite.cases.iter().filter(|case| case.has_snapshot).any(|case| {
        let accepted = snapshot::path_of(&suite.file, &case.slug);
        file == accepted || file == snapshot::pending_of(&accepted)
    })
}

impl Broken {
    /// From an error and its sources.
    pub fn of(by: Fault, error: &(dyn std::error::Error + 'static)) -> Broken {
        let mut told = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next {
            told.push(error.to_string());
            next = error.source();
        }
        Broken { by, told, hint: None }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a case took is told, and decides nothing")]
fn now() -> Instant {
    Instant::now()
}
