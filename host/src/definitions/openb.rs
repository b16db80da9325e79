//! The node list of Alibaba's openb trace as a fleet: `node,cpu_milli,memory_mib,gpu_count,gpu_model`. What the trace does not say
//! (links, disks, prices) has the default of our own form.

use std::collections::BTreeMap;

use super::fault::{DefinitionError, Warning};
use super::field::Notes;
use super::gpu;
use super::node::{Fleet, Machine, fleet, machine, node};
use crate::engine::Resources;

const HEADER: [&str; 5] = ["node", "cpu_milli", "memory_mib", "gpu_count", "gpu_model"];

/// Whether a file is such a list.
pub(super) fn is_openb(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.trim_end() == HEADER.join(","))
}

pub(super) fn parse(text: &str, file: &str) -> Result<(Fleet, Vec<Warning>), DefinitionError> {
    let classes = gpu::builtin();
    let mut notes = Notes::new(file);
    let mut machines: Vec<(u64, Machine)> = Vec::new();
    let mut undisclosed: BTreeMap<String, (u64, u32)> = BTreeMap::new();
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    for row in reader.records() {
        let row = row.map_err(|error| DefinitionError::Syntax {
            path: file.to_owned(),
            message: error.to_string(),
            at: error.position().map(|position| (position.line(), 1)),
        })?;
        let line = row.position().map_or(0, csv::Position::line);
        if row.len() != HEADER.len() {
            let found = format!("{} columns", row.len());
            notes.fault(line, "the row", found, HEADER.len().to_string());
            continue;
        }
        let whole = |column: usize, notes: &mut Notes<'_>| {
            let value = row[column].parse::<u64>().ok().filter(|value| *value < 1 << 40);
            if value.is_none() {
                let found = format!("{:?}", &row[column]);
                notes.fault(line, HEADER[column], found, "a whole number");
            }
            value
        };
        let (cpu, memory, gpus) =
            (whole(1, &mut notes), whole(2, &mut notes), whole(3, &mut notes));
        let (Some(cpu_milli), Some(memory_mib), Some(gpus)) = (cpu, memory, gpus) else { continue };
        let allocatable = Resources {
            cpu_milli,
            memory_bytes: memory_mib << 20,
            gpus: u32::try_from(gpus).unwrap_or(u32::MAX),
        };
        let model = &row[4];
        let class = classes.iter().find(|listed| listed.is_called(model));
        match class {
            None if gpus > 0 => {
                notes.fault(line, HEADER[4], format!("{model:?}"), "a known GPU model, as T4");
                continue;
            }
            Some(listed) if gpus > 0 && listed.figures.starts_with("undisclosed") => {
                undisclosed.entry(model.to_owned()).or_insert((line, 0)).1 += 1;
            }
            Some(_) | None => {}
        }
        let class = class.filter(|_| gpus > 0);
        let node = node(row[0].to_owned(), allocatable, class, BTreeMap::new());
        machines.push((line, machine(node, class.map(|listed| listed.class.clone()))));
    }
    for (model, (line, count)) in undisclosed {
        notes.warn(line, format!("the trace does not disclose what {model} is: the GPUs of its {count} nodes are taken as T4, the slowest that it names"));
    }
    fleet(machines, super::node::STORE_GB_S, notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_reads_as_a_fleet_and_says_what_is_not_disclosed() {
        let text = include_str!("../../../fixtures/nodes/openb-nodes-a.csv");
        assert!(is_openb(text));
        let (fleet, warnings) = parse(text, "openb.csv").expect("it is in order");
        let gpus: u32 = fleet.machines.iter().map(|machine| machine.node.allocatable.gpus).sum();
        assert_eq!((fleet.machines.len(), gpus), (1020, 4155));
        let mut classes: BTreeMap<&str, u32> = BTreeMap::new();
        for machine in &fleet.machines {
            *classes.entry(&machine.node.gpu_class).or_default() += 1;
        }
        insta::assert_debug_snapshot!(classes, @r#"
        {
            "": 207,
            "A10": 2,
            "G2": 366,
            "G3": 26,
            "Tesla_P100": 91,
            "Tesla_T4": 270,
            "Tesla_V100_32GB": 20,
            "Tesla_V100_NVLINK": 38,
        }
        "#);
        let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(warnings.join("\n"), @r"
        openb.csv:155: the trace does not disclose what G3 is: the GPUs of its 26 nodes are taken as T4, the slowest that it names
        openb.csv:161: the trace does not disclose what G2 is: the GPUs of its 366 nodes are taken as T4, the slowest that it names
        ");
    }

    #[test]
    fn bad_rows_are_told_with_line_and_column() {
        let text = "node,cpu_milli,memory_mib,gpu_count,gpu_model\na,x,1,0,\nb,1,-1,0,\nc,1,1,1,T5\nd,1,1\ne,1,1,1,\n";
        insta::assert_snapshot!(parse(text, "openb.csv").expect_err("it is out of order"), @r#"
        openb.csv:2: cpu_milli is "x", expected a whole number
        openb.csv:3: memory_mib is "-1", expected a whole number
        openb.csv:4: gpu_model is "T5", expected a known GPU model, as T4
        openb.csv:5: the row is 3 columns, expected 5
        openb.csv:6: gpu_model is "", expected a known GPU model, as T4
        "#);
    }
}
