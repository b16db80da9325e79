//! The gateway's side of sockets: takes requests in, holds them at the service's [`Door`] until a replica takes them, and passes bytes
//! on both ways. What is decided about requests is decided by the pure [`crate::gateway`] core; nothing here knows of policies.

mod door;

pub use door::{Door, Ticket, Turn, Upstream};
