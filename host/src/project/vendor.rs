//! What a project gets of this program, so that it builds outside any checkout: the contract, the SDK, and the versions of what the SDK
//! needs. All of it is part of the program; nothing is fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Sources of the SDK, as they lie in its folder.
const SDK: [(&str, &str); 12] = [
    ("src/bindings.rs", include_str!("../../../policies/sdk/src/bindings.rs")),
    ("src/document.rs", include_str!("../../../policies/sdk/src/document.rs")),
    ("src/lib.rs", include_str!("../../../policies/sdk/src/lib.rs")),
    ("src/native.rs", include_str!("../../../policies/sdk/src/native.rs")),
    ("src/native/placement.rs", include_str!("../../../policies/sdk/src/native/placement.rs")),
    ("src/nodes.rs", include_str!("../../../policies/sdk/src/nodes.rs")),
    ("src/notes.rs", include_str!("../../../policies/sdk/src/notes.rs")),
    ("src/placement.rs", include_str!("../../../policies/sdk/src/placement.rs")),
    ("src/scaling.rs", include_str!("../../../policies/sdk/src/scaling.rs")),
    ("src/testing.rs", include_str!("../../../policies/sdk/src/testing.rs")),
    ("src/testing/placement.rs", include_str!("../../../policies/sdk/src/testing/placement.rs")),
    ("src/wire.rs", include_str!("../../../policies/sdk/src/wire.rs")),
];
const SDK_MANIFEST: &str = include_str!("../../../policies/sdk/Cargo.toml");
const WORKSPACE_MANIFEST: &str = include_str!("../../../policies/Cargo.toml");
const WORKSPACE_LOCK: &str = include_str!("../../../policies/Cargo.lock");
/// The contract: `wit/policy.wit`.
pub(crate) const WIT: &str = include_str!("../../../wit/policy.wit");

/// The name of the SDK's crate.
const SDK_NAME: &str = "tidegate-policy";
/// What a new project depends on beside the SDK.
const OF_PROJECT: [&str; 2] = ["serde", SDK_NAME];

/// Paths below the project and contents. The SDK finds the contract at `../../wit`, as it does in its own repository.
pub(super) fn files() -> Vec<(String, String)> {
    let folder = format!("vendor/{SDK_NAME}");
    let mut files = vec![
        ("wit/policy.wit".to_owned(), WIT.to_owned()),
        (format!("{folder}/Cargo.toml"), standing_alone(SDK_MANIFEST, WORKSPACE_MANIFEST)),
    ];
    files.extend(SDK.iter().map(|(path, text)| (format!("{folder}/{path}"), (*text).to_owned())));
    files
}

/// The line of a table of the workspace's manifest that sets `key`, without the key.
pub(super) fn of_workspace(table: &str, key: &str) -> Option<&'static str> {
    lines_of(WORKSPACE_MANIFEST, table)
        .find_map(|line| line.split_once(" = ").filter(|(name, _)| *name == key))
        .map(|(_, value)| value)
}

/// The lines of a manifest's table.
fn lines_of<'a>(manifest: &'a str, table: &str) -> impl Iterator<Item = &'a str> {
    let header = format!("[{table}]");
    let mut lines = manifest.lines();
    lines.by_ref().find(|line| *line == header);
    lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.trim().is_empty())
}

/// A member's manifest with everything written out that it takes from its workspace.
fn standing_alone(manifest: &str, workspace: &str) -> String {
    let mut text =
        String::from("# Part of Tidegate: what this policy is written with. See src/lib.rs.\n");
    let mut table = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']);
        }
        let from = match (table, line.strip_suffix(".workspace = true")) {
            ("package", Some(key)) => Some(("workspace.package", key)),
            ("dependencies", Some(key)) => Some(("workspace.dependencies", key)),
            (_, _) => None,
        };
        match from {
            Some((of, key)) => {
                let begins = format!("{key} = ");
                let found = lines_of(workspace, of).find(|line| line.starts_with(&begins));
                let _ = writeln!(text, "{}", found.expect("cargo builds this very workspace"));
            }
            // Lints are for those who change the SDK.
            None if table == "lints" => {}
            None => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// A package of a lock file.
struct Locked<'a> {
    name: &'a str,
    version: &'a str,
    /// What is written of it between its version and its dependencies: source and checksum.
    origin: Vec<&'a str>,
    /// As they are written: a name, and a version where the name alone would not do.
    dependencies: Vec<&'a str>,
}

/// The lock file of a project called `name`: the versions that this program was built and tested with, so that what was fetched for
/// it is all that the project needs.
pub(super) fn lock(name: &str) -> String {
    let packages = parse_lock(WORKSPACE_LOCK);
    let find = |dependency: &str| {
        let mut words = dependency.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next());
        packages
            .iter()
            .position(|one| {
                one.name == name && version.is_none_or(|version| version == one.version)
            })
            .expect("a lock file has what its packages depend on")
    };
    let mut needed = BTreeSet::new();
    let mut open: Vec<usize> = OF_PROJECT.iter().map(|name| find(name)).collect();
    while let Some(at) = open.pop() {
        if needed.insert(at) {
            open.extend(packages[at].dependencies.iter().map(|dependency| find(dependency)));
        }
    }
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    needed.iter().for_each(|at| *versions.entry(packages[*at].name).or_default() += 1);

    let mut entries: Vec<((&str, &str), String)> = needed
        .iter()
        .map(|at| {
            let one = &packages[*at];
            // A name that only one package is left with stands alone.
            let shown = |dependency: &&str| {
                let locked = &packages[find(dependency)];
                let is_alone = versions.get(locked.name) == Some(&1);
                if is_alone { locked.name.to_owned() } else { (*dependency).to_owned() }
            };
            let dependencies: Vec<String> = one.dependencies.iter().map(shown).collect();
            ((one.name, one.version), entry(one.name, one.version, &one.origin, &dependencies))
        })
        .collect();
    let of_project: Vec<String> = OF_PROJECT.iter().map(|name| (*name).to_owned()).collect();
    entries.push(((name, "0.1.0"), entry(name, "0.1.0", &[], &of_project)));
    entries.sort();
    let head = WORKSPACE_LOCK.split("[[package]]").next().unwrap_or_default();
    let entries: Vec<String> = entries.into_iter().map(|(_, entry)| entry).collect();
    format!("{}\n\n{}", head.trim_end(), entries.join("\n"))
}

/// Whether a package of that name is among what policies are built from.
pub(super) fn is_locked(name: &str) -> bool {
    parse_lock(WORKSPACE_LOCK).iter().any(|one| one.name == name)
}

fn entry(name: &str, version: &str, origin: &[&str], dependencies: &[String]) -> String {
    let mut text = format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
    for line in origin {
        let _ = writeln!(text, "{line}");
    }
    if !dependencies.is_empty() {
        let _ = writeln!(text, "dependencies = [");
        for dependency in dependencies {
            let _ = writeln!(text, " \"{dependency}\",");
        }
        let _ = writeln!(text, "]");
    }
    text
}

/// Cargo writes lock files in one way only, a key a line.
fn parse_lock(lock: &str) -> Vec<Locked<'_>> {
    let quoted = |line: &'_ str| -> Option<(usize, usize)> {
        let (start, end) = (line.find('"')? + 1, line.rfind('"')?);
        (start <= end).then_some((start, end))
    };
    let inner = |line| quoted(line).map(|(start, end)| &line[start..end]);
    let package = |block| {
        let mut one = Locked { name: "", version: "", origin: vec![], dependencies: vec![] };
        for line in str::lines(block) {
            if line.starts_with("name = ") {
                one.name = inner(line).unwrap_or_default();
            } else if line.starts_with("version = ") {
                one.version = inner(line).unwrap_or_default();
            } else if line.starts_with(' ') {
                one.dependencies.extend(inner(line));
            } else if line.starts_with("source = ") || line.starts_with("checksum = ") {
                one.origin.push(line);
            }
        }
        one
    };
    lock.split("[[package]]").skip(1).map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_file_of_the_sdk_is_carried() {
        fn walk(folder: &std::path::Path, found: &mut Vec<String>, root: &std::path::Path) {
            for entry in std::fs::read_dir(folder).expect("the SDK").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, found, root);
                } else {
                    found.push(path.strip_prefix(root).expect("below").display().to_string());
                }
            }
        }
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/sdk");
        let mut found = Vec::new();
        walk(&root.join("src"), &mut found, &root);
        found.sort();
        let carried: Vec<&str> = SDK.iter().map(|(path, _)| *path).collect();
        assert_eq!(carried, found, "list each file of policies/sdk/src in `SDK`, sorted");
    }

    #[test]
    fn the_sdks_manifest_stands_alone() {
        let manifest = standing_alone(SDK_MANIFEST, WORKSPACE_MANIFEST);
        assert!(!manifest.contains("workspace") && !manifest.contains("[lints]"), "{manifest}");
        assert!(manifest.contains("\nwit-bindgen = { version = \"0.61\""), "{manifest}");
        assert!(manifest.contains("\nedition = \"2024\"\n"), "{manifest}");
    }

    #[test]
    fn the_lock_has_what_is_needed_and_no_more() {
        let lock = lock("surge");
        let packages = parse_lock(&lock);
        let has = |name: &str| packages.iter().any(|one| one.name == name);
        assert!(has("surge") && has(SDK_NAME) && has("serde_json") && has("wit-bindgen"));
        assert!(!has("proptest") && !has("tidegate-knative"), "{lock}");
        assert!(packages.is_sorted_by_key(|one| (one.name, one.version)));
    }
}
