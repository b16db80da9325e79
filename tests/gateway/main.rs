//! The gateway over real sockets: what clients and replicas see of it.

mod bounds;
mod by_hand;
mod hostile;
mod passing;
mod routing;
mod world;
