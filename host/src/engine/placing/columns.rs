//! The columns that placement policies may ask for by name, and how each is read. `docs/signals.md` is the catalogue for readers;
//! a new column is one variant here and a row there.

use super::grounds::Grounds;
use crate::engine::NodeId;
use crate::engine::replicas::{Replica, ReplicaState};
use crate::engine::target::Target;
use crate::policy::wire::{PlacementInput, Subject};
use crate::policy::{CallError, CallErrorKind};

/// Makes an enum of columns, each with its name in the catalogue.
macro_rules! columns {
    ($(#[$words:meta])* $kind:ident { $($variant:ident = $name:literal,)* }) => {
        $(#[$words])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $kind { $($variant,)* }

        impl $kind {
            pub(super) const ALL: &[$kind] = &[$($kind::$variant,)*];

            pub(super) fn name(self) -> &'static str {
                match self { $($kind::$variant => $name,)* }
            }

            fn named(name: &str) -> Option<$kind> {
                $kind::ALL.iter().copied().find(|column| column.name() == name)
            }
        }
    };
}

columns!(
    /// About a node, with what is free on it now.
    NodeColumn {
        FreeCpu = "free-cpu",
        FreeMemoryBytes = "free-memory-bytes",
        FreeGpus = "free-gpus",
        Gpus = "gpus",
        GpuMemoryBytes = "gpu-memory-bytes",
        UsdPerGpuHour = "usd-per-gpu-hour",
        IsSpot = "is-spot",
    }
);

columns!(
    /// About a replica that needs a place.
    ReplicaColumn {
        Cpu = "cpu",
        MemoryBytes = "memory-bytes",
        Gpus = "gpus",
        WeightsBytes = "weights-bytes",
    }
);

columns!(
    /// About a replica on a node.
    PairColumn {
        WeightsCached = "weights-cached",
    }
);

columns!(
    /// About a replica that might leave.
    CandidateColumn {
        IsReady = "is-ready",
        InFlight = "in-flight",
        StartedAtMs = "started-at-ms",
        UsdPerGpuHour = "usd-per-gpu-hour",
    }
);

impl NodeColumn {
    pub(super) fn read(self, grounds: &Grounds, at: NodeId) -> f64 {
        let (node, free) = (&grounds.nodes[at.index()], &grounds.free[at.index()]);
        match self {
            NodeColumn::FreeCpu => free.cpu_milli as f64 / 1e3,
            NodeColumn::FreeMemoryBytes => free.memory_bytes as f64,
            NodeColumn::FreeGpus => f64::from(free.gpus),
            NodeColumn::Gpus => f64::from(node.allocatable.gpus),
            NodeColumn::GpuMemoryBytes => node.gpu_memory_bytes as f64,
            NodeColumn::UsdPerGpuHour => node.usd_per_gpu_hour.unwrap_or(f64::NAN),
            NodeColumn::IsSpot => truth(node.is_spot),
        }
    }
}

impl ReplicaColumn {
    pub(super) fn read(self, target: &Target) -> f64 {
        match self {
            ReplicaColumn::Cpu => target.spec.needs.cpu_milli as f64 / 1e3,
            ReplicaColumn::MemoryBytes => target.spec.needs.memory_bytes as f64,
            ReplicaColumn::Gpus => f64::from(target.spec.needs.gpus),
            ReplicaColumn::WeightsBytes => target.spec.weights_bytes as f64,
        }
    }
}

impl PairColumn {
    pub(super) fn read(self, grounds: &Grounds, target: &Target, node: NodeId) -> f64 {
        match self {
            PairColumn::WeightsCached => truth(grounds.is_cached(&target.spec.name.service, node)),
        }
    }
}

impl CandidateColumn {
    pub(super) fn read(self, grounds: &Grounds, replica: &Replica) -> f64 {
        match self {
            CandidateColumn::IsReady => truth(matches!(replica.state, ReplicaState::Ready { .. })),
            CandidateColumn::InFlight => match replica.state {
                ReplicaState::Ready { in_flight, .. } => f64::from(in_flight),
                ReplicaState::Pending
                | ReplicaState::Starting { .. }
                | ReplicaState::Draining { .. } => 0.0,
            },
            CandidateColumn::StartedAtMs => replica.since.0 as f64,
            CandidateColumn::UsdPerGpuHour => {
                let node = replica.node().and_then(|node| grounds.nodes.get(node.index()));
                node.and_then(|node| node.usd_per_gpu_hour).unwrap_or(f64::NAN)
            }
        }
    }
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// The columns that a policy asked for, of each subject in its order; `None` reads NaN.
pub(super) struct Columns {
    pub(super) nodes: Vec<Option<NodeColumn>>,
    pub(super) replicas: Vec<Option<ReplicaColumn>>,
    pub(super) pairs: Vec<Option<PairColumn>>,
    pub(super) candidates: Vec<Option<CandidateColumn>>,
}

impl Columns {
    /// Those that `inputs` ask for.
    ///
    /// # Errors
    ///
    /// When one that is required is not known here, by name.
    pub(super) fn of(inputs: &[PlacementInput]) -> Result<Columns, CallError> {
        let (nodes, replicas, pairs, candidates) = Default::default();
        let mut columns = Columns { nodes, replicas, pairs, candidates };
        for input in inputs {
            let name = input.name.as_str();
            let (subject, is_known) = match input.subject {
                Subject::Node => ("node", push(&mut columns.nodes, NodeColumn::named(name))),
                Subject::Replica => {
                    ("replica", push(&mut columns.replicas, ReplicaColumn::named(name)))
                }
                Subject::Pair => ("pair", push(&mut columns.pairs, PairColumn::named(name))),
                Subject::Candidate => {
                    ("candidate", push(&mut columns.candidates, CandidateColumn::named(name)))
                }
            };
            if input.required && !is_known {
                let message = format!(
                    "it requires the {subject} column `{name}`, which this installation does not give"
                );
                let kind = CallErrorKind::Malformed;
                return Err(CallError { kind, culprits: Vec::new(), message });
            }
        }
        Ok(columns)
    }
}

fn push<T>(columns: &mut Vec<Option<T>>, column: Option<T>) -> bool {
    let is_known = column.is_some();
    columns.push(column);
    is_known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_lists_every_column() {
        let page = include_str!("../../../../docs/signals.md");
        let section =
            page.split("\n## ").find(|section| section.starts_with("Columns of placement"));
        let mut listed: Vec<(String, String)> = section
            .expect("the section is there")
            .lines()
            .filter_map(|row| {
                let cells: Vec<&str> = row.split('|').map(str::trim).collect();
                let name = cells.get(2)?.strip_prefix('`')?.strip_suffix('`')?;
                Some((cells[1].to_owned(), name.to_owned()))
            })
            .collect();
        let mut known: Vec<(&str, &str)> = Vec::new();
        known.extend(NodeColumn::ALL.iter().map(|column| ("node", column.name())));
        known.extend(ReplicaColumn::ALL.iter().map(|column| ("replica", column.name())));
        known.extend(PairColumn::ALL.iter().map(|column| ("pair", column.name())));
        known.extend(CandidateColumn::ALL.iter().map(|column| ("candidate", column.name())));
        known.sort_unstable();
        listed.sort();
        let listed: Vec<(&str, &str)> =
            listed.iter().map(|(subject, name)| (subject.as_str(), name.as_str())).collect();
        assert_eq!(listed, known);
    }

    #[test]
    fn a_required_column_that_is_not_known_is_refused_by_name_and_an_optional_one_is_empty() {
        let input = |subject, name: &str, required| PlacementInput {
            subject,
            name: name.to_owned(),
            required,
        };
        let optional = [input(Subject::Node, "gpus", true), input(Subject::Node, "racks", false)];
        let columns = Columns::of(&optional).expect("nothing that is required is missing");
        assert_eq!(columns.nodes, [Some(NodeColumn::Gpus), None]);
        // A name of another subject is not known either.
        let error = Columns::of(&[input(Subject::Pair, "gpus", true)]).err().expect("refused");
        assert_eq!(
            error.message,
            "it requires the pair column `gpus`, which this installation does not give"
        );
    }
}
