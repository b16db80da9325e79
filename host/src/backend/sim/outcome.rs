//! What a simulation came to, at any moment: sums, cost, use of the GPUs. Nothing here changes what happens.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::account::{self, Life};
use super::{Service, Sim};
use crate::backend::{Books, ClassUse};
use crate::definitions::node::Fleet;
use crate::ledger::Summary;
use crate::time::Time;

/// The classes of a fleet, sorted by name, and that of each of its machines.
pub(super) fn classes(fleet: &Fleet) -> (Vec<ClassUse>, Vec<Option<usize>>) {
    let mut gpus: BTreeMap<&str, u32> = BTreeMap::new();
    for machine in &fleet.machines {
        if let Some(gpu) = &machine.gpu {
            *gpus.entry(&gpu.name).or_default() += machine.node.allocatable.gpus;
        }
    }
    let position = |class: &str| gpus.keys().position(|known| *known == class);
    let class_of = fleet
        .machines
        .iter()
        .map(|machine| machine.gpu.as_ref().and_then(|gpu| position(&gpu.name)))
        .collect();
    let classes = gpus
        .iter()
        .map(|(class, gpus)| ClassUse { class: (*class).to_owned(), gpus: *gpus, used: 0 })
        .collect();
    (classes, class_of)
}

impl<I> Sim<I> {
    /// Now.
    pub fn at(&self) -> Time {
        Time(self.now_us / 1_000)
    }

    /// The sums of the service at that position until now. `panics` is the policies' to say, and 0.
    pub fn summary(&self, service: usize) -> Summary {
        let Service { account, gate, .. } = &self.services[service];
        let unfinished = u64::from(gate.waiting()) + u64::from(gate.in_flight());
        account.summary(self.now_us, unfinished, self.lives(service))
    }

    /// The sums over all services until now. `max_replicas` is of all together, and `panics` 0.
    pub fn whole_summary(&self) -> Summary {
        let mut whole = Summary::default();
        let mut waits = Histogram::new(3).expect("three digits are allowed");
        for (position, service) in self.services.iter().enumerate() {
            let one = self.summary(position);
            whole.requests.arrived += one.requests.arrived;
            whole.requests.served += one.requests.served;
            whole.requests.waited += one.requests.waited;
            whole.requests.expired += one.requests.expired;
            whole.requests.failed += one.requests.failed;
            whole.requests.unfinished += one.requests.unfinished;
            whole.cold_starts += one.cold_starts;
            whole.replica_minutes += one.replica_minutes;
            whole.gpu_minutes += one.gpu_minutes;
            whole.cost += one.cost;
            service.account.add_waits_to(&mut waits);
        }
        whole.max_replicas = self.max_alive;
        whole.wait_s = account::waits(&waits);
        whole
    }

    /// The containers of a service that run.
    fn lives(&self, service: usize) -> impl Iterator<Item = Life> {
        let replicas = self.services[service].replicas.iter();
        replicas.filter_map(|(_, slot)| self.replicas[*slot as usize].as_ref()?.life)
    }
}

impl<I> Books for Sim<I> {
    fn cost(&self, service: usize) -> f64 {
        self.services[service].account.cost(self.now_us, self.lives(service))
    }

    fn take_longest_wait_us(&self, service: usize) -> u64 {
        self.services[service].account.take_longest_wait_us()
    }

    fn classes(&self) -> &[ClassUse] {
        &self.classes
    }
}
