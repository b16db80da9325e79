//! What a gateway allows, whoever it serves.

use std::time::Duration;

use super::keys::Keys;

/// What a gateway allows. Limits of one service are those of its door.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections of clients that may be open at once; further ones wait to be accepted.
    pub connections: usize,
    /// Connections of one address whose request heads are unfinished. Beyond that, the oldest of them is closed.
    pub unfinished_heads: usize,
    /// Requests that may wait for replicas in all. Beyond that, only services with few waiting requests may have more.
    pub waiting: u32,
    /// How much of a body is looked at for the model's name. Bytes.
    pub peek_bytes: usize,
    /// How long a request's head may take, from its first byte; for the first of a connection, from the connection's begin.
    pub head_timeout: Duration,
    /// How long a connection may stay open without a request.
    pub idle_connection: Duration,
    /// How long a client may pause in the middle of a request's body.
    pub idle_request: Duration,
    /// How long a client may read nothing of an answer that is there.
    pub stalled_reader: Duration,
    /// How long a replica may pause in the middle of an answer, and both sides of an upgraded connection.
    pub idle_answer: Duration,
    /// How long a replica may take to accept a connection.
    pub connect_timeout: Duration,
    /// How long a request for an event stream waits before its head is sent and comments keep it open, where the service has that on.
    pub comment_after: Duration,
    /// Time between two such comments.
    pub comment_every: Duration,
    /// How long the end may take, from the wish to stop. Requests that still wait then are refused, those that run are cut.
    pub grace: Duration,
    /// Keys of which every request must show one; none: everybody is served.
    pub keys: Keys,
    /// Replicas are shown the key too.
    pub passes_keys: bool,
    /// Fates that may wait to be fetched; further ones are counted and dropped.
    pub fates: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            connections: 16_384,
            unfinished_heads: 64,
            waiting: 10_000,
            peek_bytes: 64 * 1024,
            head_timeout: Duration::from_secs(5),
            idle_connection: Duration::from_secs(75),
            idle_request: Duration::from_secs(30),
            stalled_reader: Duration::from_secs(30),
            idle_answer: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(2),
            comment_after: Duration::from_secs(1),
            comment_every: Duration::from_secs(5),
            grace: Duration::from_secs(30),
            keys: Keys::default(),
            passes_keys: false,
            fates: 65_536,
        }
    }
}
