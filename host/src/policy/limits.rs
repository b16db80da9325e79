//! What a policy may take: fuel, memory, output, and the size of its package. All are settings, and all are visible in reports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The limits of a sandbox.
///
/// ```
/// # use tidegate::policy::Limits;
/// assert_eq!(Limits::default().fuel(1_000), 10_100_000);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Fuel of one `decide`, whatever its batch; finding a target that makes it fail is paid from it too, so a batch that goes
    /// well may use about half. About one unit an instruction.
    pub fuel: u64,
    /// More of it for each target of the batch.
    pub fuel_per_target: u64,
    /// More of it for each replica and node that a placement may look at together.
    pub fuel_per_pair: u64,
    /// Fuel of the calls that come once for a settings document, or are made for a reader: `bind`, `explain`, `migrate`. An
    /// endless loop ends after about 20 ms.
    pub fuel_of_rare_calls: u64,
    /// Linear memory, bytes. Most of a policy's is what its batch takes.
    pub memory_bytes: u64,
    /// Memories, of which `memory_bytes` is the sum. One, but where a language's tools put modules of their own beside the policy's.
    pub memories: u32,
    /// Elements of all its tables.
    pub table_elements: u32,
    /// Stack, bytes.
    pub stack_bytes: usize,
    /// What one call may hand back, bytes, as the host holds it.
    pub output_bytes: usize,
    /// More of it for each target of the batch.
    pub output_bytes_per_target: usize,
    /// A component's size, bytes.
    pub package_bytes: usize,
    /// One function's body, bytes. Compile time grows with its square: 296 kB took 20 s.
    pub function_bytes: usize,
    /// Functions in all of a component's modules.
    pub functions: u32,
    /// Memory of the process that compiles a component, bytes.
    pub compile_memory_bytes: u64,
    /// Processor time of the process that compiles a component, seconds.
    pub compile_cpu_s: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            fuel: 100_000,
            fuel_per_target: 10_000,
            fuel_per_pair: 1_000,
            fuel_of_rare_calls: 20_000_000,
            memory_bytes: 64 << 20,
            memories: 1,
            table_elements: 10_000,
            stack_bytes: 512 << 10,
            output_bytes: 1 << 20,
            output_bytes_per_target: 256,
            package_bytes: 4 << 20,
            function_bytes: 64 << 10,
            functions: 10_000,
            compile_memory_bytes: 1 << 30,
            compile_cpu_s: 20,
        }
    }
}

/// The limits of a chain's policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainLimits {
    /// Of all that have none of their own, and of what stands in for a stage that fails.
    #[serde(flatten)]
    pub all: Limits,
    /// Of the stages that have limits of their own, by name; the placement policy's name is `placement`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub own: BTreeMap<String, Limits>,
}

impl ChainLimits {
    /// Of the stage of that name.
    pub fn of(&self, stage: &str) -> &Limits {
        self.own.get(stage).unwrap_or(&self.all)
    }
}

impl From<Limits> for ChainLimits {
    fn from(all: Limits) -> ChainLimits {
        ChainLimits { all, own: BTreeMap::new() }
    }
}

impl Limits {
    /// Whether what is compiled for the one runs within the other: they differ in nothing that machine code or its room depends on.
    pub(super) fn has_room_of(&self, other: &Limits) -> bool {
        let room = |limits: &Limits| {
            (limits.memory_bytes, limits.memories, limits.table_elements, limits.stack_bytes)
        };
        room(self) == room(other)
    }

    /// Fuel of a call about that many targets.
    pub fn fuel(&self, targets: usize) -> u64 {
        self.fuel.saturating_add(self.fuel_per_target.saturating_mul(targets as u64))
    }

    /// Bytes that a call about that many targets may hand back.
    pub fn output(&self, targets: usize) -> usize {
        self.output_bytes.saturating_add(self.output_bytes_per_target.saturating_mul(targets))
    }
}
