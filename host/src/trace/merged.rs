//! Several traces as one load.

use std::cmp::{Ordering, Reverse};
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::Path;
use std::sync::Arc;

use super::layout::Layout;
use super::rates::Rows;
use super::{Item, Items, TokenDistribution, Trace, TraceError, Work};
use crate::seed::Seed;

/// Several traces, all of which begin at the same moment. Services of the same name are one service.
#[derive(Clone, Debug)]
pub struct Merged {
    traces: Vec<Trace>,
    /// Sorted.
    services: Vec<String>,
}

impl Merged {
    /// Opens and checks all files.
    ///
    /// # Errors
    /// As [`Trace::open`] and [`Merged::of`].
    pub fn open<P: AsRef<Path>>(paths: &[P], seed: &Seed) -> Result<Merged, TraceError> {
        let traces: Result<_, _> =
            paths.iter().map(|path| Trace::open(path.as_ref(), seed)).collect();
        Merged::of(traces?)
    }

    /// Several traces as one load.
    ///
    /// # Errors
    /// If two tables hold rates of one service, since they would draw the same arrivals.
    pub fn of(traces: Vec<Trace>) -> Result<Merged, TraceError> {
        let mut services: Vec<String> =
            traces.iter().flat_map(|trace| trace.services.iter().cloned()).collect();
        services.sort();
        services.dedup();
        let mut rated: BTreeMap<&str, &Trace> = BTreeMap::new();
        for second in &traces {
            let Layout::Rates(columns) = &second.layout else { continue };
            for rate in &columns.rates {
                if let Some(first) = rated.insert(&rate.service, second) {
                    return Err(TraceError::RatesTwice {
                        first: first.shown.to_string(),
                        second: second.shown.to_string(),
                        service: rate.service.clone(),
                    });
                }
            }
        }
        Ok(Merged { traces, services })
    }

    /// As [`Trace::with_tokens`], in all traces.
    pub fn with_tokens(mut self, service: &str, tokens: TokenDistribution) -> Merged {
        self.traces =
            self.traces.into_iter().map(|trace| trace.with_tokens(service, tokens)).collect();
        self
    }

    /// The services of all traces, sorted by name.
    pub fn services(&self) -> &[String] {
        &self.services
    }

    /// When the last of them is over. Microseconds since the start.
    pub fn end_us(&self) -> u64 {
        self.traces.iter().map(Trace::end_us).max().unwrap_or(0)
    }

    /// The rows of all traces if they are all tables of rates, each with the positions of its services.
    pub(super) fn rates(
        &self,
    ) -> Option<impl Iterator<Item = Result<(Rows, Vec<usize>), TraceError>>> {
        let is_rates = |trace: &Trace| matches!(trace.layout, Layout::Rates(_));
        self.traces.iter().all(is_rates).then(|| {
            self.traces.iter().filter_map(|trace| {
                let positions = trace.services.iter().map(|name| {
                    let position = self.services.binary_search(name);
                    position.expect("the list is of all traces' services")
                });
                Some(trace.rates()?.map(|rows| (rows, positions.collect())))
            })
        })
    }

    /// All items in order of time. At the same microsecond they go by service, then by what they ask for, so that it does not
    /// matter in which order the files were given; the rows of one file keep their order.
    ///
    /// # Errors
    /// As [`Trace::items`].
    pub fn items(&self) -> MergedItems {
        let mut merged = MergedItems { files: Vec::new(), heads: BinaryHeap::new(), failed: None };
        for trace in &self.traces {
            let services = trace.services.iter().map(|name| {
                let position = self.services.binary_search(name);
                position.expect("the list is of all traces' services") as u32
            });
            merged.files.push(File { items: trace.items(), services: services.collect() });
        }
        for index in 0..merged.files.len() {
            match merged.files[index].next() {
                Some(Ok(item)) => merged.heads.push(Reverse(Head { item, file: index })),
                Some(Err(error)) => {
                    merged.failed.get_or_insert(error);
                }
                None => {}
            }
        }
        merged
    }
}

/// The items of several traces, in order of time.
pub struct MergedItems {
    files: Vec<File>,
    /// The next item of each file that has one.
    heads: BinaryHeap<Reverse<Head>>,
    /// An error ends it all: what follows would lack a file.
    failed: Option<TraceError>,
}

impl Iterator for MergedItems {
    type Item = Result<Item, TraceError>;

    fn next(&mut self) -> Option<Result<Item, TraceError>> {
        if let Some(error) = self.failed.take() {
            self.heads.clear();
            return Some(Err(error));
        }
        let mut head = self.heads.peek_mut()?;
        let Reverse(Head { item, file }) = *head;
        match self.files[file].next() {
            Some(Ok(item)) => *head = Reverse(Head { item, file }),
            Some(Err(error)) => {
                self.failed = Some(error);
                PeekMut::pop(head);
            }
            None => {
                PeekMut::pop(head);
            }
        }
        Some(Ok(item))
    }
}

struct File {
    items: Items,
    /// From its services to those of all.
    services: Arc<[u32]>,
}

impl Iterator for File {
    type Item = Result<Item, TraceError>;

    fn next(&mut self) -> Option<Result<Item, TraceError>> {
        let mut item = self.items.next()?;
        if let Ok(Item::Arrival { service, .. } | Item::Offered { service, .. }) = &mut item {
            *service = self.services[*service as usize];
        }
        Some(item)
    }
}

#[derive(Clone, Copy)]
struct Head {
    item: Item,
    file: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Head) -> Ordering {
        (self.item.at_us().cmp(&other.item.at_us()))
            .then_with(|| self.item.service().cmp(&other.item.service()))
            .then_with(|| asked(&self.item).cmp(&asked(&other.item)))
            .then_with(|| self.file.cmp(&other.file))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

/// What an item asks for, as something with an order. Concurrency is never negative, so its bits sort as it does.
fn asked(item: &Item) -> (u8, u64, u64) {
    match *item {
        Item::Arrival { work: Work::Tokens { prompt, output }, .. } => {
            (0, u64::from(prompt), u64::from(output))
        }
        Item::Arrival { work: Work::Duration(us), .. } => (1, us, 0),
        Item::Offered { concurrency, .. } => (2, concurrency.to_bits(), 0),
    }
}
