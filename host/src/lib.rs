//! Tidegate scales and places GPU inference replicas with policies that are sandboxed WebAssembly components.
//!
//! One engine, three worlds: a backend observes, the [`engine`] plans, the backend carries out; the simulator, one machine
//! and Kubernetes differ in nothing else. `ARCHITECTURE.md` has the invariants.

pub mod again;
pub mod backend;
pub mod bench;
pub mod check;
pub mod cli;
pub mod definitions;
pub mod engine;
pub mod gateway;
mod heap;
pub mod journal;
pub mod ledger;
pub mod policy;
pub mod recorder;
pub mod replay;
pub mod report;
pub mod run;
pub mod seed;
pub mod time;
pub mod trace;

pub use time::Time;
