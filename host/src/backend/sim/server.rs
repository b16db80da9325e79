//! A model server with continuous batching, as one replica runs it: which sequences run in each iteration, and when each ends.
//! It knows nothing of queues outside it, of cold starts or of other replicas.
//!
//! Iterations in which nothing joins or leaves are a *stretch*, computed in one go. A sequence that comes while a stretch runs
//! joins at the end of the iteration that it comes in. So there is an event for each sequence that joins, for each that ends, and
//! for each run of prompt chunks, and none for a token.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::speed::{CHUNK_TOKENS, Speed};

/// A request as its server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence<R> {
    pub(crate) request: R,
    pub(crate) prompt: u32,
    pub(crate) output: u32,
}

impl<R> Sequence<R> {
    /// Tokens in the cache, averaged over its life: what it counts for when it is let in.
    fn mean_tokens(&self) -> u64 {
        u64::from(self.prompt) + u64::from(self.output) / 2
    }
}

/// A sequence that writes a token in each iteration until the count of iterations is `ends`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Decoding<R> {
    ends: u64,
    request: R,
    prompt: u32,
    output: u32,
}

/// A sequence of whose prompt `left` tokens are still to be read.
#[derive(Clone, Copy, Debug)]
struct Reading<R> {
    sequence: Sequence<R>,
    left: u64,
}

/// Iterations in a row that are alike.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    begins_us: f64,
    ends_us: f64,
    iterations: u64,
    /// Prompt tokens that each of them reads.
    prompt: u64,
}

/// What a server runs.
#[derive(Clone, Debug)]
pub(crate) struct Server<R> {
    speed: Speed,
    /// Iterations since the server started.
    iterations: u64,
    stretch: Option<Stretch>,
    waiting: VecDeque<Sequence<R>>,
    reading: VecDeque<Reading<R>>,
    decoding: BinaryHeap<Reverse<Decoding<R>>>,
    /// Tokens in the cache.
    cached: u64,
    /// The sum of `mean_tokens` over those that read or decode.
    promised: u64,
    /// Given up; they leave at the end of the iteration that runs.
    given_up: Vec<R>,
}

impl<R: Copy + Ord> Server<R> {
    pub(crate) fn new(speed: Speed) -> Server<R> {
        Server {
            speed,
            iterations: 0,
            stretch: None,
            waiting: VecDeque::new(),
            reading: VecDeque::new(),
            decoding: BinaryHeap::new(),
            cached: 0,
            promised: 0,
            given_up: Vec::new(),
        }
    }

    /// Whether a sequence could ever run here: its prompt fits in the cache.
    pub(crate) fn could_hold(&self, sequence: &Sequence<R>) -> bool {
        u64::from(sequence.prompt) <= self.speed.cache_tokens
    }

    /// Takes a sequence in.
    pub(crate) fn join(&mut self, now_us: u64, mut sequence: Sequence<R>) {
        sequence.prompt = sequence.prompt.max(1);
        let is_next = self.waiting.is_empty() && self.has_room(&sequence);
        self.waiting.push_back(sequence);
        match self.stretch {
            None => self.begin(now_us as f64),
            // Those that come at the same moment begin together.
            Some(stretch) if stretch.begins_us >= now_us as f64 => self.begin(stretch.begins_us),
            // It changes nothing before it is let in, and nothing while the chunks of a long prompt fill every iteration.
            Some(stretch) if stretch.prompt == 0 && is_next => self.cut(now_us),
            Some(_) => {}
        }
    }

    /// A sequence is not wanted any more.
    pub(crate) fn give_up(&mut self, now_us: u64, request: R) {
        self.given_up.push(request);
        self.cut(now_us);
    }

    /// When something may end next.
    pub(crate) fn next_us(&self) -> Option<u64> {
        self.stretch.map(|stretch| stretch.ends_us.ceil() as u64)
    }

    /// Ends the stretch that runs, and begins the next. Sequences that ended go to `ended`, with the tokens they wrote.
    pub(crate) fn advance(&mut self, mut ended: impl FnMut(R, u32)) {
        let Some(stretch) = self.stretch.take() else { return };
        let Stretch { iterations, prompt, .. } = stretch;
        self.iterations += iterations;
        self.cached += iterations * (self.decoding.len() as u64 + prompt);
        self.read(iterations * prompt, &mut ended);
        while let Some(Reverse(first)) = self.decoding.peek()
            && first.ends <= self.iterations
        {
            let Reverse(Decoding { request, prompt, output, .. }) =
                self.decoding.pop().expect("it was there");
            self.leave(Sequence { request, prompt, output }, u64::from(output) - 1);
            ended(request, output);
        }
        if !self.given_up.is_empty() {
            self.let_go();
        }
        self.begin(stretch.ends_us);
    }

    /// Every sequence that is here.
    pub(super) fn requests(&self) -> impl Iterator<Item = R> {
        let waiting = self.waiting.iter().map(|sequence| sequence.request);
        let reading = self.reading.iter().map(|reading| reading.sequence.request);
        waiting.chain(reading).chain(self.decoding.iter().map(|Reverse(one)| one.request))
    }

    /// Sequences that read or decode.
    pub(crate) fn running(&self) -> usize {
        self.reading.len() + self.decoding.len()
    }

    /// Sequences that wait to be let in.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The part of the cache that is used, from 0 to 1.
    pub(crate) fn cache_use(&self) -> f64 {
        (self.cached as f64 / self.speed.cache_tokens.max(1) as f64).min(1.0)
    }

    /// Sequences whose prompts were read, with the tokens that each has written by then. Nothing may have been due before.
    pub(crate) fn written(&self, now_us: u64) -> impl Iterator<Item = (R, u32)> {
        let iterations = self.iterations + self.done(now_us);
        self.decoding.iter().map(move |Reverse(one)| {
            (one.request, one.output - one.ends.saturating_sub(iterations) as u32)
        })
    }

    /// When the iteration ends that runs then.
    pub(crate) fn next_token_us(&self, now_us: u64) -> Option<u64> {
        let stretch = self.stretch?;
        let (batch, next) = (self.decoding.len() as u64, self.done(now_us) + 1);
        let us = self.speed.stretch_us(stretch.prompt, batch, self.cached, next);
        Some((stretch.begins_us + us).min(stretch.ends_us).ceil() as u64)
    }

    /// Iterations of the stretch that runs which are over.
    fn done(&self, now_us: u64) -> u64 {
        let Some(Stretch { begins_us, iterations, prompt, .. }) = self.stretch else { return 0 };
        let elapsed_us = now_us as f64 - begins_us;
        if elapsed_us <= 0.0 {
            return 0;
        }
        let batch = self.decoding.len() as u64;
        let n = self.speed.iterations_until(prompt, batch, self.cached, iterations, elapsed_us);
        let is_over = self.speed.stretch_us(prompt, batch, self.cached, n) <= elapsed_us;
        n - u64::from(!is_over)
    }

    /// Lets in who may run and plans the iterations until something changes.
    fn begin(&mut self, now_us: f64) {
        while let Some(first) = self.waiting.front()
            && self.has_room(first)
        {
            let sequence = self.waiting.pop_front().expect("it was there");
            self.promised += sequence.mean_tokens();
            self.reading.push_back(Reading { sequence, left: u64::from(sequence.prompt) });
        }
        let until_end =
            self.decoding.peek().map_or(u64::MAX, |Reverse(first)| first.ends - self.iterations);
        let (iterations, prompt) = match self.reading.front() {
            None if self.decoding.is_empty() => return,
            None => (until_end, 0),
            Some(first) if first.left >= CHUNK_TOKENS => {
                ((first.left / CHUNK_TOKENS).min(until_end), CHUNK_TOKENS)
            }
            Some(_) => {
                let mut tokens = 0;
                for reading in &self.reading {
                    tokens += reading.left;
                    if tokens >= CHUNK_TOKENS {
                        break;
                    }
                }
                (1, tokens.min(CHUNK_TOKENS))
            }
        };
        let batch = self.decoding.len() as u64;
        let ends_us = now_us + self.speed.stretch_us(prompt, batch, self.cached, iterations);
        self.stretch = Some(Stretch { begins_us: now_us, ends_us, iterations, prompt });
    }

    /// Ends the stretch that runs with the iteration that runs.
    fn cut(&mut self, now_us: u64) {
        let Some(stretch) = &mut self.stretch else { return };
        if stretch.iterations == 1 {
            return;
        }
        let batch = self.decoding.len() as u64;
        let elapsed = now_us as f64 - stretch.begins_us;
        let Stretch { prompt, iterations, .. } = *stretch;
        let n = self.speed.iterations_until(prompt, batch, self.cached, iterations, elapsed);
        if n < iterations {
            stretch.iterations = n;
            stretch.ends_us =
                stretch.begins_us + self.speed.stretch_us(prompt, batch, self.cached, n);
        }
    }

    fn has_room(&self, sequence: &Sequence<R>) -> bool {
        let running = self.running();
        running == 0
            || (running < self.speed.max_sequences as usize
                && self.promised + sequence.mean_tokens() <= self.speed.cache_tokens)
    }

    /// `tokens` of prompts were read, in the order in which they came. Whose prompt is done has its first token too.
    fn read(&mut self, mut tokens: u64, ended: &mut impl FnMut(R, u32)) {
        while tokens > 0
            && let Some(first) = self.reading.front_mut()
        {
            if first.left > tokens {
                first.left -= tokens;
                return;
            }
            tokens -= first.left;
            let Reading { sequence, .. } = self.reading.pop_front().expect("it was there");
            let Sequence { request, prompt, output } = sequence;
            if output <= 1 {
                self.leave(sequence, 0);
                ended(request, output);
            } else {
                let ends = self.iterations + u64::from(output) - 1;
                self.decoding.push(Reverse(Decoding { ends, request, prompt, output }));
            }
        }
    }

    /// A sequence whose prompt was read and that wrote so many tokens to the cache leaves it.
    fn leave(&mut self, sequence: Sequence<R>, written: u64) {
        self.promised -= sequence.mean_tokens();
        self.cached -= u64::from(sequence.prompt) + written;
    }

    /// Those given up leave, wherever they are. Rare, and therefore plain.
    fn let_go(&mut self) {
        let given_up = std::mem::take(&mut self.given_up);
        self.waiting.retain(|sequence| !given_up.contains(&sequence.request));
        let mut reading = std::mem::take(&mut self.reading);
        reading.retain(|one| {
            let stays = !given_up.contains(&one.sequence.request);
            if !stays {
                self.promised -= one.sequence.mean_tokens();
                self.cached -= u64::from(one.sequence.prompt) - one.left;
            }
            stays
        });
        self.reading = reading;
        let mut decoding = std::mem::take(&mut self.decoding);
        decoding.retain(|Reverse(one)| {
            let stays = !given_up.contains(&one.request);
            if !stays {
                let Decoding { ends, request, prompt, output } = *one;
                let written = u64::from(output) - 1 - (ends - self.iterations);
                self.leave(Sequence { request, prompt, output }, written);
            }
            stays
        });
        self.decoding = decoding;
    }
}

#[cfg(test)]
mod tests;
