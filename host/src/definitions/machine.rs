//! A machine as it was found, as a fleet.

use std::collections::BTreeMap;

use super::gpu::{self, Listed};
use super::node::{Fleet, GpuClass, STORE_GB_S, machine, node};
use crate::engine::Resources;

/// What was found of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    /// Main memory. Bytes.
    pub memory_bytes: u64,
    /// Its GPUs, in the order of the driver.
    pub gpus: Vec<HostGpu>,
}

/// A GPU of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostGpu {
    /// What the driver calls it, as `NVIDIA A40`.
    pub product: String,
    /// Its memory. Bytes.
    pub memory_bytes: u64,
}

/// A machine as nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// One node; with GPUs of several classes one for each class, with its share of CPUs and memory.
    pub fleet: Fleet,
    /// Which of the machine's GPUs each node has, by the node's name. Positions, ascending.
    pub gpus_of: BTreeMap<String, Vec<usize>>,
    /// Products that are no known class. Their memory is known; for a simulation they are as fast as a T4.
    pub unknown: Vec<String>,
}

impl Host {
    /// The machine as nodes.
    pub fn found(&self) -> Found {
        let listed = gpu::builtin();
        let mut unknown = Vec::new();
        let mut classes: BTreeMap<String, (Listed, Vec<usize>)> = BTreeMap::new();
        for (position, gpu) in self.gpus.iter().enumerate() {
            let known = listed.iter().find(|class| class.is_called(&gpu.product.replace(' ', "-")));
            let class = known.cloned().unwrap_or_else(|| {
                if !unknown.contains(&gpu.product) {
                    unknown.push(gpu.product.clone());
                }
                Listed::own(unlisted(gpu, &listed))
            });
            let entry = classes.entry(class.class.name.clone()).or_insert((class, Vec::new()));
            entry.1.push(position);
        }
        let mut gpus_of = BTreeMap::new();
        let mut machines = Vec::new();
        let own = |name: String, cpu_milli, memory_bytes, gpus, class: Option<&Listed>| {
            let has = Resources { cpu_milli, memory_bytes, gpus };
            let mut one = node(name, has, class, BTreeMap::new());
            one.labels.insert("kubernetes.io/hostname".to_owned(), self.name.clone());
            let mut one = machine(one, class.map(|listed| listed.class.clone()));
            one.has_images = true;
            // A replica is a child process, which starts in no time.
            (one.schedule_s, one.image_there_s) = (0.0, 0.0);
            one
        };
        if classes.is_empty() {
            machines.push(own(self.name.clone(), self.cpu_milli, self.memory_bytes, 0, None));
        }
        let is_alone = classes.len() == 1;
        for (class, (listed, positions)) in classes {
            let name = if is_alone { self.name.clone() } else { format!("{}-{class}", self.name) };
            let share = |all: u64| {
                let part = u128::from(all) * positions.len() as u128 / self.gpus.len() as u128;
                part as u64
            };
            let gpus = u32::try_from(positions.len()).unwrap_or(u32::MAX);
            let (cpu, memory) = (share(self.cpu_milli), share(self.memory_bytes));
            let mut one = own(name.clone(), cpu, memory, gpus, Some(&listed));
            let least = positions.iter().map(|position| self.gpus[*position].memory_bytes).min();
            one.node.gpu_memory_bytes = least.unwrap_or(0);
            machines.push(one);
            gpus_of.insert(name, positions);
        }
        machines.sort_by(|one, other| one.node.name.cmp(&other.node.name));
        Found { fleet: Fleet { machines, store_gb_s: STORE_GB_S }, gpus_of, unknown }
    }
}

/// A class that is not in the table: slow, so that no simulation of it is better than it.
fn unlisted(gpu: &HostGpu, listed: &[Listed]) -> GpuClass {
    let slow = listed.iter().find(|class| class.is_called("T4")).expect("the table has the T4");
    let name = gpu.product.strip_prefix("NVIDIA ").unwrap_or(&gpu.product);
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    GpuClass {
        name: name.chars().map(plain).collect(),
        memory_gb: gpu.memory_bytes as f64 / 1e9,
        usd_per_gpu_hour: None,
        ..slow.class.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(gpus: &[(&str, u64)]) -> Found {
        let gpu = |(product, gb): &(&str, u64)| HostGpu {
            product: (*product).to_owned(),
            memory_bytes: gb * 1_000_000_000,
        };
        let gpus = gpus.iter().map(gpu).collect();
        let (cpu_milli, memory_bytes) = (16_000, 64 << 30);
        Host { name: "box".to_owned(), cpu_milli, memory_bytes, gpus }.found()
    }

    fn shown(found: &Found) -> String {
        let line = |machine: &super::super::node::Machine| {
            let node = &machine.node;
            format!(
                "{} {} {} m CPU, {} GiB, {} GPUs of {} GB at {:?}",
                node.name,
                node.gpu_class,
                node.allocatable.cpu_milli,
                node.allocatable.memory_bytes >> 30,
                node.allocatable.gpus,
                node.gpu_memory_bytes / 1_000_000_000,
                found.gpus_of.get(&node.name),
            )
        };
        found.fleet.machines.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_machine_is_a_node_for_each_class_of_its_gpus() {
        insta::assert_snapshot!(shown(&host(&[])), @"box  16000 m CPU, 64 GiB, 0 GPUs of 0 GB at None");
        insta::assert_snapshot!(shown(&host(&[("NVIDIA A40", 47), ("NVIDIA A40", 48)])), @"box A40 16000 m CPU, 64 GiB, 2 GPUs of 47 GB at Some([0, 1])");
        let mixed = host(&[
            ("NVIDIA GeForce RTX 4090", 24),
            ("NVIDIA GeForce RTX 3060", 12),
            ("NVIDIA GeForce RTX 4090", 24),
            ("Tesla T4", 15),
        ]);
        insta::assert_snapshot!(shown(&mixed), @r"
        box-GeForce_RTX_3060 GeForce_RTX_3060 4000 m CPU, 16 GiB, 1 GPUs of 12 GB at Some([1])
        box-RTX_4090 RTX_4090 8000 m CPU, 32 GiB, 2 GPUs of 24 GB at Some([0, 2])
        box-Tesla_T4 Tesla_T4 4000 m CPU, 16 GiB, 1 GPUs of 15 GB at Some([3])
        ");
        assert_eq!(mixed.unknown, ["NVIDIA GeForce RTX 3060"]);
        let labels = &mixed.fleet.machines[0].node.labels;
        assert_eq!(labels["gpu.nvidia.com/class"], "GeForce_RTX_3060");
        assert_eq!(labels["kubernetes.io/hostname"], "box");
    }
}
