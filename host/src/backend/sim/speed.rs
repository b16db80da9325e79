//! How long one iteration of a model server takes: the service model of `docs/simulator.md`. Pure arithmetic, no state.

use crate::definitions::model::Model;
use crate::definitions::node::GpuClass;

/// Prompt tokens that one iteration reads at most.
pub(super) const CHUNK_TOKENS: u64 = 2_048;
/// The part of a GPU's memory that a server takes for itself.
const MEMORY_PART: f64 = 0.9;
/// What a server keeps of that for other things than weights and cache. GB a GPU.
const RESERVED_GB: f64 = 0.5;

/// How fast a replica of one model runs on one class of GPUs. Microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    host_us: f64,
    per_sequence_us: f64,
    /// Reading all weights once.
    weights_us: f64,
    /// Arithmetic for one token.
    token_us: f64,
    /// Reading the cache of one token.
    cached_us: f64,
    /// Tokens that the cache holds.
    pub(super) cache_tokens: u64,
    /// Sequences that run at once at most.
    pub(super) max_sequences: u32,
}

/// A model that a GPU class cannot hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{model} has {weights_gb} GB of weights, and {gpus} × {class} keep {room_gb:.1} GB for them"
)]
pub struct TooLarge {
    /// The model.
    pub model: String,
    /// Its weights.
    pub weights_gb: f64,
    /// GPUs of a replica.
    pub gpus: u32,
    /// Their class.
    pub class: String,
    /// What they have room for.
    pub room_gb: f64,
}

impl Speed {
    /// The speed of `model` over `gpus` GPUs of `class` together.
    ///
    /// # Errors
    ///
    /// When its weights leave no room for a cache.
    pub fn new(model: &Model, class: &GpuClass, gpus: u32) -> Result<Speed, TooLarge> {
        let gpus = gpus.max(1);
        let tp = f64::from(gpus);
        let bandwidth_gb_ms = class.bandwidth_tb_s * tp;
        let room_gb = MEMORY_PART * class.memory_gb * tp - RESERVED_GB * tp;
        if model.weights_gb >= room_gb {
            return Err(TooLarge {
                model: model.name.clone(),
                weights_gb: model.weights_gb,
                gpus,
                class: class.name.clone(),
                room_gb,
            });
        }
        let cache_tokens = (room_gb - model.weights_gb) * 1e9 / model.kv_bytes_per_token;
        Ok(Speed {
            host_us: model.host_ms * 1e3,
            per_sequence_us: model.per_sequence_ms * 1e3,
            weights_us: model.weights_gb / bandwidth_gb_ms * 1e3,
            token_us: 2.0 * model.parameters_billion / (tp * class.tflops) * 1e3,
            cached_us: model.kv_bytes_per_token / 1e9 / bandwidth_gb_ms * 1e3,
            // A model without a cache has room for any number of tokens; the conversion saturates.
            cache_tokens: cache_tokens as u64,
            max_sequences: model.max_sequences.max(1),
        })
    }

    /// The speed of a server that reads `prefill_tokens_per_s` at most and writes `decode_tokens_per_s` for one sequence alone; each
    /// further sequence makes an iteration `per_sequence_us` longer. The cache costs no time.
    pub fn of_rates(
        prefill_tokens_per_s: f64,
        decode_tokens_per_s: f64,
        per_sequence_us: f64,
        cache_tokens: u64,
        max_sequences: u32,
    ) -> Speed {
        Speed {
            host_us: 0.0,
            per_sequence_us,
            weights_us: (1e6 / decode_tokens_per_s - per_sequence_us).max(0.0),
            token_us: 1e6 / prefill_tokens_per_s,
            cached_us: 0.0,
            cache_tokens,
            max_sequences: max_sequences.max(1),
        }
    }

    /// One iteration that reads `prompt` tokens and writes one for each of `batch` sequences, while the cache holds `cached`
    /// tokens.
    pub fn iteration_us(&self, prompt: u64, batch: u64, cached: u64) -> f64 {
        self.fixed_us(prompt, batch) + self.cached_us * cached as f64
    }

    /// `count` iterations in a row, each as long as the one before plus what reading the tokens that it added takes: a sum
    /// `1 + 2 + … + (count - 1)`, so that an answer of a thousand tokens costs no more to compute than one of two.
    pub(super) fn stretch_us(&self, prompt: u64, batch: u64, cached: u64, count: u64) -> f64 {
        let (first, growth) = self.pace(prompt, batch, cached);
        let n = count as f64;
        n * first + growth * (n * (n - 1.0) / 2.0)
    }

    /// The least number of iterations, from 1 to `count`, that take at least `elapsed_us`.
    pub(super) fn iterations_until(
        &self,
        prompt: u64,
        batch: u64,
        cached: u64,
        count: u64,
        elapsed_us: f64,
    ) -> u64 {
        let (first, growth) = self.pace(prompt, batch, cached);
        // growth/2 · n² + (first - growth/2) · n = elapsed, solved for n in the form that does not cancel.
        let half = first - growth / 2.0;
        let root = (half * half + 2.0 * growth * elapsed_us).max(0.0).sqrt();
        let mut n = ((2.0 * elapsed_us / (half + root)).ceil().max(1.0) as u64).min(count);
        while n > 1 && self.stretch_us(prompt, batch, cached, n - 1) >= elapsed_us {
            n -= 1;
        }
        while n < count && self.stretch_us(prompt, batch, cached, n) < elapsed_us {
            n += 1;
        }
        n
    }

    /// The length of the first iteration, and by how much each further one is longer.
    fn pace(&self, prompt: u64, batch: u64, cached: u64) -> (f64, f64) {
        (self.iteration_us(prompt, batch, cached), self.cached_us * (prompt + batch) as f64)
    }

    fn fixed_us(&self, prompt: u64, batch: u64) -> f64 {
        let arithmetic = self.token_us * (prompt + batch) as f64;
        self.host_us + self.weights_us.max(arithmetic) + self.per_sequence_us * batch as f64
    }
}
