//! The lives of replicas: started, brought up, drained, lost. What they serve is in `mod.rs`.

use super::account::{Life, usd_per_hour};
use super::cold_start::Parts;
use super::replica::{Replica, Running, Stage};
use super::server::Server;
use super::speed::Speed;
use super::{Service, Sim, cold_start::microseconds};
use crate::engine::{Event, NodeId, Phase, ReplicaId, TargetId};

/// The order of things that are due at the same time: by service, its deadlines first, then its replicas by ordinal.
pub(super) fn tie(id: ReplicaId) -> u64 {
    (u64::from(id.target.0) << 32) + u64::from(id.ordinal) + 1
}

impl Service {
    /// What a pool's randomness is drawn by.
    fn name_of(&self, pool: TargetId) -> String {
        let name = &self.input.name;
        match self.input.pools.as_slice() {
            [_] => name.clone(),
            pools => format!("{name}/{}", pools[(pool.0 - self.first.0) as usize]),
        }
    }

    /// The rank of a replica among equally loaded ones: by ordinal, then by pool.
    fn rank(&self, id: ReplicaId) -> u32 {
        let pools = self.input.pools.len() as u32;
        id.ordinal.saturating_mul(pools).saturating_add(id.target.0 - self.first.0)
    }
}

impl<I> Sim<I> {
    /// Begins to bring a replica up.
    pub(super) fn start(&mut self, id: ReplicaId, node: NodeId) {
        let index = self.service_of[id.target.index()] as usize;
        let service = &mut self.services[index];
        let Err(at) = service.replicas.binary_search_by_key(&id, |(id, _)| *id) else {
            return;
        };
        let Some(&machine_at) = self.observed.get(node.index()) else {
            let reason = "its node is gone".to_owned();
            self.events.push(Event::Replica(id, Phase::Failed { reason }));
            self.must_tell = true;
            return;
        };
        let machine = &self.fleet.machines[machine_at as usize];
        let needs = &service.input.needs;
        let parts = Parts::draw(
            &self.seed,
            &service.name_of(id.target),
            id.ordinal,
            &service.input.model,
            machine,
            needs.gpus,
            service.start_fails,
        );
        let too_large = machine
            .gpu
            .as_ref()
            .and_then(|gpu| Speed::new(&service.input.model, gpu, needs.gpus).err());
        let flaw = match too_large {
            Some(too_large) => Some(too_large.to_string()),
            None => parts.fails.then(|| "its start failed, as a fault asks".to_owned()),
        };
        if let Some(class) = self.class_of[machine_at as usize] {
            self.classes[class].used += needs.gpus;
        }
        service.account.starts();
        self.alive += 1;
        self.max_alive = self.max_alive.max(self.alive);
        service.starting += 1;
        let replica = Replica {
            id,
            node: machine_at,
            stage: Stage::Scheduled,
            parts,
            flaw,
            life: None,
            told_in_flight: 0,
            is_to_be_told: false,
        };
        let slot = match self.free_slots.pop() {
            Some(slot) => {
                self.replicas[slot as usize] = Some(replica);
                slot
            }
            None => {
                self.replicas.push(Some(replica));
                self.replicas.len() as u32 - 1
            }
        };
        service.replicas.insert(at, (id, slot));
        self.set_due(slot, self.now_us.saturating_add(parts.schedule_us));
    }

    /// Sends a replica on its way out.
    pub(super) fn drain(&mut self, id: ReplicaId) {
        let index = self.service_of[id.target.index()] as usize;
        let service = &mut self.services[index];
        let Ok(at) = service.replicas.binary_search_by_key(&id, |(id, _)| *id) else {
            return;
        };
        let slot = service.replicas[at].1;
        let replica = self.replicas[slot as usize].as_mut().expect("its service knows it");
        let until_us = self.now_us.saturating_add(service.grace_us);
        match std::mem::replace(&mut replica.stage, Stage::Scheduled) {
            Stage::Ready(running) => {
                service.gate.drain(self.now_us, running.handle);
                service.account.leaves();
                self.alive -= 1;
                service.draining += 1;
                let is_idle = service.gate.load_of(running.handle) == 0;
                replica.stage = Stage::Draining(running, until_us);
                if is_idle {
                    self.remove(slot, Phase::Gone);
                } else {
                    self.events.push(Event::Replica(id, Phase::Draining));
                    self.settle_due(slot);
                }
                self.poke(index);
            }
            Stage::Draining(running, until_us) => {
                replica.stage = Stage::Draining(running, until_us);
            }
            stage @ (Stage::Scheduled
            | Stage::Pulling
            | Stage::Opening
            | Stage::Reading
            | Stage::Initialising) => {
                replica.stage = stage;
                self.remove(slot, Phase::Gone);
            }
        }
    }

    /// What is due for a replica happens.
    pub(super) fn advance_replica(&mut self, slot: u32) {
        let now_us = self.now_us;
        let replica = self.replicas[slot as usize].as_mut().expect("what is due exists");
        let (id, node) = (replica.id, replica.node);
        let index = self.service_of[id.target.index()] as usize;
        let service = &mut self.services[index];
        let model = &service.input.model;
        match &mut replica.stage {
            Stage::Ready(running) | Stage::Draining(running, _) => {
                let mut ended = std::mem::take(&mut self.ended);
                running.advance(now_us, &mut ended);
                if !ended.is_empty() {
                    self.end(index, slot, &ended);
                    ended.clear();
                }
                self.ended = ended;
                self.settle_due(slot);
            }
            Stage::Scheduled => {
                replica.stage = Stage::Pulling;
                let machine = &self.fleet.machines[node as usize];
                let there_us = self.images.want(now_us, node, machine, model);
                self.tell(id, Phase::Pulling);
                self.set_due(slot, there_us);
            }
            Stage::Pulling => {
                replica.stage = Stage::Opening;
                let needs = &service.input.needs;
                let usd_per_hour = usd_per_hour(needs, &self.fleet.machines[node as usize]);
                replica.life = Some(Life { started_us: now_us, gpus: needs.gpus, usd_per_hour });
                let fixed_us = replica.parts.fixed_us;
                self.tell(id, Phase::Loading);
                self.set_due(slot, now_us.saturating_add(fixed_us));
            }
            Stage::Opening => {
                replica.stage = Stage::Reading;
                let load_gb_s = replica.parts.load_gb_s;
                let mut moved = Vec::new();
                self.transfers.begin(now_us, slot, node, model, load_gb_s, |slot, at_us| {
                    moved.push((slot, at_us));
                });
                moved.into_iter().for_each(|(slot, at_us)| self.set_due(slot, at_us));
            }
            Stage::Reading => {
                replica.stage = Stage::Initialising;
                let (flaw, init_us) = (replica.flaw.take(), replica.parts.init_us);
                self.stop_reading(slot);
                match flaw {
                    Some(reason) => self.remove(slot, Phase::Failed { reason }),
                    None => self.set_due(slot, now_us.saturating_add(init_us)),
                }
            }
            Stage::Initialising => {
                let handle = service.gate.replica_ready(now_us, service.rank(id));
                if service.slots.len() <= handle.index() {
                    service.slots.resize(handle.index() + 1, slot);
                }
                service.slots[handle.index()] = slot;
                service.starting -= 1;
                service.account.cold_starts += 1;
                let gpu = self.fleet.machines[node as usize].gpu.as_ref();
                let speed =
                    gpu.and_then(|gpu| Speed::new(model, gpu, service.input.needs.gpus).ok());
                let warm_us = microseconds(model.warm_s);
                let running = Running::new(handle, speed.map(Server::new), warm_us);
                replica.stage = Stage::Ready(running);
                self.changed_us = now_us;
                self.due.remove(self.services.len() as u32 + slot);
                self.tell(id, Phase::Ready);
                self.dispatch(index);
                self.poke(index);
            }
        }
    }

    /// A request at a replica is stopped there.
    pub(super) fn interrupt(
        &mut self,
        slot: u32,
        request: crate::gateway::RequestHandle,
        work: crate::trace::Work,
    ) {
        let replica = self.replicas[slot as usize].as_mut().expect("it holds a request");
        match &mut replica.stage {
            Stage::Ready(running) | Stage::Draining(running, _) => {
                running.give_up(self.now_us, request, work);
            }
            Stage::Scheduled
            | Stage::Pulling
            | Stage::Opening
            | Stage::Reading
            | Stage::Initialising => {}
        }
        self.told_soon(slot);
        self.settle_due(slot);
    }

    /// Plans what is due next for a replica that runs; one that drains is gone when it is empty or its grace is over.
    fn settle_due(&mut self, slot: u32) {
        let Some(replica) = &self.replicas[slot as usize] else { return };
        let next_us = match &replica.stage {
            Stage::Ready(running) => running.next_us(),
            Stage::Draining(running, until_us) => {
                let index = self.service_of[replica.id.target.index()];
                let gate = &self.services[index as usize].gate;
                if gate.load_of(running.handle) == 0 || *until_us <= self.now_us {
                    self.remove(slot, Phase::Gone);
                    return;
                }
                Some(running.next_us().unwrap_or(u64::MAX).min(*until_us))
            }
            Stage::Scheduled
            | Stage::Pulling
            | Stage::Opening
            | Stage::Reading
            | Stage::Initialising => return,
        };
        match next_us {
            Some(next_us) => self.set_due(slot, next_us),
            None => self.due.remove(self.services.len() as u32 + slot),
        }
    }

    /// A node is lost with everything on it, or is back.
    pub(super) fn move_node(&mut self, node: u32, is_back: bool) {
        if self.is_lost[node as usize] != is_back {
            return;
        }
        self.is_lost[node as usize] = !is_back;
        self.tell_nodes();
        if is_back {
            return;
        }
        self.images.forget(node);
        let mut lost: Vec<(ReplicaId, u32)> = (0..)
            .zip(&self.replicas)
            .filter_map(|(slot, replica)| Some((slot, replica.as_ref()?)))
            .filter(|(_, replica)| replica.node == node)
            .map(|(slot, replica)| (replica.id, slot))
            .collect();
        lost.sort_unstable();
        let name = &self.fleet.machines[node as usize].node.name;
        let reason = format!("node {name} was lost");
        for (_, slot) in lost {
            self.remove(slot, Phase::Failed { reason: reason.clone() });
        }
    }

    /// A replica is no more; requests that it still has fail.
    fn remove(&mut self, slot: u32, phase: Phase) {
        let Some(replica) = self.replicas[slot as usize].take() else { return };
        let now_us = self.now_us;
        let index = self.service_of[replica.id.target.index()] as usize;
        let service = &mut self.services[index];
        match &replica.stage {
            Stage::Ready(running) | Stage::Draining(running, _) => {
                service.gate.remove(now_us, running.handle);
                for request in running.requests() {
                    if service.gate.give_up(now_us, request).is_some() {
                        service.account.requests.failed += 1;
                        self.running -= 1;
                        self.requested_us = now_us;
                    }
                }
            }
            Stage::Scheduled
            | Stage::Pulling
            | Stage::Opening
            | Stage::Reading
            | Stage::Initialising => service.starting -= 1,
        }
        match &replica.stage {
            Stage::Draining(..) => service.draining -= 1,
            Stage::Ready(_)
            | Stage::Scheduled
            | Stage::Pulling
            | Stage::Opening
            | Stage::Reading
            | Stage::Initialising => {
                service.account.leaves();
                self.alive -= 1;
            }
        }
        if let Some(life) = &replica.life {
            service.account.ended(now_us, life);
        }
        if let Some(class) = self.class_of[replica.node as usize] {
            self.classes[class].used -= service.input.needs.gpus;
        }
        service.replicas.retain(|(_, at)| *at != slot);
        self.free_slots.push(slot);
        self.due.remove(self.services.len() as u32 + slot);
        self.stop_reading(slot);
        // A start that fails is tried again for ever; that alone does not keep a run going.
        if phase == Phase::Gone {
            self.changed_us = now_us;
        }
        self.tell(replica.id, phase);
        self.poke(index);
    }

    fn stop_reading(&mut self, slot: u32) {
        let mut moved = Vec::new();
        self.transfers.end(self.now_us, slot, |slot, at_us| moved.push((slot, at_us)));
        moved.into_iter().for_each(|(slot, at_us)| self.set_due(slot, at_us));
    }

    fn set_due(&mut self, slot: u32, at_us: u64) {
        let replica = self.replicas[slot as usize].as_ref().expect("what is due exists");
        self.due.set(self.services.len() as u32 + slot, (at_us, tie(replica.id)));
    }

    fn tell(&mut self, id: ReplicaId, phase: Phase) {
        self.events.push(Event::Replica(id, phase));
        self.must_tell = true;
    }
}
