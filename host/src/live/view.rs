//! What a live run is like, in the words of the status: put together from the book of services, the machine and the journal.

use std::collections::BTreeMap;

use super::book::Changed;
use super::control::{Control, counted};
use crate::backend::local::machine::{Machine, Place, ReplicaView};
use crate::engine::{Engine, NodeId, Phase};
use crate::journal::Journal;
use crate::status::{
    Facts, GpuStatus, GpuUse, JournalStatus, NodeStatus, ReplicaPhase, RequestTotals, World,
};

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
    let yielded = engine.specs().zip(0..).filter(|(_, at)| {
        engine.has_yielded(crate::engine::TargetId(*at))
    });
    World {
        phase: *control.phase.borrow(),
        fake: fake.map(|(name, _)| name.to_owned()).collect(),
        evicted: yielded.map(|(spec, _)| spec.name.service.clone()).collect(),
        nodes: nodes(machine, &replicas),
        replicas: replicas.iter().map(facts).collect(),
        pins: control.pins.clone(),
        policies: control.policies.clone(),
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
    let revised: Vec<String> =
        changed.revised.iter().map(|(name, number)| format!("{name} (revision {number})")).collect();
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
