//! What crosses the boundary, as generated from `wit/`: the only host bindings. Everything else uses these types as they are.
#![expect(missing_docs, reason = "generated; the words are in wit/policy.wit")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "policy",
    additional_derives: [PartialEq],
});

pub use self::exports::tidegate::policy::placement::{
    self, Candidates, Input as PlacementInput, Nodes, Program as PlacementProgram, Replicas,
    Request, Subject, TaintEffect,
};
pub use self::exports::tidegate::policy::scaling::{
    self, Batch, Births, Causes, Decisions, Inheritance, Input, Program, Scope, Source, States,
    Window,
};
pub use self::tidegate::policy::types::{Explanation, Failure, Fault, Figure};
