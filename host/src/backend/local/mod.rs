//! This machine: replicas are child processes.

pub mod allotment;
pub mod gpus;
pub mod logs;
pub mod machine;
pub mod process;
pub mod state;
mod system;
