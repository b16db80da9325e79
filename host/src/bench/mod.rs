//! What the criterion benches and `tidegate bench` measure, so that both measure the same.

pub mod workload;
