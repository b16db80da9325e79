//! Nodes and GPU classes: what the fleet is made of, what it costs, and how fast it is. It knows nothing of services.

use std::collections::BTreeMap;
use std::path::Path;

use super::fault::{DefinitionError, Warning, read_text};
use super::field::{At, Notes, Unknown, is_ours};
use super::gpu::{self, Listed};
use super::quantity::Quantity;
use super::{openb, tree};
use crate::engine::{Node, Resources, Taint, TaintEffect};

/// The machines that replicas run on.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// Sorted by name, names unique.
    pub machines: Vec<Machine>,
    /// What the store of weights that all nodes share gives in all. GB/s.
    pub store_gb_s: f64,
}

/// A node, and what only the simulator and the bill need to know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// As the engine knows it.
    pub node: Node,
    /// The class of its GPUs; `None` without GPUs.
    pub gpu: Option<GpuClass>,
    /// Its link to the shared store. GB/s.
    pub link_gb_s: f64,
    /// Its own disk. GB/s.
    pub disk_gb_s: f64,
    /// How fast it pulls images. GB of compressed image a second.
    pub pull_gb_s: f64,
    /// Whether images of servers are there already.
    pub has_images: bool,
    /// From the plan to a container that may start: bind, sandbox, device plugin. Seconds.
    pub schedule_s: f64,
    /// What an image takes that is there already. Seconds.
    pub image_there_s: f64,
    /// Price of a vCPU. US dollars an hour.
    pub usd_per_vcpu_hour: f64,
    /// Price of memory. US dollars an hour for a GB.
    pub usd_per_memory_gb_hour: f64,
}

/// A class of GPUs.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuClass {
    /// The value of the label `gpu.nvidia.com/class`, as `A40`.
    pub name: String,
    /// Memory of one. GB.
    pub memory_gb: f64,
    /// Memory bandwidth that a server gets. TB/s, the same as GB/ms.
    pub bandwidth_tb_s: f64,
    /// Dense half-precision arithmetic that a server gets. TFLOP/s.
    pub tflops: f64,
    /// The link between node and GPU. GB/s.
    pub host_link_gb_s: f64,
    /// Price of one. US dollars an hour; `None`: not known.
    pub usd_per_gpu_hour: Option<f64>,
}

/// The fleet that is part of the program.
const BUILTIN: &str = include_str!("../../../fixtures/nodes/default.yaml");
const BUILTIN_FILE: &str = "fixtures/nodes/default.yaml";

/// CoreWeave's prices of 2023 for what comes with a GPU.
const USD_PER_VCPU_HOUR: f64 = 0.010;
const USD_PER_MEMORY_GB_HOUR: f64 = 0.005;
/// 40 GbE.
const LINK_GB_S: f64 = 5.0;
/// A store that gives one such link in all.
pub(super) const STORE_GB_S: f64 = 5.0;
/// An NVMe disk on four PCIe 4 lanes. Assumed.
const DISK_GB_S: f64 = 7.0;
/// containerd with compressed images: 0.02 to 0.08 are reported.
const PULL_GB_S: f64 = 0.05;
/// On Kubernetes. Assumed: `docs/simulator.md` says what follows of it.
const SCHEDULE_S: f64 = 2.5;
const IMAGE_THERE_S: f64 = 0.5;

impl Fleet {
    /// The fleet that is part of the program: A40, RTX A5000 and A100 nodes.
    pub fn builtin() -> Fleet {
        Fleet::parse(BUILTIN, BUILTIN_FILE).expect("a test reads the built-in fleet").0
    }

    /// Reads a fleet: our own YAML, or the node list of the openb trace, which is known by its header.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, has unknown or missing keys, values out of range, or an unknown class of GPUs.
    pub fn read(path: &Path) -> Result<(Fleet, Vec<Warning>), DefinitionError> {
        let (text, file) = read_text(path)?;
        Fleet::parse(&text, &file)
    }

    /// The same from a text; `file` is what messages call it.
    ///
    /// # Errors
    ///
    /// When anything in it is wrong; all faults are told.
    pub fn parse(text: &str, file: &str) -> Result<(Fleet, Vec<Warning>), DefinitionError> {
        if openb::is_openb(text) {
            return openb::parse(text, file);
        }
        let (documents, notes) = tree::parse(text, file)?;
        let mut reading = Reading { classes: gpu::builtin(), machines: Vec::new(), notes };
        let mut store_gb_s = STORE_GB_S;
        match documents.as_slice() {
            [document] => store_gb_s = reading.document(&At::root(document)),
            [] => reading.notes.fault(1, "the file", "empty", "a document of kind Nodes"),
            [_, second, ..] => reading.notes.fault(
                second.line,
                "the file",
                "more than one document",
                "one of kind Nodes",
            ),
        }
        fleet(reading.machines, store_gb_s, reading.notes)
    }
}

/// Puts a fleet together: sorted, names unique, and not empty.
pub(super) fn fleet(
    machines: Vec<(u64, Machine)>,
    store_gb_s: f64,
    mut notes: Notes<'_>,
) -> Result<(Fleet, Vec<Warning>), DefinitionError> {
    let mut lines: BTreeMap<&str, u64> = BTreeMap::new();
    for (line, machine) in &machines {
        if let Some(first) = lines.insert(&machine.node.name, *line) {
            let found = format!("{}, which line {first} has too", machine.node.name);
            notes.fault(*line, "the node's name", found, "a name that no other node has");
        }
    }
    if machines.is_empty() && notes.faults.is_empty() {
        notes.fault(1, "the file", "without nodes", "at least one node");
    }
    let mut machines: Vec<Machine> = machines.into_iter().map(|(_, machine)| machine).collect();
    machines.sort_by(|one, other| one.node.name.cmp(&other.node.name));
    notes.or(Fleet { machines, store_gb_s })
}

/// A machine of which only what the simulator and the bill need has to be said.
pub(super) fn machine(node: Node, gpu: Option<GpuClass>) -> Machine {
    Machine {
        node,
        gpu,
        link_gb_s: LINK_GB_S,
        disk_gb_s: DISK_GB_S,
        pull_gb_s: PULL_GB_S,
        has_images: false,
        schedule_s: SCHEDULE_S,
        image_there_s: IMAGE_THERE_S,
        usd_per_vcpu_hour: USD_PER_VCPU_HOUR,
        usd_per_memory_gb_hour: USD_PER_MEMORY_GB_HOUR,
    }
}

/// A node with the labels that its machine would have anyway; those that are given win.
pub(super) fn node(
    name: String,
    allocatable: Resources,
    class: Option<&Listed>,
    mut labels: BTreeMap<String, String>,
) -> Node {
    let mut usual = vec![("kubernetes.io/hostname", name.clone())];
    if let Some(listed) = class {
        usual.push(("gpu.nvidia.com/class", listed.class.name.clone()));
        usual.push(("gpu.nvidia.com/vram", format!("{:.0}", listed.class.memory_gb)));
        usual.push(("gpu.nvidia.com/count", allocatable.gpus.to_string()));
        usual.push(("nvidia.com/gpu.count", allocatable.gpus.to_string()));
        if !listed.product.is_empty() {
            usual.push(("nvidia.com/gpu.product", listed.product.clone()));
        }
    }
    for (key, value) in usual {
        labels.entry(key.to_owned()).or_insert(value);
    }
    let class = class.map(|listed| &listed.class);
    Node {
        name,
        labels,
        taints: Vec::new(),
        allocatable,
        gpu_memory_bytes: class.map_or(0, |class| (class.memory_gb * 1e9) as u64),
        gpu_class: class.map_or(String::new(), |class| class.name.clone()),
        usd_per_gpu_hour: class.and_then(|class| class.usd_per_gpu_hour),
        is_spot: false,
    }
}

/// What reading our own form has come to.
struct Reading<'f> {
    classes: Vec<Listed>,
    /// With the line of each.
    machines: Vec<(u64, Machine)>,
    notes: Notes<'f>,
}

impl Reading<'_> {
    /// Reads a document; what the store gives, GB/s.
    fn document(&mut self, document: &At<'_>) -> f64 {
        let known = ["apiVersion", "kind", "store", "gpuClasses", "nodes"];
        let Some(fields) = document.fields(&known, Unknown::Refused, &mut self.notes) else {
            return STORE_GB_S;
        };
        if !is_ours(&fields, "Nodes", &mut self.notes) {
            return STORE_GB_S;
        }
        for at in fields.get("gpuClasses").map_or(Vec::new(), |at| at.items(&mut self.notes)) {
            if let Some(class) = self.class(&at) {
                self.classes.retain(|listed| listed.class.name != class.name);
                self.classes.push(Listed::own(class));
            }
        }
        if let Some(nodes) = fields.need("nodes", "a list of nodes", &mut self.notes) {
            let items = nodes.items(&mut self.notes);
            if items.is_empty() && nodes.is_list() {
                nodes.refuse(&mut self.notes, "at least one node");
            }
            items.iter().for_each(|at| self.nodes(at));
        }
        fields
            .get("store")
            .and_then(|at| at.fields(&["gbPerSecond"], Unknown::Refused, &mut self.notes))
            .map_or(STORE_GB_S, |store| store.rate_or("gbPerSecond", STORE_GB_S, &mut self.notes))
    }

    fn class(&mut self, at: &At<'_>) -> Option<GpuClass> {
        let known = [
            "name",
            "memoryGb",
            "bandwidthTbPerSecond",
            "tflops",
            "hostLinkGbPerSecond",
            "usdPerGpuHour",
        ];
        let notes = &mut self.notes;
        let fields = at.fields(&known, Unknown::Refused, notes)?;
        let name = fields.need("name", "a name", notes).and_then(|at| at.text(notes));
        let mut number = |key| {
            let at = fields.need(key, "a number above 0", notes)?;
            at.number(false, notes)
        };
        let (memory, bandwidth, tflops) =
            (number("memoryGb"), number("bandwidthTbPerSecond"), number("tflops"));
        Some(GpuClass {
            name: name?.to_owned(),
            memory_gb: memory?,
            bandwidth_tb_s: bandwidth?,
            tflops: tflops?,
            host_link_gb_s: fields.rate_or("hostLinkGbPerSecond", 25.0, notes),
            usd_per_gpu_hour: fields.get("usdPerGpuHour").and_then(|at| at.number(true, notes)),
        })
    }

    fn nodes(&mut self, at: &At<'_>) {
        let known = [
            "name",
            "count",
            "labels",
            "taints",
            "cpu",
            "memory",
            "gpus",
            "gpuClass",
            "usdPerGpuHour",
            "linkGbPerSecond",
            "diskGbPerSecond",
            "pullGbPerSecond",
            "hasImages",
            "scheduleSeconds",
            "imageThereSeconds",
            "usdPerVcpuHour",
            "usdPerMemoryGbHour",
            "spot",
        ];
        let notes = &mut self.notes;
        let Some(fields) = at.fields(&known, Unknown::Refused, notes) else { return };
        let name = fields.need("name", "a name", notes).and_then(|at| at.text(notes));
        let count = fields.get("count").map(|at| {
            let count = at.count(1, notes);
            if count.is_some_and(|count| count > NODES_AT_MOST) {
                at.refuse(notes, format!("at most {NODES_AT_MOST}"));
            }
            count.filter(|count| *count <= NODES_AT_MOST)
        });
        let cpu = fields.need("cpu", "a quantity, as 96", notes);
        let cpu = cpu.and_then(|at| at.amount(Quantity::milli, notes));
        let memory = fields.need("memory", "a quantity, as 512Gi", notes);
        let memory = memory.and_then(|at| at.amount(Quantity::units, notes));
        let gpus = fields.or("gpus", 0, notes, |at, notes| {
            let gpus = at.count(0, notes)?;
            if gpus > GPUS_AT_MOST {
                at.refuse(notes, format!("at most {GPUS_AT_MOST}"));
            }
            (gpus <= GPUS_AT_MOST).then_some(gpus)
        });
        let mut class = None;
        match (gpus, fields.get("gpuClass")) {
            (0, Some(at)) => at.refuse(notes, "nothing, unless there are gpus"),
            (0, None) => {}
            (_, None) => {
                fields.need("gpuClass", "a class, as A40", notes);
            }
            (_, Some(at)) => {
                let name = at.text(notes).unwrap_or("");
                class = self.classes.iter().find(|listed| listed.is_called(name)).cloned();
                if class.is_none() && !name.is_empty() {
                    at.refuse(notes, gpu::expected(&self.classes, name));
                }
            }
        }
        let mut labels = BTreeMap::new();
        for (key, at) in fields.get("labels").map_or(Vec::new(), |at| at.entries(notes)) {
            if let Some(value) = at.scalar(notes) {
                labels.insert(key.to_owned(), value.to_owned());
            }
        }
        let taints = fields.get("taints").map_or(Vec::new(), |at| at.items(notes));
        let taints = taints.iter().filter_map(|at| taint(at, notes)).collect();
        let mut pattern = machine(
            node(
                name.unwrap_or("").to_owned(),
                Resources { cpu_milli: cpu.unwrap_or(0), memory_bytes: memory.unwrap_or(0), gpus },
                class.as_ref(),
                labels,
            ),
            class.map(|listed| listed.class),
        );
        pattern.node.taints = taints;
        pattern.node.is_spot = fields.or("spot", false, notes, |at, notes| at.flag(notes));
        pattern.node.usd_per_gpu_hour = fields
            .get("usdPerGpuHour")
            .map_or(pattern.node.usd_per_gpu_hour, |at| at.number(true, notes));
        pattern.link_gb_s = fields.rate_or("linkGbPerSecond", LINK_GB_S, notes);
        pattern.disk_gb_s = fields.rate_or("diskGbPerSecond", DISK_GB_S, notes);
        pattern.pull_gb_s = fields.rate_or("pullGbPerSecond", PULL_GB_S, notes);
        pattern.has_images = fields.or("hasImages", false, notes, |at, notes| at.flag(notes));
        pattern.schedule_s = fields.number_or("scheduleSeconds", SCHEDULE_S, notes);
        pattern.image_there_s = fields.number_or("imageThereSeconds", IMAGE_THERE_S, notes);
        pattern.usd_per_vcpu_hour = fields.number_or("usdPerVcpuHour", USD_PER_VCPU_HOUR, notes);
        pattern.usd_per_memory_gb_hour =
            fields.number_or("usdPerMemoryGbHour", USD_PER_MEMORY_GB_HOUR, notes);
        // The price of a GPU is told once; who bills asks the class.
        if let Some(gpu) = &mut pattern.gpu {
            gpu.usd_per_gpu_hour = pattern.node.usd_per_gpu_hour;
        }
        match count {
            None => self.machines.push((fields.line(), pattern)),
            Some(count) => {
                for ordinal in 0..count.unwrap_or(0) {
                    let mut one = pattern.clone();
                    one.node.name = format!("{}-{ordinal}", pattern.node.name);
                    let hostname = one.node.labels.get_mut("kubernetes.io/hostname");
                    if let Some(hostname) = hostname.filter(|name| **name == pattern.node.name) {
                        hostname.clone_from(&one.node.name);
                    }
                    self.machines.push((fields.line(), one));
                }
            }
        }
    }
}

/// GPUs of one node; no machine has more.
const GPUS_AT_MOST: u32 = 1_024;
/// More nodes than this of one kind are a slip of the keyboard, and would only eat memory.
const NODES_AT_MOST: u32 = 100_000;

fn taint(at: &At<'_>, notes: &mut Notes<'_>) -> Option<Taint> {
    let fields = at.fields(&["key", "value", "effect"], Unknown::Refused, notes)?;
    let key = fields.need("key", "a key", notes).and_then(|at| at.text(notes));
    let value = fields.get("value").and_then(|at| at.scalar(notes)).unwrap_or("");
    let allowed = "NoSchedule, PreferNoSchedule or NoExecute";
    let effect = fields.need("effect", allowed, notes).and_then(|at| match at.tree.scalar() {
        Some("NoSchedule") => Some(TaintEffect::NoSchedule),
        Some("PreferNoSchedule") => Some(TaintEffect::PreferNoSchedule),
        Some("NoExecute") => Some(TaintEffect::NoExecute),
        Some(_) | None => {
            at.refuse(notes, allowed);
            None
        }
    });
    Some(Taint { key: key?.to_owned(), value: value.to_owned(), effect: effect? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &str) -> String {
        let text = format!("apiVersion: tidegate.dev/v1alpha1\nkind: Nodes\n{body}");
        Fleet::parse(&text, "n.yaml").expect_err("it is out of order").to_string()
    }

    fn read(body: &str) -> Fleet {
        let text = format!("apiVersion: tidegate.dev/v1alpha1\nkind: Nodes\n{body}");
        Fleet::parse(&text, "n.yaml").expect("it is in order").0
    }

    #[test]
    fn the_built_in_fleet_has_three_classes_at_their_prices() {
        let fleet = Fleet::builtin();
        let mut classes: BTreeMap<&str, (u32, Option<f64>)> = BTreeMap::new();
        for machine in &fleet.machines {
            let class = machine.gpu.as_ref().expect("all have GPUs");
            let entry = classes.entry(&class.name).or_insert((0, class.usd_per_gpu_hour));
            entry.0 += machine.node.allocatable.gpus;
        }
        let expected = [
            ("A100_NVLINK_80GB", (16, Some(2.21))),
            ("A40", (32, Some(1.28))),
            ("RTX_A5000", (16, Some(0.77))),
        ];
        assert_eq!(classes, BTreeMap::from(expected));
        let first = &fleet.machines[2];
        assert_eq!((first.usd_per_vcpu_hour, first.usd_per_memory_gb_hour), (0.010, 0.005));
        let labels: Vec<_> =
            first.node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        insta::assert_snapshot!(labels.join("\n"), @r"
        ethernet.coreweave.cloud/speed=40G
        gpu.nvidia.com/class=A40
        gpu.nvidia.com/count=8
        gpu.nvidia.com/vram=48
        kubernetes.io/hostname=a40-0
        node.kubernetes.io/instance-type=a40-8
        nvidia.com/gpu.count=8
        nvidia.com/gpu.product=NVIDIA-A40
        topology.kubernetes.io/region=ORD1
        ");
    }

    #[test]
    fn a_node_has_what_its_file_says_and_the_rest_by_default() {
        let fleet = read(
            "store: {gbPerSecond: 2.5}\ngpuClasses:\n- {name: X1, memoryGb: 10, bandwidthTbPerSecond: 1, tflops: 50}\nnodes:\n- {name: b, count: 2, cpu: 1500m, memory: 16Gi, gpus: 1, gpuClass: x1, spot: true, usdPerGpuHour: 0.5, labels: {gpu.nvidia.com/class: mine, zone: 7}, taints: [{key: t, effect: NoExecute}]}\n- {name: a, cpu: 0.5, memory: 1e9}\n",
        );
        let names: Vec<_> =
            fleet.machines.iter().map(|machine| machine.node.name.as_str()).collect();
        assert_eq!((fleet.store_gb_s, names), (2.5, vec!["a", "b-0", "b-1"]));
        let [plain, gpu, _] = fleet.machines.as_slice() else { panic!("there are three") };
        let needs = Resources { cpu_milli: 500, memory_bytes: 1_000_000_000, gpus: 0 };
        assert_eq!((plain.node.allocatable, plain.gpu.clone()), (needs, None));
        assert_eq!(gpu.node.allocatable.memory_bytes, 16 << 30);
        assert_eq!(
            (gpu.node.gpu_memory_bytes, gpu.node.gpu_class.as_str()),
            (10_000_000_000, "X1")
        );
        assert_eq!((gpu.node.usd_per_gpu_hour, gpu.node.is_spot), (Some(0.5), true));
        assert_eq!(gpu.node.labels["gpu.nvidia.com/class"], "mine");
        assert_eq!((gpu.node.labels["zone"].as_str(), gpu.has_images), ("7", false));
        assert_eq!(gpu.node.labels["kubernetes.io/hostname"], "b-0");
        assert_eq!(gpu.node.taints[0].effect, TaintEffect::NoExecute);
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        insta::assert_snapshot!(told("store: {gbPerSecond: 0}\nnodes:\n- name: a\n  cpu: four\n  memory: 16GB\n  gpus: 1\n  gpuclass: A40\n- {name: b, count: 4000000, cpu: -1, memory: 999Ei, gpus: 8, gpuClass: A4O}\n- {name: c, cpu: 1, memory: 1, gpuClass: A40, taints: [{key: x, effect: Never}]}\n- {cpu: 1, memory: 1, gpus: 1.5}\n- 7\n"), @r#"
        n.yaml:3: store.gbPerSecond is 0, expected a number above 0
        n.yaml:5: nodes[0].gpuClass is missing, expected a class, as A40
        n.yaml:6: nodes[0].cpu is "four", expected a quantity, as 4, 500m or 16Gi
        n.yaml:7: nodes[0].memory is "16GB", expected a quantity, as 4, 500m or 16Gi
        n.yaml:9: nodes[0].gpuclass is no known key, expected gpuClass
        n.yaml:10: nodes[1].count is 4000000, expected at most 100000
        n.yaml:10: nodes[1].cpu is -1, expected a quantity, as 4, 500m or 16Gi
        n.yaml:10: nodes[1].memory is "999Ei", expected less than 2⁶⁴
        n.yaml:10: nodes[1].gpuClass is "A4O", expected A40
        n.yaml:11: nodes[2].gpuClass is "A40", expected nothing, unless there are gpus
        n.yaml:11: nodes[2].taints[0].effect is "Never", expected NoSchedule, PreferNoSchedule or NoExecute
        n.yaml:12: nodes[3].name is missing, expected a name
        n.yaml:12: nodes[3].gpus is 1.5, expected a whole number of at least 0
        n.yaml:13: nodes[4] is 7, expected a map
        "#);
        insta::assert_snapshot!(told("nodes:\n- {name: a, cpu: 1, memory: 1}\n- {name: a, cpu: 1, memory: 1}\n"), @"n.yaml:5: the node's name is a, which line 4 has too, expected a name that no other node has");
        insta::assert_snapshot!(told("nodes: []\n"), @"n.yaml:3: nodes is an empty list, expected at least one node");
        insta::assert_snapshot!(told("nodes:\n- {name: a, cpu: 1, memory: 1, gpus: 1, gpuClass: rtx-pro-server-6000}\n"), @r#"n.yaml:4: nodes[0].gpuClass is "rtx-pro-server-6000", expected a class of gpuClasses in this file, or one of H100_NVLINK_80GB, H100_PCIE, A100_NVLINK_80GB, A100_PCIE_80GB, A100_NVLINK, A100_PCIE_40GB, A40, RTX_A6000, RTX_A5000, RTX_A4000, Tesla_V100_NVLINK, Tesla_V100_32GB, Quadro_RTX_5000, Quadro_RTX_4000, Tesla_T4, Tesla_P100, A10, A10G, L4, L40S, RTX_4090, H200, G1, G2, G3"#);
        let other = Fleet::parse("apiVersion: v1\nkind: NodeList\n", "n.yaml");
        insta::assert_snapshot!(other.expect_err("it is of another kind"), @r#"
        n.yaml:1: apiVersion is "v1", expected tidegate.dev/v1alpha1
        n.yaml:2: kind is "NodeList", expected Nodes
        "#);
        insta::assert_snapshot!(Fleet::parse("", "n.yaml").expect_err("it is empty"), @"n.yaml:1: the file is empty, expected a document of kind Nodes");
    }
}
