//! What a live run is like, in the words of the status: put together from the book of services, the machine and the journal.

use std::collections::BTreeMap;

use super::book::Changed;
use super::control::{Control, counted};
use crate::backend::local::machine::{Machine, Place, ReplicaView};
use crate::chain;
use crate::engine::{Engine, NodeId, PLACEMENT, Phase};
use crate::journal::Journal;
use crate::status::{
    Facts, GpuStatus, GpuUse, Health, JournalStatus, NodeStatus, PolicyKind, PolicyStatus,
    ReplicaPhase, RequestTotals, RevisionStatus, ShadowStatus, SwapFault, SwapOutcome, SwapStatus,
    World, short,
};
use crate::swap::{Difference, Entry, Refused, Succession, Swapper, What};

/// All that the status says beside what the engine knows.
pub(super) fn world(
    control: &Control,
    engine: &Engine,
    machine: &Machine,
    journal: &Journal<'_>,
) -> World {
    let replicas: Vec<ReplicaView> = machine.replicas().collect();
    let facts = |replica: &ReplicaView| {
        let name = machine.name_of(replica.id.target).clone();
        let facts = Facts {
            phase: Some((phase(&replica.phase), replica.since)),
            reason: String::new(),
            gpus: replica.gpus.clone(),
            pid: replica.pid,
            port: replica.port,
            in_flight: Some(replica.in_flight),
        };
        ((name, replica.id.ordinal), facts)
    };
    // One that failed is no more, but people want to know why.
    let failed = machine.failed().map(|(name, ordinal, at, reason)| {
        let phase = Some((ReplicaPhase::Failed, at));
        ((name.clone(), ordinal), Facts { phase, reason: reason.to_owned(), ..Facts::default() })
    });
    let is_fake = |command: &[String]| command.iter().any(|word| word == "fake-model");
    let fake = control.book.revisions().filter(|(_, kept)| {
        kept.service.launch.as_ref().is_some_and(|launch| is_fake(&launch.command))
    });
    let mut requests: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
    for (name, kept) in control.book.revisions() {
        let sums = requests.entry(name).or_default();
        sums.iter_mut().zip(counted(kept)).for_each(|(sum, more)| *sum += more);
    }
    let totals = requests.into_iter().map(|(service, [served, expired, failed, refused])| {
        RequestTotals { service: service.to_owned(), served, expired, failed, refused }
    });
    let yielded =
        engine.specs().zip(0..).filter(|(_, at)| engine.has_yielded(crate::engine::TargetId(*at)));
    let mut revisions: BTreeMap<String, Vec<RevisionStatus>> = BTreeMap::new();
    for (name, kept) in control.book.revisions() {
        revisions.entry(name.to_owned()).or_default().push(RevisionStatus {
            number: kept.number,
            share: kept.weight,
            is_leaving: kept.is_leaving,
        });
    }
    World {
        revisions,
        phase: *control.phase.borrow(),
        fake: fake.map(|(name, _)| name.to_owned()).collect(),
        evicted: yielded.map(|(spec, _)| spec.name.service.clone()).collect(),
        nodes: nodes(machine, &replicas),
        replicas: failed.chain(replicas.iter().map(facts)).collect(),
        pins: control.pins.clone(),
        policies: policies(control, engine),
        journal: journal.health().map(|health| JournalStatus {
            path: control.journal_folder.display().to_string(),
            bytes: health.written_bytes,
            segments: u64::from(health.segment.is_some()),
            gaps: health.dropped,
            error: health.trouble,
        }),
        requests: totals.collect(),
        gpu_seconds: control.gpu_seconds.clone().into_iter().collect(),
        cost_usd: control.cost_usd,
        missed_ticks: control.missed_ticks,
    }
}

fn phase(phase: &Phase) -> ReplicaPhase {
    match phase {
        Phase::Pulling => ReplicaPhase::Pulling,
        Phase::Loading => ReplicaPhase::Loading,
        Phase::Ready => ReplicaPhase::Ready,
        Phase::Draining | Phase::Gone => ReplicaPhase::Draining,
        Phase::Failed { .. } => ReplicaPhase::Failed,
    }
}

/// The nodes with their GPUs and who has them.
fn nodes(machine: &Machine, replicas: &[ReplicaView]) -> Vec<NodeStatus> {
    let node = |(at, place): (u32, &Place)| {
        let on_it = |replica: &&ReplicaView| replica.node == NodeId(at);
        let gpus = place.gpus.iter().map(|gpu| GpuStatus {
            index: gpu.index,
            class: place.node.gpu_class.clone(),
            memory_bytes: gpu.memory_bytes,
            used_by: replicas
                .iter()
                .filter(on_it)
                .filter(|replica| replica.gpus.contains(&gpu.index))
                .map(|replica| GpuUse {
                    service: machine.name_of(replica.id.target).service.clone(),
                    ordinal: replica.id.ordinal,
                    share: share(machine, replica, place),
                })
                .collect(),
        });
        NodeStatus { name: place.node.name.clone(), gpus: gpus.collect() }
    };
    (0..).zip(machine.places()).map(node).collect()
}

/// The part of each of its GPUs that a replica has.
fn share(machine: &Machine, replica: &ReplicaView, place: &Place) -> f64 {
    let parts = f64::from(machine.gpus_of(replica.id.target));
    parts / f64::from(place.parts_per_gpu) / replica.gpus.len().max(1) as f64
}

/// GPUs that replicas have now, a class and a number each, with their price an hour. US dollars.
pub(super) fn taken(machine: &Machine) -> Vec<(String, f64, f64)> {
    let of = |replica: ReplicaView| {
        let place = machine.places().get(replica.node.index())?;
        let gpus = share(machine, &replica, place) * replica.gpus.len() as f64;
        let parts = gpus * f64::from(place.parts_per_gpu);
        let usd = place.node.usd_per_gpu_hour.unwrap_or(0.0) * parts;
        (gpus > 0.0).then(|| (place.node.gpu_class.clone(), gpus, usd))
    };
    machine.replicas().filter_map(of).collect()
}

/// What changed about services, in words.
pub(super) fn changed(changed: &Changed) -> String {
    let revised: Vec<String> = changed
        .revised
        .iter()
        .map(|(name, number)| format!("{name} (revision {number})"))
        .collect();
    let parts = [
        ("new", &changed.added),
        ("gone", &changed.removed),
        ("revised", &revised),
        ("adjusted", &changed.adjusted),
    ];
    let told = parts
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what}: {}", names.join(", ")));
    format!("services changed: {}", told.collect::<Vec<_>>().join("; "))
}

/// Why something does not take over, on a line.
pub(super) fn refused(refused: &Refused) -> String {
    let place = match (&refused.file, refused.line) {
        (Some(file), Some(line)) => format!("{file}:{line}: "),
        (Some(file), None) => format!("{file}: "),
        (None, _) => String::new(),
    };
    let hint = refused.hint.as_ref().map_or(String::new(), |hint| format!(" ({hint})"));
    format!("refused, what decides stays: {place}{}{hint}", refused.message.replace('\n', "; "))
}

/// What came of a swap, on a line.
pub(super) fn swapped(succession: &Succession, swapper: &Swapper) -> String {
    let run = &succession.shadow;
    let mut told = vec![format!(
        "other policies decide: {}; tried on {} steps before, {} decisions differ",
        short(swapper.live().digest()),
        run.steps,
        run.differences
    )];
    told.extend(crate::swap::lines(&succession.restored));
    told.join("; ")
}

/// A decision that a shadow would have made otherwise: whose, and what.
pub(super) fn difference(difference: &Difference) -> (String, String) {
    let because = |reason: &str| match reason {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    let text = format!(
        "the shadow wants {}{}, not {}{}",
        difference.shadow,
        because(&difference.shadow_reason),
        difference.real,
        because(&difference.real_reason)
    );
    (difference.target.clone(), text)
}

/// An attempt to swap, as the status has it.
pub(super) fn swap(entry: &Entry) -> SwapStatus {
    SwapStatus {
        // Whoever keeps the status counts them.
        number: 0,
        at: entry.at,
        outcome: match entry.what {
            What::Swapped => SwapOutcome::Swapped,
            What::Refused => SwapOutcome::Refused,
            What::Unchanged => SwapOutcome::Unchanged,
            What::WentBack => SwapOutcome::WentBack,
            What::RolledBack => SwapOutcome::RolledBack,
        },
        by: entry.by.clone(),
        from: entry.from.clone(),
        to: entry.to.clone(),
        steps: entry.steps,
        differences: entry.differences,
        fault: entry.refused.as_ref().map(|refused| SwapFault {
            file: refused.file.clone(),
            line: refused.line,
            message: refused.message.clone(),
            hint: refused.hint.clone(),
        }),
        told: entry.told.clone(),
    }
}

/// The policies that decide, with what stands in their shadow.
fn policies(control: &Control, engine: &Engine) -> Vec<PolicyStatus> {
    let definition = control.swapper.live().chain().definition();
    let source = |stage: &str| {
        let its = definition.scaling.iter().find(|one| one.name == stage);
        chain::shown(its.map_or(&definition.placement, |one| &one.policy))
    };
    let swaps = control.swapper.history().entries();
    // Services that change are in the history too, with the same chain.
    let took_over = |entry: &&Entry| match entry.what {
        What::Swapped | What::WentBack | What::RolledBack => entry.to.as_ref() != Some(&entry.from),
        What::Refused | What::Unchanged => false,
    };
    let since = swaps.filter(took_over).last().map(|entry| entry.at);
    let shadows =
        control.shadow.as_ref().map(|(path, shadow)| (path, shadow.policies(), shadow.run()));
    let shadow_of = |stage: &str| {
        let (path, digests, run) = shadows.as_ref()?;
        Some(ShadowStatus {
            source: path.display().to_string(),
            digest: digests.get(stage)?.clone(),
            since: control.started_at,
            compared: run.steps,
            differing: run.differences,
            last: run.last.back().map(|last| difference(last).1),
        })
    };
    let status = |policy: crate::engine::StagePolicy| PolicyStatus {
        source: source(&policy.stage),
        kind: match policy.stage == PLACEMENT {
            true => PolicyKind::Placement,
            false => PolicyKind::Scaling,
        },
        digest: policy.digest,
        since: since.unwrap_or(control.started_at),
        health: Health::Healthy,
        failures: 0,
        last_failure: None,
        on_failure: policy.on_failure.name().to_owned(),
        shadow: shadow_of(&policy.stage),
        stage: policy.stage,
    };
    engine.policies().into_iter().map(status).collect()
}

/// Why nothing can start, with a line for each fault.
pub(super) fn at_start(refused: &Refused) -> String {
    match (&refused.file, refused.line) {
        (Some(file), Some(line)) => format!("{file}:{line}: {}", refused.message),
        (Some(file), None) => format!("{file}: {}", refused.message),
        (None, _) => refused.message.clone(),
    }
}
