//! What a replica goes through before it is ready: schedule, image, weights, engine; and the paths that replicas which load at
//! once share. The cold-start model of `docs/simulator.md`. It knows nothing of requests.

use std::collections::BTreeMap;

use crate::definitions::model::{LoadPath, Model};
use crate::definitions::node::{Fleet, Machine};
use crate::seed::Seed;

const SECOND_US: f64 = 1e6;
/// How much loads over a path of one's own vary: sigma of a lognormal with median 1.
const SIGMA_OWN: f64 = 0.05;
/// The same over a path that others use.
const SIGMA_SHARED: f64 = 0.2;
/// The part of loads over a shared path that are slow, and by how much: uniform between these.
const SLOW_PART: f64 = 0.1;
const SLOW_TIMES: (f64, f64) = (2.0, 4.5);

/// How long the parts of one cold start take that depend on nobody else. Microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Parts {
    pub(super) schedule_us: u64,
    /// From the loader's start to its first byte.
    pub(super) fixed_us: u64,
    /// How fast it reads at most. GB/s.
    pub(super) load_gb_s: f64,
    /// Engine and compilation.
    pub(super) init_us: u64,
    /// It fails once its weights are there.
    pub(super) fails: bool,
}

impl Parts {
    /// Draws a cold start of the replica `ordinal` of a service. How long loading takes varies as measured loads do: the loader
    /// is slower or faster by a factor, which its share of a path is not.
    pub(super) fn draw(
        seed: &Seed,
        service: &str,
        ordinal: u32,
        model: &Model,
        machine: &Machine,
        gpus: u32,
        fail_probability: f64,
    ) -> Parts {
        let mut draws = seed.draws("load-time", service, u64::from(ordinal));
        let factor = match model.loader.path {
            LoadPath::SharedStore => {
                let usual = draws.lognormal(SIGMA_SHARED);
                let is_slow = draws.uniform() < SLOW_PART;
                let slow = SLOW_TIMES.0 + (SLOW_TIMES.1 - SLOW_TIMES.0) * draws.uniform();
                if is_slow { usual * slow } else { usual }
            }
            LoadPath::NodeDisk | LoadPath::NodeMemory => draws.lognormal(SIGMA_OWN),
        };
        let gpu_link = machine
            .gpu
            .as_ref()
            .map_or(f64::INFINITY, |gpu| gpu.host_link_gb_s * f64::from(gpus.max(1)));
        let fails = fail_probability > 0.0
            && seed.draws("start-fails", service, u64::from(ordinal)).uniform() < fail_probability;
        Parts {
            schedule_us: microseconds(machine.schedule_s),
            fixed_us: microseconds(model.loader.fixed_s * factor),
            load_gb_s: (model.loader.gb_s / factor).min(gpu_link),
            init_us: microseconds(model.engine_s + model.compile_s),
            fails,
        }
    }
}

/// Images on nodes. A second replica that wants an image while it is pulled waits for the same pull.
#[derive(Clone, Debug, Default)]
pub(super) struct Images(BTreeMap<(u32, String), u64>);

impl Images {
    /// When the image of `model` is on the node, if it is wanted from `now_us` on.
    pub(super) fn want(&mut self, now_us: u64, node: u32, machine: &Machine, model: &Model) -> u64 {
        let there_us = now_us.saturating_add(microseconds(machine.image_there_s));
        if machine.has_images || model.image_gb <= 0.0 {
            return there_us;
        }
        let pulled_us = *self.0.entry((node, model.name.clone())).or_insert_with(|| {
            now_us.saturating_add(microseconds(model.image_gb / machine.pull_gb_s))
        });
        pulled_us.max(there_us)
    }

    /// A node is gone, and with it what was on its disk.
    pub(super) fn forget(&mut self, node: u32) {
        self.0.retain(|(at, _), _| *at != node);
    }
}

/// Seconds as whole microseconds.
pub(super) fn microseconds(seconds: f64) -> u64 {
    (seconds * SECOND_US).round() as u64
}

/// Weights on their way. Those that come over one path share it: of `n`, each gets what its loader can do, at most an `n`th.
#[derive(Clone, Debug)]
pub(super) struct Transfers {
    store_gb_s: f64,
    /// Of each node: its link and its disk.
    nodes: Vec<NodePaths>,
    list: Vec<Transfer>,
    over_store: u32,
    at_us: u64,
}

#[derive(Clone, Copy, Debug)]
struct NodePaths {
    link_gb_s: f64,
    over_link: u32,
    disk_gb_s: f64,
    over_disk: u32,
}

#[derive(Clone, Copy, Debug)]
struct Transfer {
    replica: u32,
    node: u32,
    path: LoadPath,
    most_gb_s: f64,
    now_gb_s: f64,
    left_gb: f64,
}

impl Transfers {
    pub(super) fn new(fleet: &Fleet) -> Transfers {
        let paths = |machine: &Machine| NodePaths {
            link_gb_s: machine.link_gb_s,
            over_link: 0,
            disk_gb_s: machine.disk_gb_s,
            over_disk: 0,
        };
        Transfers {
            store_gb_s: fleet.store_gb_s,
            nodes: fleet.machines.iter().map(paths).collect(),
            list: Vec::new(),
            over_store: 0,
            at_us: 0,
        }
    }

    /// A replica begins to read; `retime` is told of every replica whose end that moves, its own among them.
    pub(super) fn begin(
        &mut self,
        now_us: u64,
        replica: u32,
        node: u32,
        model: &Model,
        most_gb_s: f64,
        retime: impl FnMut(u32, u64),
    ) {
        self.run(now_us);
        let path = model.loader.path;
        let left_gb = model.weights_gb;
        self.list.push(Transfer { replica, node, path, most_gb_s, now_gb_s: 0.0, left_gb });
        self.count(node, path, 1);
        self.share(retime);
    }

    /// A replica has read everything, or is no more.
    pub(super) fn end(&mut self, now_us: u64, replica: u32, retime: impl FnMut(u32, u64)) {
        let Some(at) = self.list.iter().position(|one| one.replica == replica) else { return };
        self.run(now_us);
        let Transfer { node, path, .. } = self.list.remove(at);
        self.count(node, path, -1);
        self.share(retime);
    }

    fn count(&mut self, node: u32, path: LoadPath, change: i32) {
        let node = &mut self.nodes[node as usize];
        let add = |count: &mut u32| {
            *count = count.checked_add_signed(change).expect("only what began ends");
        };
        match path {
            LoadPath::SharedStore => {
                add(&mut self.over_store);
                add(&mut node.over_link);
            }
            LoadPath::NodeDisk => add(&mut node.over_disk),
            LoadPath::NodeMemory => {}
        }
    }

    fn run(&mut self, now_us: u64) {
        let seconds = now_us.saturating_sub(self.at_us) as f64 / SECOND_US;
        self.at_us = now_us;
        for one in &mut self.list {
            one.left_gb = (one.left_gb - one.now_gb_s * seconds).max(0.0);
        }
    }

    fn share(&mut self, mut retime: impl FnMut(u32, u64)) {
        for one in &mut self.list {
            let node = &self.nodes[one.node as usize];
            let path = match one.path {
                LoadPath::SharedStore => (self.store_gb_s / f64::from(self.over_store))
                    .min(node.link_gb_s / f64::from(node.over_link)),
                LoadPath::NodeDisk => node.disk_gb_s / f64::from(node.over_disk),
                LoadPath::NodeMemory => f64::INFINITY,
            };
            one.now_gb_s = one.most_gb_s.min(path);
            let seconds = if one.left_gb > 0.0 { one.left_gb / one.now_gb_s } else { 0.0 };
            retime(one.replica, self.at_us.saturating_add((seconds * SECOND_US).ceil() as u64));
        }
    }
}
