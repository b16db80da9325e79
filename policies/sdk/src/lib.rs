//! What authors of Tidegate policies build on: they write settings, state and one function that decides; batches, columns,
//! bytes, exports and explanations are made here. It knows the contract (`wit/policy.wit`) and nothing of the host.
//!
//! A policy is plain Rust that links natively, for tests and benches, and becomes a component with one line:
//!
//! ```ignore
//! tidegate_policy::export_scaling!(OfficeHours);
//! ```
//!
//! Start at [`Scaling`]; a policy that decides several targets together implements [`Together`]. One that chooses nodes implements
//! [`Placement`]. A crate may export one of each kind.

pub mod bindings;
mod document;
pub mod native;
mod nodes;
pub mod notes;
pub mod placement;
pub mod scaling;
pub mod testing;
mod wire;

pub use bindings::tidegate::policy::types::{Explanation, Failure, Fault, Figure};
pub use document::{Document, Faults, Service};
pub use notes::Notes;
pub use placement::Placement;
pub use scaling::{
    Averaging, Causes, Column, Decision, Output, Scaling, Scope, Seen, Target, Together, Wants,
};

#[doc(hidden)]
pub use placement::ExportPlacement;
#[doc(hidden)]
pub use scaling::Export;

/// Exports a [`Scaling`] or [`Together`] policy from a component. Natively it is nothing, so that several policies link into one
/// program. At most once in a crate.
#[macro_export]
macro_rules! export_scaling {
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[expect(unsafe_code, reason = "a component's exports are raw functions, all generated")]
        mod tidegate_scaling_exports {
            use super::*;
            type Exported = $crate::Export<$policy>;
            $crate::bindings::export_scaling_policy!(Exported with_types_in $crate::bindings);
        }
    };
}

/// Exports a [`Placement`] policy from a component; otherwise as [`export_scaling!`].
#[macro_export]
macro_rules! export_placement {
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[expect(unsafe_code, reason = "a component's exports are raw functions, all generated")]
        mod tidegate_placement_exports {
            use super::*;
            type Exported = $crate::ExportPlacement<$policy>;
            $crate::bindings::placement::export_placement_policy!(Exported with_types_in $crate::bindings::placement);
        }
    };
}
