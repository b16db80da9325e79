//! Takes one case through and says what it came to: numbers by name, a text for its snapshot, and what does not hold.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;

use super::chain::{Chain, Recordings};
use super::decided::Decided;
use super::expectation::{Expectation, Name, Unmet};
use super::observed::{Observations, ObserveError, Observed};
use super::recording::Watched;
use super::table::{Rows, TableError};
use super::{Broken, Came, Fault, Made, MadeAround, asked, unrest};
use crate::backend::sim;
use crate::definitions::policies::PolicyRef;
use crate::definitions::profile::Profile;
use crate::definitions::service::Service;
use crate::definitions::suite::{Asked, CaseDefinition, CaseKind, SuiteDefinition, Table};
use crate::engine::BindTargetError;
use crate::ledger::{FailureNote, Outcome, Summary, UNPLACED};
use crate::metrics::{METRICS, Metric};
use crate::policy::{BindError, CallErrorKind};
use crate::replay::{Replay, ReplayError};
use crate::report;
use crate::report::numbers::{clock, counted, dollars, grouped, measure, plain};
use crate::report::{Columns, Style};
use crate::time::Time;

/// Lines of a timeline in a snapshot, which is to fit a screen.
const LINES: usize = 24;

/// What a case is, in a word.
pub(super) fn kind(case: &CaseDefinition) -> &'static str {
    match case.kind {
        CaseKind::Replay(_) => "replay",
        CaseKind::Observed(_) => "observations",
        CaseKind::Asked(_) => "inputs",
    }
}

pub(super) fn of(
    suite: &SuiteDefinition,
    case: &CaseDefinition,
    made: Made,
    recordings: &Recordings,
) -> Result<Came, Broken> {
    let Made { chain, around } = made;
    match (around, &case.kind) {
        (MadeAround::Replay(setting), _) => {
            let description = setting.traces.join(", ");
            let replay = Replay::new(*setting, chain.policies(recordings)).map_err(not_replayed)?;
            let mut warnings = replay.warnings().to_vec();
            let outcome = replay.run(None, &mut |_| {}).map_err(not_replayed)?;
            warnings.extend(outcome.warnings.iter().cloned());
            warnings.dedup();
            of_replay(case, &outcome, description, warnings)
        }
        (MadeAround::Decisions { start, profile, warnings, .. }, CaseKind::Asked(asked)) => {
            of_asked(suite, case, asked, &chain, recordings, start, &profile, warnings)
        }
        (
            MadeAround::Decisions { start, services, profile, warnings },
            CaseKind::Observed(observed),
        ) => {
            let decided = observe(
                suite,
                &observed.observations,
                &chain,
                recordings,
                start,
                &services,
                &profile,
            )?;
            of_observed(case, &observed.observations, decided, warnings)
        }
        (MadeAround::Decisions { .. }, CaseKind::Replay(_)) => {
            unreachable!("whoever makes a case makes it of its own kind")
        }
    }
}

fn of_replay(
    case: &CaseDefinition,
    outcome: &Outcome,
    description: String,
    warnings: Vec<String>,
) -> Result<Came, Broken> {
    let sums = &outcome.summary;
    let numbers = METRICS.iter().map(|metric| (metric.name.to_owned(), metric.of(&sums.whole)));
    let named = |name: &Name| number_of(outcome, name);
    let services: Vec<&str> = sums.services.keys().map(String::as_str).collect();
    let whole = &sums.whole;
    let requests = &whole.requests;
    let lost = match requests.expired + requests.failed {
        0 => String::new(),
        lost => format!("  {} lost", grouped(lost)),
    };
    Ok(Came {
        headline: format!(
            "{} {} GPU-min  {}  wait p99 {} s{lost}",
            clock(outcome.setup.duration_s),
            grouped(whole.gpu_minutes),
            dollars(whole.cost),
            measure(whole.wait_s.p99),
        ),
        numbers: numbers.collect(),
        unmet: unmet(&case.expect, &services, &named)?,
        text: report::brief(outcome, LINES),
        description,
        simulator: Some(sim::MODEL_VERSION),
        failures: failures(&outcome.failures),
        warnings,
    })
}

/// A number of a replay by name.
pub(crate) fn number_of(outcome: &Outcome, name: &Name) -> f64 {
    match &name.service {
        None => of_whole(outcome, name.name),
        Some(service) => of_service(outcome, service, name.name),
    }
}

fn of_whole(outcome: &Outcome, name: &str) -> f64 {
    let times = |is_unplaced: bool| {
        let notes = outcome.failures.iter().filter(|one| (one.instead == UNPLACED) == is_unplaced);
        notes.map(|note| note.times).sum::<u64>() as f64
    };
    match name {
        "asleep_s" => outcome.services.iter().map(unrest::asleep_s).fold(0.0, f64::max),
        "changes" => {
            outcome.services.iter().map(|service| service.changes.len()).sum::<usize>() as f64
        }
        "late_changes" => outcome.services.iter().map(unrest::late_changes).sum(),
        "failures" => times(false),
        "unplaced" => times(true),
        "duration_s" => outcome.setup.duration_s,
        name => of_summary(&outcome.summary.whole, name),
    }
}

fn of_service(outcome: &Outcome, service: &str, name: &str) -> f64 {
    let times = |is_unplaced: bool| {
        let notes = outcome.failures.iter().filter(|one| {
            (one.instead == UNPLACED) == is_unplaced
                && one.services.iter().any(|name| name == service)
        });
        notes.map(|note| note.times).sum::<u64>() as f64
    };
    let its = || outcome.services.iter().find(|one| one.name == service);
    match name {
        "asleep_s" => its().map_or(f64::NAN, unrest::asleep_s),
        "changes" => its().map_or(f64::NAN, |one| one.changes.len() as f64),
        "late_changes" => its().map_or(f64::NAN, unrest::late_changes),
        "failures" => times(false),
        "unplaced" => times(true),
        "duration_s" => outcome.setup.duration_s,
        name => {
            let summary = outcome.summary.services.get(service);
            summary.map_or(f64::NAN, |summary| of_summary(summary, name))
        }
    }
}

fn of_summary(summary: &Summary, name: &str) -> f64 {
    Metric::named(name).map_or(f64::NAN, |metric| metric.of(summary))
}

/// Policies that gave no answer, a line each. Replicas that found no node are no failure of a policy.
fn failures(notes: &[FailureNote]) -> Vec<String> {
    let failed = notes.iter().filter(|note| note.instead != UNPLACED);
    failed
        .map(|note| {
            format!(
                "{} at {} for {}: {}; instead: {} ({})",
                plain(&note.stage),
                clock(note.at_s),
                note.services.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", "),
                plain(&note.message),
                note.instead,
                counted(note.times, "time")
            )
        })
        .collect()
}

/// The expectations that do not hold.
fn unmet(
    expect: &[Expectation],
    services: &[&str],
    read: &dyn Fn(&Name) -> f64,
) -> Result<Vec<Unmet>, Broken> {
    for expectation in expect {
        if let Some(service) =
            expectation.services().into_iter().find(|name| !services.contains(name))
        {
            let nearest = tidegate_settings::nearest(service, services.iter().copied());
            let expected = match nearest {
                Some(nearest) => nearest.to_owned(),
                None if services.is_empty() => "none: the case has no services".to_owned(),
                None => format!("one of {}", services.join(", ")),
            };
            let text = expectation.text();
            let told =
                format!("expect `{text}`: there is no service {service}, expected {expected}");
            return Err(Broken { by: Fault::Input, told: vec![told], hint: None });
        }
    }
    Ok(expect.iter().filter_map(|expectation| expectation.check(read)).collect())
}

#[expect(clippy::too_many_arguments, reason = "all that a case is made of, once")]
fn of_asked(
    suite: &SuiteDefinition,
    case: &CaseDefinition,
    asked: &Asked,
    chain: &Chain,
    recordings: &Recordings,
    start: Time,
    profile: &Profile,
    mut warnings: Vec<String>,
) -> Result<Came, Broken> {
    let rows = Rows::read(&asked.inputs, &suite.file, start)
        .map_err(|error| Broken::of(fault_of_table(&error), &error))?;
    let document = serde_json::json!({
        "settings": asked.settings,
        "profile": profile.settings,
        "service": {
            "annotations": asked.annotations,
            "containerConcurrency": asked.container_concurrency,
            "progressDeadlineMs": 600_000,
        },
    });
    let policy = chain.package(&asked.policy).scaling().expect("it was loaded to scale");
    let document = document.to_string();
    let decided = match recordings.get(&asked.policy) {
        Some(recording) => {
            asked::ask(&mut Watched::new(policy, recording.clone()), &document, &rows)
        }
        None => asked::ask(&mut { policy }, &document, &rows),
    };
    let decided = decided.map_err(|error| {
        let by = match &error {
            asked::AskError::Table(error) => fault_of_table(error),
            asked::AskError::Bind(BindError::Faults(_)) => Fault::Input,
            asked::AskError::Bind(BindError::Call(_)) | asked::AskError::Init(_) => Fault::Policy,
        };
        let mut broken = Broken::of(by, &error);
        if let asked::AskError::Bind(BindError::Faults(faults)) = &error {
            broken.told.extend(faults.iter().map(crate::check::fault_told));
        }
        broken
    })?;
    warnings.extend(decided.warnings.iter().cloned());
    let named = |name: &Name| number(&decided, name);
    let mut unmet = unmet(&case.expect, &decided.services(), &named)?;
    if !decided.mismatches.is_empty() {
        let text = format!("`wanted` of {}", counted(decided.mismatches.len() as u64, "row"));
        unmet.push(Unmet { text, because: decided.mismatches.clone() });
    }
    let mut failures: Vec<String> = decided
        .failures
        .iter()
        .map(|(kind, message)| match kind {
            CallErrorKind::Refused => format!("it refused: {message}"),
            CallErrorKind::Trapped
            | CallErrorKind::OutOfFuel
            | CallErrorKind::NotAsked
            | CallErrorKind::OutOfTime
            | CallErrorKind::OutOfSpace
            | CallErrorKind::Malformed => message.clone(),
        })
        .collect();
    failures.dedup();
    let numbers = decided.numbers(None);
    Ok(Came {
        headline: format!(
            "{}, {}{}",
            counted(decided.decisions.len() as u64, "decision"),
            counted(numbers["changes"] as u64, "change"),
            range(&numbers),
        ),
        numbers: numbers.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        unmet,
        text: decided.render(start),
        description: format!(
            "{} asked with {}",
            shown(&asked.policy, suite),
            named_table(&asked.inputs)
        ),
        simulator: None,
        failures,
        warnings,
    })
}

fn number(decided: &Decided, name: &Name) -> f64 {
    decided.numbers(name.service.as_deref()).get(name.name).copied().unwrap_or(f64::NAN)
}

fn range(numbers: &BTreeMap<&'static str, f64>) -> String {
    let (least, most) = (numbers["wanted_min"], numbers["wanted_max"]);
    match least.is_nan() {
        true => ", nothing wanted".to_owned(),
        false => format!(", {least} to {most} wanted"),
    }
}

fn named_table(table: &Table) -> String {
    match table {
        Table::Inline { .. } => "a table of its own".to_owned(),
        Table::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    }
}

fn shown(policy: &PolicyRef, suite: &SuiteDefinition) -> String {
    match policy {
        PolicyRef::Builtin(name) => format!("builtin:{name}"),
        PolicyRef::File(path) => {
            let folder = suite.file.parent().unwrap_or(std::path::Path::new(""));
            path.strip_prefix(folder).unwrap_or(path).display().to_string()
        }
    }
}

fn observe(
    suite: &SuiteDefinition,
    table: &Table,
    chain: &Chain,
    recordings: &Recordings,
    start: Time,
    services: &[Service],
    profile: &Profile,
) -> Result<(Observed, Time), Broken> {
    let definition = chain.definition();
    let own: Vec<_> = definition.scaling.iter().map(|stage| stage.settings.clone()).collect();
    let placement = &definition.placement_settings;
    let fault = |error: ObserveError| {
        let by = match &error {
            ObserveError::Table(error) => fault_of_table(error),
            ObserveError::Journal(_) | ObserveError::Limits(_) => Fault::Input,
            ObserveError::Bind(error) => fault_of_bind(error),
            ObserveError::Placement(_) => Fault::Policy,
        };
        let mut broken = Broken::of(by, &error);
        if let ObserveError::Bind(error) = &error {
            broken.told.extend(faults_of_bind(error));
        }
        broken
    };
    let observations = match table {
        Table::File(path) if path.extension().is_some_and(|ending| ending == "jsonl") => {
            let file = File::open(path).map_err(|source| {
                let path = path.display().to_string();
                Broken::of(Fault::Input, &TableError::Read { path, source })
            })?;
            Observations::of_journal(BufReader::new(file), &own, placement)
        }
        Table::File(_) | Table::Inline { .. } => {
            Rows::read(table, &suite.file, start).map_err(ObserveError::from).and_then(|rows| {
                Observations::of_table(&rows, start, services, profile, &own, placement)
            })
        }
    };
    let observations = observations.map_err(fault)?;
    let start = observations.start();
    Ok((observations.decide(chain.policies(recordings)).map_err(fault)?, start))
}

fn of_observed(
    case: &CaseDefinition,
    table: &Table,
    (observed, _): (Observed, Time),
    mut warnings: Vec<String>,
) -> Result<Came, Broken> {
    warnings.extend(observed.warnings.iter().cloned());
    let services: Vec<&str> =
        observed.services.iter().map(|service| service.name.as_str()).collect();
    let named = |name: &Name| observed.number(name.service.as_deref(), name.name);
    let columns = Columns::new(services.iter().copied(), observed.duration_s, Style::PLAIN);
    let mut changes: Vec<(&str, &crate::ledger::ChangeNote)> = observed
        .services
        .iter()
        .flat_map(|service| service.changes.iter().map(|change| (service.name.as_str(), change)))
        .collect();
    changes.sort_by(|(one, a), (other, b)| a.at_s.total_cmp(&b.at_s).then(one.cmp(other)));
    let mut text = columns.head();
    for (service, change) in changes.iter().take(2 * LINES) {
        text += &columns.line(service, change);
    }
    if changes.len() > 2 * LINES {
        text += &format!("and {} more\n", counted((changes.len() - 2 * LINES) as u64, "change"));
    }
    let numbers: BTreeMap<&'static str, f64> = super::expectation::DECISION_NAMES
        .iter()
        .map(|(name, _)| (*name, observed.number(None, name)))
        .collect();
    Ok(Came {
        headline: format!(
            "{} {}{}",
            clock(observed.duration_s),
            counted(changes.len() as u64, "change"),
            range(&numbers),
        ),
        numbers: numbers.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        unmet: unmet(&case.expect, &services, &named)?,
        text,
        description: format!("decided about {}", named_table(table)),
        simulator: None,
        failures: failures(&observed.failures),
        warnings,
    })
}

fn fault_of_table(error: &TableError) -> Fault {
    match error {
        TableError::Read { .. } | TableError::Fault { .. } => Fault::Input,
    }
}

fn fault_of_bind(error: &BindTargetError) -> Fault {
    if error.is_by_policy() { Fault::Policy } else { Fault::Input }
}

fn faults_of_bind(error: &BindTargetError) -> Vec<String> {
    let faults = error.faults().map_or(&[][..], |(_, faults)| faults);
    faults.iter().map(crate::check::fault_told).collect()
}

fn not_replayed(error: ReplayError) -> Broken {
    let by = match &error {
        ReplayError::Placement(_) => Fault::Policy,
        ReplayError::Bind(error) => fault_of_bind(error),
        ReplayError::LoadTwice { .. }
        | ReplayError::Limits(_)
        | ReplayError::Faults(_)
        | ReplayError::Load(_) => Fault::Input,
    };
    let mut broken = Broken::of(by, &error);
    if let ReplayError::Bind(error) = &error {
        broken.told.extend(faults_of_bind(error));
    }
    broken
}
