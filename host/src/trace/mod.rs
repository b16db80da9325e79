//! Recorded load in: what arrives when, for whom. It knows nothing of planning.

/// Something that a trace asks for. Times are microseconds since the trace's start, and never step back within a trace.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A request arrives.
    Arrival {
        /// When.
        at_us: u64,
        /// Whose, by position in the trace's list of services.
        service: u32,
        /// What it asks for.
        work: Work,
    },
    /// From now on a service holds so many requests in flight, whatever it is given: offered load as it is.
    Offered {
        /// When.
        at_us: u64,
        /// Whose, by position in the trace's list of services.
        service: u32,
        /// Requests in flight.
        concurrency: f64,
    },
}

/// What a request asks of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// So many tokens read and written; how long that takes depends on model, GPU and company.
    Tokens {
        /// Tokens of the request.
        prompt: u32,
        /// Tokens of the answer; none is a request that ends with its prompt.
        output: u32,
    },
    /// So long, whatever else runs. Microseconds.
    Duration(u64),
}
