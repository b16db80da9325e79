//! The simulator: nodes, replicas and requests as events in virtual time.
