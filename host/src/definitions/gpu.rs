//! The classes of GPUs that are part of the program: `fixtures/nodes/gpu-classes.csv`, with the figures of each. Where a figure was
//! measured it is what a server gets; the others are 0.75 of the bandwidth and 0.65 of the dense half-precision arithmetic of the
//! data sheet, the ratio of the measured ones. A class that is not in the table is refused, so that nothing is fast by accident.

use serde::Deserialize;

use super::node::GpuClass;

const TABLE: &str = include_str!("../../../fixtures/nodes/gpu-classes.csv");

/// A class as the table has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listed {
    pub(super) class: GpuClass,
    /// The value of the label `nvidia.com/gpu.product`; empty where it is not known.
    pub(super) product: String,
    /// Other names, as clouds and traces write it.
    aliases: Vec<String>,
    /// Where its figures come from.
    pub(super) figures: String,
}

#[derive(Deserialize)]
struct Row {
    class: String,
    memory_gb: f64,
    bandwidth_tb_s: f64,
    tflops: f64,
    host_link_gb_s: f64,
    usd_per_gpu_hour: Option<f64>,
    product: String,
    aliases: String,
    figures: String,
}

/// The whole table, in its order.
pub(super) fn builtin() -> Vec<Listed> {
    csv::Reader::from_reader(TABLE.as_bytes())
        .deserialize()
        .map(|row| listed(row.expect("a test reads the built-in table")))
        .collect()
}

fn listed(row: Row) -> Listed {
    let aliases = row.aliases.split(';').map(str::trim).filter(|alias| !alias.is_empty());
    Listed {
        aliases: aliases.map(str::to_owned).collect(),
        class: GpuClass {
            name: row.class,
            memory_gb: row.memory_gb,
            bandwidth_tb_s: row.bandwidth_tb_s,
            tflops: row.tflops,
            host_link_gb_s: row.host_link_gb_s,
            usd_per_gpu_hour: row.usd_per_gpu_hour,
        },
        product: row.product,
        figures: row.figures,
    }
}

impl Listed {
    /// A class that somebody defines.
    pub(super) fn own(class: GpuClass) -> Listed {
        Listed { class, product: String::new(), aliases: Vec::new(), figures: String::new() }
    }

    /// Whether `name` means it: its class, its product or one of its other names. Case does not matter.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.names().any(|known| known.eq_ignore_ascii_case(name))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        [&self.class.name, &self.product]
            .into_iter()
            .chain(&self.aliases)
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }
}

/// What to write instead of a class that there is not.
pub(super) fn expected(classes: &[Listed], name: &str) -> String {
    let known = classes.iter().flat_map(Listed::names);
    match tidegate_settings::nearest(name, known) {
        Some(nearest) => nearest.to_owned(),
        None => {
            let all: Vec<_> = classes.iter().map(|listed| listed.class.name.as_str()).collect();
            format!("a class of gpuClasses in this file, or one of {}", all.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_classes_are_unique_whatever_they_are_called() {
        let classes = builtin();
        for listed in &classes {
            for name in listed.names() {
                let called = classes.iter().filter(|other| other.is_called(name)).count();
                assert_eq!(called, 1, "{name}");
            }
        }
    }

    #[test]
    fn figures_that_were_not_measured_are_shares_of_the_data_sheet() {
        // Bandwidth and arithmetic of the data sheet stand in the last column, as text.
        for listed in builtin() {
            let Some(sheet) = listed.figures.strip_prefix("data sheet: ") else { continue };
            let numbers: Vec<f64> = sheet.split(' ').filter_map(|word| word.parse().ok()).collect();
            let GpuClass { name, bandwidth_tb_s, tflops, .. } = &listed.class;
            assert!((bandwidth_tb_s - 0.75 * numbers[0]).abs() < 0.001, "{name}");
            assert!((tflops - 0.65 * numbers[1]).abs() < 1.0, "{name}");
        }
    }
}
