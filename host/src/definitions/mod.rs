//! Files that people write: which policies decide, which services there are, on which nodes. It reads and checks them, and knows
//! nothing of how they are used.

pub mod failures;
mod fault;
mod field;
mod gpu;
mod kserve;
pub mod launch;
mod launches;
pub mod machine;
#[cfg(test)]
mod mangled;
#[cfg(test)]
mod manifests;
pub mod model;
pub mod node;
mod openb;
mod outline;
mod pod;
pub mod policies;
pub mod profile;
mod quantity;
pub mod route;
pub mod service;
pub mod settings;
pub mod suite;
mod tree;

pub use fault::{DefinitionError, Fault, Warning};
pub use outline::Outline;
pub(crate) use outline::is_openb;

/// The version of our own files.
const API_VERSION: &str = "tidegate.dev/v1alpha1";
