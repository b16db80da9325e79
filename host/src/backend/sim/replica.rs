//! One replica of the simulator: where it is in its life, and what it runs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::account::Life;
use super::cold_start::Parts;
use super::server::{Sequence, Server};
use crate::engine::ReplicaId;
use crate::gateway::{ReplicaHandle, RequestHandle};
use crate::trace::Work;

/// Where a replica is in its life.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// On its way to its node.
    Scheduled,
    /// Its node fetches the image.
    Pulling,
    /// Its loader starts.
    Opening,
    /// It reads its weights.
    Reading,
    /// Its engine starts.
    Initialising,
    /// It takes requests.
    Ready(Running),
    /// It ends those it has, until then at the latest.
    Draining(Running, u64),
}

/// A replica with everything that its backend knows of it.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) id: ReplicaId,
    /// Position of its node in the fleet.
    pub(super) node: u32,
    pub(super) stage: Stage,
    pub(super) parts: Parts,
    /// Why it will fail when its weights are there.
    pub(super) flaw: Option<String>,
    /// From its container's start on.
    pub(super) life: Option<Life>,
    /// The number of requests that the engine was last told, and whether it is to be told again.
    pub(super) told_in_flight: u32,
    pub(super) is_to_be_told: bool,
}

/// What a replica runs that is ready.
#[derive(Clone, Debug)]
pub(super) struct Running {
    /// Its name at the gate.
    pub(super) handle: ReplicaHandle,
    /// `None` on a node without GPUs.
    pub(super) server: Option<Server<RequestHandle>>,
    /// Requests that take so long whatever else runs, by when they end.
    timed: BinaryHeap<Reverse<(u64, RequestHandle)>>,
    /// The first request, held until then by what only the first has to wait for.
    held: Option<(u64, Sequence<RequestHandle>)>,
    /// How long that is. Microseconds; 0 once it was.
    warm_us: u64,
}

impl Running {
    pub(super) fn new(
        handle: ReplicaHandle,
        server: Option<Server<RequestHandle>>,
        warm_us: u64,
    ) -> Running {
        Running { handle, server, timed: BinaryHeap::new(), held: None, warm_us }
    }

    /// Takes a request in. Whether it can run here at all.
    pub(super) fn accept(&mut self, now_us: u64, request: RequestHandle, work: Work) -> bool {
        match work {
            Work::Duration(duration_us) => {
                let warm_us = std::mem::take(&mut self.warm_us);
                let ends_us = now_us.saturating_add(warm_us).saturating_add(duration_us);
                self.timed.push(Reverse((ends_us, request)));
                true
            }
            Work::Tokens { prompt, output } => {
                let Some(server) = &mut self.server else { return false };
                let sequence = Sequence { request, prompt, output };
                if !server.could_hold(&sequence) {
                    return false;
                }
                match std::mem::take(&mut self.warm_us) {
                    0 => server.join(now_us, sequence),
                    warm_us => self.held = Some((now_us.saturating_add(warm_us), sequence)),
                }
                true
            }
        }
    }

    /// A request is not wanted any more.
    pub(super) fn give_up(&mut self, now_us: u64, request: RequestHandle, work: Work) {
        match work {
            Work::Duration(_) => self.timed.retain(|Reverse((_, one))| *one != request),
            Work::Tokens { .. } => {
                if self.held.is_some_and(|(_, held)| held.request == request) {
                    self.held = None;
                } else if let Some(server) = &mut self.server {
                    server.give_up(now_us, request);
                }
            }
        }
    }

    /// When something may end next.
    pub(super) fn next_us(&self) -> Option<u64> {
        let timed = self.timed.peek().map(|Reverse((ends_us, _))| *ends_us);
        let held = self.held.map(|(until_us, _)| until_us);
        let server = self.server.as_ref().and_then(Server::next_us);
        [timed, held, server].into_iter().flatten().min()
    }

    /// Runs on to `now_us`. Those that ended go to `ended`.
    pub(super) fn advance(&mut self, now_us: u64, ended: &mut Vec<RequestHandle>) {
        while let Some(Reverse((ends_us, request))) = self.timed.peek()
            && *ends_us <= now_us
        {
            ended.push(*request);
            self.timed.pop();
        }
        let Some(server) = &mut self.server else { return };
        while server.next_us().is_some_and(|next_us| next_us <= now_us) {
            server.advance(|request, _| ended.push(request));
        }
        if let Some((until_us, sequence)) = self.held
            && until_us <= now_us
        {
            self.held = None;
            server.join(now_us, sequence);
        }
    }

    /// Every request that is here.
    pub(super) fn requests(&self) -> impl Iterator<Item = RequestHandle> {
        let timed = self.timed.iter().map(|Reverse((_, request))| *request);
        let held = self.held.iter().map(|(_, sequence)| sequence.request);
        timed.chain(held).chain(self.server.iter().flat_map(Server::requests))
    }
}
