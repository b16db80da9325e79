//! Turns what was seen into what will be done: [`Engine::step`]. Synchronous and pure: time is part of the input; it reads no
//! clock, opens nothing, awaits nothing, iterates no hash map. It has never heard of pods, processes or traces.

pub mod fleet;
pub mod observation;
pub mod plan;
pub mod signal;
pub mod target;

pub use fleet::{Node, NodeId, Resources, Taint, TaintEffect};
pub use observation::{Event, Observation, Phase, Report};
pub use plan::{Action, Plan};
pub use signal::Signal;
pub use target::{Bounds, ReplicaId, TargetId, TargetName, TargetSpec};
