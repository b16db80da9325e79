//! Tidegate scales and places GPU inference replicas with policies that are sandboxed WebAssembly components.
//!
//! One engine, three worlds: a backend observes, the [`engine`] plans, the backend carries out; the simulator, one machine
//! and Kubernetes differ in nothing else. `ARCHITECTURE.md` has the invariants.

pub mod admin;
pub mod again;
pub mod backend;
pub mod bench;
pub mod chain;
pub mod check;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod definitions;
pub mod engine;
pub mod fake_model;
pub mod fuzz;
pub mod gateway;
mod heap;
pub mod journal;
pub mod ledger;
pub mod live;
pub mod metrics;
pub mod parity;
pub mod player;
pub mod policy;
pub mod project;
pub mod proxy;
pub mod recorder;
pub mod reference;
pub mod replay;
pub mod report;
pub mod run;
pub mod scrape;
pub mod seed;
pub mod status;
pub mod suite;
pub mod swap;
pub mod time;
pub mod top;
pub mod trace;
pub mod why;

pub use time::Time;
