//! Files that something has gone wrong with: whatever they are, reading them ends with services or with faults.

use proptest::prelude::*;

use super::DefinitionError;
use super::model::Catalogue;
use super::node::Fleet;
use super::profile::Profile;
use super::service;

const FILES: [&str; 7] = [
    include_str!("../../../fixtures/manifests/demo.yaml"),
    include_str!("../../../fixtures/manifests/own-knative-stable-diffusion.yaml"),
    include_str!("../../../fixtures/manifests/transformer-collocation.yaml"),
    include_str!("../../../fixtures/nodes/default.yaml"),
    include_str!("../../../fixtures/models/catalogue.yaml"),
    include_str!("../../../fixtures/profiles/config-autoscaler.yaml"),
    include_str!("../../../fixtures/profiles/patient.yaml"),
];

/// A line of one of the files, or one that nobody would write.
fn lines() -> Vec<String> {
    let odd = ["- ", "? x", "a: &a [*a]", "<<: 1", "\t", "kind: ", "'", "---", "9e999: .nan"];
    let known = FILES.iter().flat_map(|file| file.lines());
    known.chain(odd).map(str::to_owned).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_file_with_strange_lines_is_read_or_refused_and_every_fault_has_a_line_of_it(
        file in 0..FILES.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(lines()), 0..3), 1..4),
    ) {
        let mut text: Vec<String> = FILES[file].lines().map(str::to_owned).collect();
        for (at, line, what) in edits {
            let at = at.index(text.len().max(1));
            match what {
                0 => text.insert(at.min(text.len()), line),
                1 if at < text.len() => text[at] = line,
                _ if at < text.len() => drop(text.remove(at)),
                _ => {}
            }
        }
        let count = text.len() as u64;
        let text = text.join("\n");
        let catalogue = Catalogue::builtin();
        let errors = [
            service::parse(&text, "f", &catalogue).err(),
            Fleet::parse(&text, "f").err(),
            catalogue.parse(&text, "f").err(),
            Profile::parse(&text, "f").err(),
        ];
        for error in errors.into_iter().flatten() {
            if let DefinitionError::Faults(faults, _) = error {
                prop_assert!(!faults.is_empty());
                for fault in faults {
                    prop_assert!((1..=count.max(1) + 1).contains(&fault.line), "{fault}");
                }
            }
        }
    }
}
