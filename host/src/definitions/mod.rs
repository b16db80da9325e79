//! Files that people write: which policies decide, which services there are, on which nodes. It reads and checks them, and knows
//! nothing of how they are used.

pub mod model;
pub mod node;
pub mod policies;
pub mod service;
