//! What people write down for a run: services, nodes, models, profiles, policies. Files in, checked values out; it knows nothing
//! of how they are used.

pub mod policies;
