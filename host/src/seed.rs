//! Randomness of a replay. Seeds are words, and there is a generator for each (seed, purpose, service, ordinal): a new draw
//! in one place moves nothing in another, and the order in which draws are made does not matter.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// The word that a replay's randomness comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed(String);

impl Seed {
    /// Any word will do.
    pub fn new(word: &str) -> Seed {
        Seed(word.to_owned())
    }

    /// The generator for one purpose (`"load-time"`), service (its name) and ordinal (of a replica, of a table's row).
    pub fn draws(&self, purpose: &str, service: &str, ordinal: u64) -> Draws {
        let mut hash = Sha256::new();
        for part in
            [self.0.as_bytes(), purpose.as_bytes(), service.as_bytes(), &ordinal.to_le_bytes()]
        {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Draws(ChaCha8Rng::from_seed(hash.finalize().into()))
    }
}

/// A stream of numbers, the same on every machine.
pub struct Draws(ChaCha8Rng);

impl Draws {
    /// Uniform in (0, 1): never 0, never 1.
    pub fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    /// Exponential with that mean, as the gap between Poisson arrivals.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -libm::log(self.uniform()) * mean
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller's).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        radius * libm::cos(std::f64::consts::TAU * self.uniform())
    }

    /// Lognormal with median 1 and that sigma.
    pub fn lognormal(&mut self, sigma: f64) -> f64 {
        libm::exp(sigma * self.normal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_every_part_of_their_name_and_on_nothing_else() {
        let first = |seed: &str, purpose, service, ordinal| {
            Seed::new(seed).draws(purpose, service, ordinal).uniform()
        };
        let one = first("tide", "load-time", "llama", 0);
        assert_eq!(one, first("tide", "load-time", "llama", 0));
        for other in [
            first("ebb", "load-time", "llama", 0),
            first("tide", "start-fails", "llama", 0),
            first("tide", "load-time", "gptj", 0),
            first("tide", "load-time", "llama", 1),
            first("tide", "load-timel", "lama", 0),
        ] {
            assert_ne!(one, other);
        }
    }
}
