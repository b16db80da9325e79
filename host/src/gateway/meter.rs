//! Counts what a gateway sees of a service's requests between two reports. It knows nothing of seconds or of who reads the
//! reports: whoever keeps it says when to take one.

/// Requests over time, and what happened since the last take.
///
/// ```
/// # use tidegate::gateway::Meter;
/// let mut meter = Meter::new(0);
/// meter.begins(250_000); // one request, half a second long
/// meter.ends(750_000);
/// assert_eq!(meter.take(1_000_000).concurrency, 0.5);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    since_us: u64,
    last_us: u64,
    /// In flight since `last_us`.
    requests: u32,
    /// Load beside requests, known as a level only.
    offered: f64,
    /// Time during which each number of requests was in flight, times that number. Request microseconds: whole numbers for
    /// requests, and therefore exact.
    area: f64,
    counted: Counted,
}

/// What a meter counted between two takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    /// Requests in flight, waiting ones included: their mean over the time since the last take.
    pub concurrency: f64,
    /// Requests that arrived.
    pub arrivals: u64,
    /// Prompt tokens of the requests that were handed to a replica.
    pub prompt_tokens: u64,
    /// Tokens of the answers that ended.
    pub output_tokens: u64,
}

impl Meter {
    /// A meter without requests that begins at `now_us`.
    pub fn new(now_us: u64) -> Meter {
        Meter {
            since_us: now_us,
            last_us: now_us,
            requests: 0,
            offered: 0.0,
            area: 0.0,
            counted: Counted::default(),
        }
    }

    /// One request more is in flight from now on.
    pub fn begins(&mut self, now_us: u64) {
        self.run(now_us);
        self.requests += 1;
    }

    /// One request fewer is in flight from now on.
    pub fn ends(&mut self, now_us: u64) {
        self.run(now_us);
        self.requests -= 1;
    }

    /// From now on there is so much load beside the requests.
    pub fn offer(&mut self, now_us: u64, concurrency: f64) {
        self.run(now_us);
        self.offered = concurrency;
    }

    /// The load beside requests.
    pub fn offered(&self) -> f64 {
        self.offered
    }

    /// A request arrived.
    pub fn arrived(&mut self) {
        self.counted.arrivals += 1;
    }

    /// A request with a prompt of so many tokens was handed to a replica.
    pub fn prompted(&mut self, tokens: u32) {
        self.counted.prompt_tokens += u64::from(tokens);
    }

    /// An answer of so many tokens ended.
    pub fn answered(&mut self, tokens: u32) {
        self.counted.output_tokens += u64::from(tokens);
    }

    /// What was counted since the last take; counting begins anew.
    pub fn take(&mut self, now_us: u64) -> Counted {
        let span = now_us.saturating_sub(self.since_us) as f64;
        // A level that stood all the time is the mean as it is: multiplied and divided, it might differ in its last digit.
        let stood = self.last_us == self.since_us;
        self.run(now_us);
        let concurrency = match (stood, span > 0.0) {
            (true, _) => self.level(),
            (false, true) => self.area / span,
            (false, false) => 0.0,
        };
        (self.since_us, self.area) = (now_us, 0.0);
        Counted { concurrency, ..std::mem::take(&mut self.counted) }
    }

    /// Whether nothing is in flight and nothing was counted since the last take.
    pub fn is_idle(&self) -> bool {
        self.level() == 0.0 && self.area == 0.0 && self.counted == Counted::default()
    }

    fn level(&self) -> f64 {
        f64::from(self.requests) + self.offered
    }

    fn run(&mut self, now_us: u64) {
        self.area += self.level() * now_us.saturating_sub(self.last_us) as f64;
        self.last_us = self.last_us.max(now_us);
    }
}
