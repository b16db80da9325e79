//! The gateway's side of sockets: takes requests in, holds them at the service's [`Door`] until a replica takes them, and passes bytes
//! on both ways. What is decided about requests is decided by the pure [`crate::gateway`] core; nothing here knows of policies.
//!
//! [`serve`] accepts connections for a [`Gateway`]. Each connection is a task that speaks HTTP/1.1 or HTTP/2 (`listen`, `client`); each
//! request is routed and let in at a door (`admit`, `routes`) and runs an errand in it (`errand`): sent to the replica that the core picks (`upstream`,
//! `outgoing`), its answer passed on chunk by chunk (`passage`). What it came to is noted as a [`Fate`].

mod admit;
mod answer;
mod client;
mod door;
mod early;
mod errand;
mod fate;
mod guard;
mod headers;
mod heads;
mod keys;
mod listen;
mod outgoing;
mod passage;
mod peek;
mod routes;
mod settings;
mod tokens;
mod tunnel;
mod upstream;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock};

use tokio::sync::{mpsc, watch};

pub use answer::{REASON, Reason};
pub use door::{Door, DoorCounts, Ticket, Turn, Upstream};
pub use fate::{Counts, Fate, Outcome};
pub use keys::Keys;
pub use listen::{Ended, bind, serve};
pub use routes::{Destination, Revision, Route, Routes, Service};
pub use settings::Settings;
pub use upstream::Pool;

use crate::clock::Clock;
use heads::Heads;

/// Requests of one service that may wait even when too many do in all, so that a flood elsewhere does not shut it out.
const ALWAYS_WAITING: u32 = 16;

/// What all connections of a gateway share.
pub struct Gateway {
    settings: Settings,
    clock: Arc<Clock>,
    routes: RwLock<Arc<Routes>>,
    /// Requests that wait, at whatever door.
    waiting: AtomicU32,
    heads: Heads,
    /// Bounded by a setting: whoever writes the journal may be slow, and requests do not wait for it.
    fates: mpsc::Sender<Fate>,
    counts: Counts,
    phase: watch::Sender<Phase>,
}

/// How far a gateway is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    /// No connection is accepted; what is in is answered.
    Draining,
    /// What is not answered now is refused or cut.
    Over,
}

impl Gateway {
    /// A gateway without routes, and where to fetch what became of requests.
    pub fn new(settings: Settings, clock: Arc<Clock>) -> (Arc<Gateway>, mpsc::Receiver<Fate>) {
        let (fates, fetched) = mpsc::channel(settings.fates.max(1));
        let gateway = Gateway {
            heads: Heads::new(settings.unfinished_heads),
            settings,
            clock,
            routes: RwLock::default(),
            waiting: AtomicU32::new(0),
            fates,
            counts: Counts::default(),
            phase: watch::Sender::new(Phase::Open),
        };
        (Arc::new(gateway), fetched)
    }

    /// Requests that come from now on follow these routes.
    pub fn set_routes(&self, routes: Routes) {
        *self.routes.write().expect("nothing panics while it is held") = Arc::new(routes);
    }

    /// The routes that requests follow now.
    pub fn routes(&self) -> Arc<Routes> {
        self.routes.read().expect("nothing panics while it is held").clone()
    }

    /// What it counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Requests that wait, at whatever door.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }
}
