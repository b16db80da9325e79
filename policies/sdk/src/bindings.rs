//! What crosses the boundary, as generated from `wit/policy.wit`: the only guest bindings. Natively the types are the same. Each
//! kind of policy is a world of its own, since a component cannot leave an export out; what they share is one set of types.
#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::all,
    reason = "generated; the words are in wit/policy.wit"
)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "scaling-policy",
    pub_export_macro: true,
    export_macro_name: "export_scaling_policy",
    additional_derives: [PartialEq],
});

/// Those of placement.
pub mod placement {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "placement-policy",
        pub_export_macro: true,
        export_macro_name: "export_placement_policy",
        additional_derives: [PartialEq],
        with: { "tidegate:policy/types@0.1.0": crate::bindings::tidegate::policy::types },
    });
}
