//! What crosses the boundary, as generated from `wit/policy.wit`: the only guest bindings for scaling. Natively the types are the same.
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
