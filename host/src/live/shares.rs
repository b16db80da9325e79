//! GPUs that are shared: where a service takes a fraction of one, each GPU of the fleet is a node of its own and counts as a hundred, so
//! that fractions are whole numbers for everybody who places. Whoever writes a fraction says that the model fits into it: placement is
//! told nothing of a GPU's memory there, since what a server takes beside its weights is no fraction of a hundredth.

use crate::definitions::node::{Fleet, Machine};
use crate::definitions::service::Service;
use crate::engine::Resources;

/// What a shared GPU counts as.
const PARTS: u32 = 100;

/// A node of the engine and what it is of the machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The name of the machine.
    pub of: String,
    /// Memory of one of its GPUs, whole. Bytes.
    pub gpu_memory_bytes: u64,
    /// The machine; where GPUs are shared, with one GPU that counts as a hundred.
    pub machine: Machine,
    /// The first of the machine's GPUs that belongs to it.
    pub first_gpu: u32,
    /// GPUs that belong to it.
    pub gpus: u32,
}

/// A fleet, cut to what services take.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// The fleet as it was.
    pub fleet: Fleet,
    /// The nodes, sorted by name.
    pub parts: Vec<Part>,
    /// What a whole GPU counts as: 1, or 100 where some are shared.
    pub parts_per_gpu: u32,
}

/// Services that cannot share a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{sharing} takes a share of a GPU and {whole} takes {gpus} GPUs: where some are shared, no service can take several"
)]
pub struct CannotShare {
    /// A service with a share.
    pub sharing: String,
    /// One with several GPUs.
    pub whole: String,
    /// How many.
    pub gpus: u32,
}

impl Cut {
    /// Cuts `fleet` for `services`.
    ///
    /// # Errors
    ///
    /// When one takes a share and another several GPUs.
    pub fn new(fleet: &Fleet, services: &[Service]) -> Result<Cut, CannotShare> {
        let sharing = services.iter().find(|service| service.gpu_share.is_some());
        let whole = services.iter().find(|service| service.needs.gpus > 1);
        if let (Some(sharing), Some(whole)) = (sharing, whole) {
            return Err(CannotShare {
                sharing: sharing.name.clone(),
                whole: whole.name.clone(),
                gpus: whole.needs.gpus,
            });
        }
        let mut parts: Vec<Part> = match sharing {
            None => fleet.machines.iter().map(whole_machine).collect(),
            Some(_) => fleet.machines.iter().flat_map(each_gpu).collect(),
        };
        parts.sort_by(|one, other| one.machine.node.name.cmp(&other.machine.node.name));
        Ok(Cut {
            fleet: fleet.clone(),
            parts,
            parts_per_gpu: if sharing.is_some() { PARTS } else { 1 },
        })
    }

    /// What a replica of `service` takes, counted as the nodes are.
    pub fn needs(&self, service: &Service) -> Resources {
        let gpus = match service.gpu_share {
            Some(share) => ((share * f64::from(PARTS)).round() as u32).max(1),
            None => service.needs.gpus * self.parts_per_gpu,
        };
        Resources { gpus, ..service.needs }
    }
}

fn whole_machine(machine: &Machine) -> Part {
    Part {
        of: machine.node.name.clone(),
        gpu_memory_bytes: machine.node.gpu_memory_bytes,
        machine: machine.clone(),
        first_gpu: 0,
        gpus: machine.node.allocatable.gpus,
    }
}

/// The GPUs of a machine, each a node. Processors and memory are there for whoever comes first: they are not divided.
fn each_gpu(machine: &Machine) -> Vec<Part> {
    let gpus = machine.node.allocatable.gpus;
    if gpus == 0 {
        return vec![whole_machine(machine)];
    }
    let part = |gpu: u32| {
        let (of, gpu_memory_bytes) = (machine.node.name.clone(), machine.node.gpu_memory_bytes);
        let mut machine = machine.clone();
        let node = &mut machine.node;
        node.name = format!("{}-gpu{gpu}", node.name);
        node.allocatable.gpus = PARTS;
        node.gpu_memory_bytes = 0;
        node.usd_per_gpu_hour = node.usd_per_gpu_hour.map(|usd| usd / f64::from(PARTS));
        Part { of, gpu_memory_bytes, machine, first_gpu: gpu, gpus: 1 }
    };
    (0..gpus).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definitions::model::Catalogue;

    fn service(name: &str, gpus: u32, gpu_share: Option<f64>) -> Service {
        let mut service = Service::default_for(name, &Catalogue::builtin());
        (service.needs.gpus, service.gpu_share) = (gpus, gpu_share);
        service
    }

    fn fleet() -> Fleet {
        let text = "apiVersion: tidegate.dev/v1alpha1\nkind: Nodes\nnodes:\n  - {name: box, cpu: 8, memory: 64Gi, gpus: 2, gpuClass: A40}\n";
        Fleet::parse(text, "nodes.yaml").expect("it is in order").0
    }

    #[test]
    fn whole_gpus_stay_as_they_are() {
        let cut = Cut::new(&fleet(), &[service("a", 2, None)]).expect("nothing is shared");
        assert_eq!((cut.parts.len(), cut.parts_per_gpu), (1, 1));
        assert_eq!(cut.needs(&service("a", 2, None)).gpus, 2);
    }

    #[test]
    fn a_shared_gpu_is_a_node_of_a_hundred_parts_of_which_no_memory_is_told() {
        let services = [service("half", 1, Some(0.5)), service("one", 1, None)];
        let cut = Cut::new(&fleet(), &services).expect("nobody takes several");
        let names: Vec<&str> =
            cut.parts.iter().map(|part| part.machine.node.name.as_str()).collect();
        assert_eq!(names, ["box-gpu0", "box-gpu1"]);
        let node = &cut.parts[1].machine.node;
        assert_eq!((node.allocatable.gpus, cut.parts[1].first_gpu), (100, 1));
        assert_eq!(node.gpu_memory_bytes, 0);
        let memory = fleet().machines[0].node.gpu_memory_bytes;
        assert_eq!(cut.parts[1].gpu_memory_bytes, memory, "people still see it");
        assert_eq!(services.map(|service| cut.needs(&service).gpus), [50, 100]);
    }

    #[test]
    fn a_share_beside_several_gpus_is_refused_by_name() {
        let refused = Cut::new(&fleet(), &[service("a", 2, None), service("b", 1, Some(0.3))]);
        assert_eq!(
            refused.expect_err("they cannot share").to_string(),
            "b takes a share of a GPU and a takes 2 GPUs: where some are shared, no service can take several"
        );
    }
}
