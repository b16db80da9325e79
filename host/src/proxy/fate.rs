//! What became of requests: a note of each for the journal, and counts for the metrics.

use std::sync::atomic::AtomicU64;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered in full by a replica, whatever the status.
    Served,
    /// Its deadline came, while it waited or while it ran.
    Expired,
    /// There was no room for it to wait, or the gateway ends.
    Refused,
    /// The replica broke off, or could not be tried again.
    Failed,
    /// The client left, or was too slow.
    GoneAway,
}

/// What became of one request that came to a service's door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// The target: what [`super::Revision::target`] says.
    pub target: u32,
    /// When it arrived. Unix microseconds.
    pub arrived_us: u64,
    /// How long it waited for a replica; where it got none, until the end. Microseconds.
    pub waited_us: u64,
    /// From arrival to the answer's first byte of a body, or its head where there is none. Microseconds.
    pub first_byte_us: Option<u64>,
    /// From arrival to end. Microseconds.
    pub took_us: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The status that the client was told; 0: none.
    pub status: u16,
    /// Tokens of the prompt, as the answer told them; 0: not known.
    pub prompt_tokens: u32,
    /// Tokens of the answer; 0: not known.
    pub output_tokens: u32,
    /// Nothing was ready when it arrived.
    pub is_cold: bool,
}

/// What a gateway counts beside what its doors do.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections of clients that were accepted.
    pub connections: AtomicU64,
    /// Connections that were closed because a head took too long or too many were unfinished.
    pub slow_heads: AtomicU64,
    /// Connections that were closed, and answers given up, since the client read nothing.
    pub stalled_readers: AtomicU64,
    /// Requests that led nowhere: no such host, path or model.
    pub unrouted: AtomicU64,
    /// Requests that are not well formed, or could be read in two ways.
    pub malformed: AtomicU64,
    /// Requests without a valid key.
    pub unauthorized: AtomicU64,
    /// Requests that were refused because too many wait in all, or the gateway ends.
    pub overloaded: AtomicU64,
    /// Connections to replicas that were opened.
    pub connects: AtomicU64,
    /// Fates that nobody fetched in time.
    pub fates_dropped: AtomicU64,
}
