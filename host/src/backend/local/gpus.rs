//! The GPUs of this machine, as the driver's library tells them. It is loaded at run time; a machine without it has none.

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use super::system;
use crate::definitions::machine::{Host, HostGpu};

/// A GPU of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// Its position among those of the machine, in the order of their slots.
    pub index: u32,
    /// Its identity, where the driver knows one.
    pub uuid: Option<String>,
    /// What the driver calls it.
    pub product: String,
    /// Its memory. Bytes.
    pub memory_bytes: u64,
}

/// Why no GPUs were found. No error: most machines have none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoGpus {
    /// There is no driver.
    #[error("no NVIDIA driver is installed (its library libnvidia-ml was not found)")]
    Driver,
    /// There is a driver that tells nothing.
    #[error("the NVIDIA driver tells of no GPUs: {message}")]
    Silent {
        /// What it says instead.
        message: String,
    },
    /// There is a driver and no GPU.
    #[error("the NVIDIA driver is installed, and there is no GPU")]
    Empty,
}

/// Looks for GPUs.
///
/// # Errors
///
/// When there are none, with why.
pub fn detect() -> Result<Vec<Gpu>, NoGpus> {
    let nvml = load().map_err(|error| match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => NoGpus::Driver,
        error => NoGpus::Silent { message: error.to_string() },
    })?;
    let silent = |error: NvmlError| NoGpus::Silent { message: error.to_string() };
    let count = nvml.device_count().map_err(silent)?;
    let mut gpus = Vec::new();
    for index in 0..count {
        // One that may not be looked at, or has fallen off its bus, is none of ours.
        let Ok(device) = nvml.device_by_index(index) else { continue };
        let (Ok(product), Ok(memory)) = (device.name(), device.memory_info()) else { continue };
        gpus.push(Gpu { index, uuid: device.uuid().ok(), product, memory_bytes: memory.total });
    }
    if gpus.is_empty() { Err(NoGpus::Empty) } else { Ok(gpus) }
}

/// The library by its plain name, and by the name that a machine without development files has.
fn load() -> Result<Nvml, NvmlError> {
    Nvml::init().or_else(|error| {
        let other = std::ffi::OsStr::new("libnvidia-ml.so.1");
        Nvml::builder().lib_path(other).init().map_err(|_| error)
    })
}

/// This machine with those GPUs.
pub fn this_host(gpus: &[Gpu]) -> Host {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let gpu = |gpu: &Gpu| HostGpu { product: gpu.product.clone(), memory_bytes: gpu.memory_bytes };
    Host {
        name: system::host_name(),
        cpu_milli: cpus as u64 * 1_000,
        memory_bytes: system::memory_bytes().unwrap_or(0),
        gpus: gpus.iter().map(gpu).collect(),
    }
}

/// What a replica with GPUs gets in its environment, by identity where all have one, else by index. Without GPUs it sees none.
pub fn variables(gpus: &[Gpu]) -> Vec<(String, String)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    if gpus.is_empty() {
        return vec![pair("CUDA_VISIBLE_DEVICES", ""), pair("NVIDIA_VISIBLE_DEVICES", "void")];
    }
    let names: Option<Vec<String>> = gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
    let names = names.unwrap_or_else(|| gpus.iter().map(|gpu| gpu.index.to_string()).collect());
    let names = names.join(",");
    vec![
        pair("CUDA_VISIBLE_DEVICES", &names),
        pair("NVIDIA_VISIBLE_DEVICES", &names),
        // Else CUDA counts the fastest first, and an index means another one.
        pair("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
    ]
}

/// `count` GPUs that a file declares and no driver tells of.
pub fn declared(count: u32, product: &str, memory_bytes: u64) -> Vec<Gpu> {
    let gpu = |index| Gpu { index, uuid: None, product: product.to_owned(), memory_bytes };
    (0..count).map(gpu).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_driver_says_so_and_one_with_gpus_has_memory() {
        match detect() {
            Ok(gpus) => assert!(gpus.iter().all(|gpu| gpu.memory_bytes > 0), "{gpus:?}"),
            Err(none) => assert!(none.to_string().contains("NVIDIA driver"), "{none}"),
        }
        let host = this_host(&[]);
        assert!(host.cpu_milli >= 1_000 && host.memory_bytes > 1 << 20 && !host.name.is_empty());
    }

    #[test]
    fn replicas_see_their_gpus_and_no_others() {
        let shown = |gpus: &[Gpu]| {
            let line = |(name, value): &(String, String)| format!("{name}={value}");
            variables(gpus).iter().map(line).collect::<Vec<_>>().join(" ")
        };
        let mut gpus = declared(4, "NVIDIA A40", 48_000_000_000);
        assert_eq!(shown(&[]), "CUDA_VISIBLE_DEVICES= NVIDIA_VISIBLE_DEVICES=void");
        assert_eq!(
            shown(&gpus[1..3]),
            "CUDA_VISIBLE_DEVICES=1,2 NVIDIA_VISIBLE_DEVICES=1,2 CUDA_DEVICE_ORDER=PCI_BUS_ID"
        );
        gpus[1].uuid = Some("GPU-b".to_owned());
        assert!(
            shown(&gpus[1..3]).starts_with("CUDA_VISIBLE_DEVICES=1,2 "),
            "identity and index do not go together"
        );
        gpus[2].uuid = Some("GPU-c".to_owned());
        assert!(shown(&gpus[1..3]).starts_with("CUDA_VISIBLE_DEVICES=GPU-b,GPU-c "));
    }
}
