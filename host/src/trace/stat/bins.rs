//! Counts per second or minute, of which only their sums are kept: arrivals come in order, so a bin that is left is done with.

pub(super) struct Bins {
    width_us: u64,
    /// The bin that is being filled, and its count.
    index: u64,
    count: u64,
    /// Of the bins that are done with.
    sum: u128,
    sum_of_squares: u128,
    peak: u64,
}

impl Bins {
    pub(super) fn new(width_us: u64) -> Bins {
        Bins { width_us, index: 0, count: 0, sum: 0, sum_of_squares: 0, peak: 0 }
    }

    pub(super) fn add(&mut self, at_us: u64) {
        let index = at_us / self.width_us;
        if index != self.index {
            let done = u128::from(self.count);
            self.sum += done;
            self.sum_of_squares += done * done;
            (self.index, self.count) = (index, 0);
        }
        self.count += 1;
        self.peak = self.peak.max(self.count);
    }

    /// The highest count.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    /// Variance over mean of the counts, empty bins included, up to the end of the window; a last bin that the window cuts is
    /// one as well. The variance is that of the whole population.
    pub(super) fn dispersion(&self, window_us: u64) -> f64 {
        let last = u128::from(self.count);
        let bins = window_us.div_ceil(self.width_us) as f64;
        let mean = (self.sum + last) as f64 / bins;
        let mean_of_squares = (self.sum_of_squares + last * last) as f64 / bins;
        (mean_of_squares - mean * mean) / mean
    }
}
