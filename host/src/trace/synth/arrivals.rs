//! Arrivals of a shape. The expected number of arrivals is summed over short stretches of even rate, and the next one comes when that
//! sum has grown by its gap: drawn from an exponential distribution it is a Poisson process, and always 1 it is even.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::{Arrivals, Asks, Part, Synth};
use crate::seed::{Draws, Seed};
use crate::trace::Item;

/// The arrivals of all services, in order of time; at the same microsecond by service, then by part.
pub(super) struct Drawn {
    streams: Vec<Stream>,
    /// The next arrival of each stream that has one.
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Drawn {
    pub(super) fn new(synth: &Synth, seed: &Seed) -> Drawn {
        let mut streams = Vec::new();
        for (service, (name, load)) in (0..).zip(&synth.services) {
            let asks = Asks::of(load.prompt, load.output, load.duration)
                .expect("a load checks what its services ask for");
            let parts = load.shape.parts();
            let mut add = |parts: &[Part], ordinal, arrivals| {
                let draws = |purpose| seed.draws(purpose, name, ordinal);
                let gaps = match arrivals {
                    Arrivals::Poisson => Some(draws("synth-arrivals")),
                    Arrivals::Even => None,
                };
                streams.push(Stream {
                    service,
                    parts: parts.to_vec(),
                    end_us: synth.length.us(),
                    from_us: 0,
                    to_us: 0,
                    per_us: 0.0,
                    into_us: 0.0,
                    due: 0.0,
                    gaps,
                    asks,
                    prompts: draws("synth-prompts"),
                    outputs: draws("synth-outputs"),
                });
            };
            match load.arrivals {
                // The sum of two Poisson processes is one, so each part has its own and knows nothing of the others.
                Arrivals::Poisson => {
                    for (ordinal, part) in (0..).zip(parts) {
                        add(std::slice::from_ref(part), ordinal, Arrivals::Poisson);
                    }
                }
                Arrivals::Even => add(parts, 0, Arrivals::Even),
            }
        }
        let mut drawn = Drawn { streams, next: BinaryHeap::new() };
        for (index, stream) in drawn.streams.iter_mut().enumerate() {
            // Even arrivals begin with half a gap, so that a second of 5 requests/s has 5.
            stream.due = stream.gaps.as_mut().map_or(0.5, |gaps| gaps.exponential(1.0));
            drawn.next.extend(stream.next_us().map(|at_us| Reverse((at_us, index))));
        }
        drawn
    }
}

impl Iterator for Drawn {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let mut head = self.next.peek_mut()?;
        let Reverse((at_us, index)) = *head;
        let stream = &mut self.streams[index];
        let work = stream.asks.draw(&mut stream.prompts, &mut stream.outputs);
        let service = stream.service;
        stream.due = stream.gaps.as_mut().map_or(1.0, |gaps| gaps.exponential(1.0));
        match stream.next_us() {
            Some(later_us) => *head = Reverse((later_us, index)),
            None => {
                PeekMut::pop(head);
            }
        }
        Some(Item::Arrival { at_us, service, work })
    }
}

/// The arrivals of some parts of one service's shape.
struct Stream {
    service: u32,
    parts: Vec<Part>,
    /// When the load is over.
    end_us: u64,
    /// A stretch of even rate, which is per microsecond, and how far into it this is.
    from_us: u64,
    to_us: u64,
    per_us: f64,
    into_us: f64,
    /// Expected arrivals until the next one.
    due: f64,
    /// Nothing: all gaps are 1.
    gaps: Option<Draws>,
    asks: Asks,
    prompts: Draws,
    outputs: Draws,
}

impl Stream {
    fn next_us(&mut self) -> Option<u64> {
        loop {
            let length_us = (self.to_us - self.from_us) as f64;
            let expected = self.per_us * (length_us - self.into_us);
            if self.due < expected {
                self.into_us += self.due / self.per_us;
                // Rounding may reach the end of the stretch, which belongs to the next.
                let whole_us = (self.into_us as u64).min(self.to_us - self.from_us - 1);
                return Some(self.from_us + whole_us);
            }
            self.due -= expected;
            if self.to_us >= self.end_us {
                return None;
            }
            self.begin(self.to_us);
        }
    }

    /// Goes to the stretch that begins at `from_us`.
    fn begin(&mut self, from_us: u64) {
        let until = self.parts.iter().map(|part| part.even_until(from_us)).min();
        self.from_us = from_us;
        self.to_us = until.unwrap_or(u64::MAX).min(self.end_us);
        // What is curved is taken as even at the rate in the middle.
        let middle_us = from_us + (self.to_us - from_us) / 2;
        self.per_us = self.parts.iter().map(|part| part.rate_at(middle_us)).sum::<f64>() / 1e6;
        self.into_us = 0.0;
    }
}
