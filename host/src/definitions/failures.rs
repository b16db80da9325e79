//! The faults file: which failures a replay plays. It reads what was written, and whether nodes and services of those names are there
//! is the simulator's to say.

use std::path::Path;

use super::fault::{DefinitionError, read_text};
use super::field::{At, Notes, Unknown};
use super::tree;
use crate::backend::sim::{Fault, Faults};

const EXPECTED: &str = "nodeLost or startFails";
const SECONDS: &str = "seconds since the start, as 600";

/// Reads a faults file.
///
/// # Errors
///
/// When it cannot be read, has unknown or missing keys, or values out of range; all faults are told.
pub fn read(path: &Path) -> Result<Faults, DefinitionError> {
    let (text, file) = read_text(path)?;
    parse(&text, &file)
}

/// The same from a text; `file` is what messages call it.
///
/// # Errors
///
/// When it has unknown or missing keys, or values out of range; all faults are told.
pub fn parse(text: &str, file: &str) -> Result<Faults, DefinitionError> {
    let (documents, mut notes) = tree::parse(text, file)?;
    let mut faults = Vec::new();
    match documents.as_slice() {
        [document] => {
            let root = At::root(document);
            let fields = root.fields(&["faults"], Unknown::Refused, &mut notes);
            let list = fields.and_then(|fields| fields.need("faults", "a list", &mut notes));
            for at in list.map_or(Vec::new(), |at| at.items(&mut notes)) {
                faults.extend(one(&at, &mut notes));
            }
        }
        [] => notes.fault(1, "the file", "empty", "a list of faults"),
        [_, second, ..] => {
            notes.fault(second.line, "the file", "more than one document", "one list of faults");
        }
    }
    notes.or(Faults { faults }).map(|(faults, _)| faults)
}

fn one(at: &At<'_>, notes: &mut Notes<'_>) -> Option<Fault> {
    let fields = at.fields(&["nodeLost", "startFails"], Unknown::Refused, notes)?;
    match (fields.get("nodeLost"), fields.get("startFails")) {
        (Some(at), None) => {
            let known = ["node", "atSeconds", "backAtSeconds"];
            let fields = at.fields(&known, Unknown::Refused, notes)?;
            let node = fields.need("node", "the name of a node", notes);
            let node = node.and_then(|at| at.scalar(notes));
            let lost = fields.need("atSeconds", SECONDS, notes);
            let at_seconds = lost.and_then(|at| at.number(true, notes));
            let back = fields.get("backAtSeconds");
            let back_at_seconds = back.as_ref().and_then(|at| at.number(true, notes));
            if let (Some(at), Some(back), Some(lost)) = (back, back_at_seconds, at_seconds)
                && back <= lost
            {
                at.refuse(notes, format!("a time after atSeconds, which is {lost}"));
            }
            Some(Fault::NodeLost {
                node: node?.to_owned(),
                at_seconds: at_seconds?,
                back_at_seconds,
            })
        }
        (None, Some(at)) => {
            let fields = at.fields(&["service", "probability"], Unknown::Refused, notes)?;
            let service = fields.need("service", "the name of a service", notes);
            let service = service.and_then(|at| at.scalar(notes));
            let at = fields.need("probability", "0 to 1", notes)?;
            let probability = at.number(true, notes)?;
            if probability > 1.0 {
                at.refuse(notes, "0 to 1");
            }
            Some(Fault::StartFails { service: service?.to_owned(), probability })
        }
        (Some(_), Some(_)) => {
            at.refuse(
                notes,
                format!("one of {EXPECTED}: write a further one as an item of its own"),
            );
            None
        }
        (None, None) => {
            // An unknown key was told already.
            if at.is_map() && at.entries(notes).is_empty() {
                at.refuse(notes, EXPECTED);
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_faults_file_is_told_with_its_place() {
        let told = |text: &str| parse(text, "f.yaml").expect_err("it is out of order").to_string();
        insta::assert_snapshot!(told("faults:\n- nodeLost: {node: a, atSeconds: 10, backAtSeconds: 5}\n- nodeLos: {}\n- startFails: {service: b, probability: 1.5}\n- nodeLost: {atSecond: -1}\n- {}\n- 7\n- {nodeLost: {node: a, atSeconds: 1}, startFails: {service: b, probability: 0}}\n"), @r"
        f.yaml:2: faults[0].nodeLost.backAtSeconds is 5, expected a time after atSeconds, which is 10
        f.yaml:3: faults[1].nodeLos is no known key, expected nodeLost
        f.yaml:4: faults[2].startFails.probability is 1.5, expected 0 to 1
        f.yaml:5: faults[3].nodeLost.atSecond is no known key, expected atSeconds
        f.yaml:5: faults[3].nodeLost.node is missing, expected the name of a node
        f.yaml:5: faults[3].nodeLost.atSeconds is missing, expected seconds since the start, as 600
        f.yaml:6: faults[4] is a map, expected nodeLost or startFails
        f.yaml:7: faults[5] is 7, expected a map
        f.yaml:8: faults[6] is a map, expected one of nodeLost or startFails: write a further one as an item of its own
        ");
        insta::assert_snapshot!(told("fault: []\n"), @r"
        f.yaml:1: fault is no known key, expected faults
        f.yaml:1: faults is missing, expected a list
        ");
        insta::assert_snapshot!(told(""), @"f.yaml:1: the file is empty, expected a list of faults");
        let read = parse("faults:\n- nodeLost: {node: a, atSeconds: 10}\n", "f.yaml");
        let read = read.expect("it is in order").faults;
        assert_eq!(read[0].to_string(), "node a is lost at 10 s");
    }
}
