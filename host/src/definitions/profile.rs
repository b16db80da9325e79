//! Profiles: the cluster's settings, by name or from a file. A file is a map of Knative's keys, or a whole ConfigMap as it comes from
//! a cluster.

use std::collections::BTreeMap;
use std::path::Path;

use tidegate_settings::{Cluster, Found, PROFILES, unknown_keys};

use super::fault::{DefinitionError, Warning, read_text};
use super::field::{At, Notes};
use super::tree::{self, Value};

const EXAMPLE: &str = "_example";
const CONFIG_MAP: &str = "config-autoscaler";
const CHECKSUM: &str = "knative.dev/example-checksum";

/// A cluster's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Its name, or the file as it was named.
    pub name: String,
    /// Knative's keys and values; what is absent has Knative's default.
    pub settings: BTreeMap<String, String>,
    /// The same, checked.
    pub cluster: Cluster,
}

impl Profile {
    /// The built-in profile of that name, or the one in the file of that name.
    ///
    /// # Errors
    ///
    /// When there is neither, or when the file cannot be read or has a value that Knative would refuse.
    pub fn find(name: &str) -> Result<(Profile, Vec<Warning>), DefinitionError> {
        if let Some(profile) = tidegate_settings::profile(name) {
            let settings = profile.config();
            let cluster = Cluster::read(&settings).expect("a test reads every built-in profile");
            return Ok((Profile { name: name.to_owned(), settings, cluster }, Vec::new()));
        }
        let path = Path::new(name);
        if !path.exists() {
            let names = PROFILES.iter().map(|profile| profile.name);
            let nearest = tidegate_settings::nearest(name, names.clone()).map(str::to_owned);
            let expected = nearest
                .unwrap_or_else(|| format!("{} or a file", names.collect::<Vec<_>>().join(", ")));
            return Err(DefinitionError::Unknown {
                what: "profile",
                name: name.to_owned(),
                expected,
            });
        }
        let (text, file) = read_text(path)?;
        Profile::parse(&text, &file)
    }

    /// The same from a text; `file` is what messages call it.
    ///
    /// # Errors
    ///
    /// When anything in it is wrong; all faults are told.
    pub fn parse(text: &str, file: &str) -> Result<(Profile, Vec<Warning>), DefinitionError> {
        let (documents, mut notes) = tree::parse(text, file)?;
        let mut settings = BTreeMap::new();
        let mut lines = BTreeMap::new();
        let data = match documents.as_slice() {
            [] => {
                notes.warn(1, "the file is empty: every setting has Knative's default");
                None
            }
            [document] => data(&At::root(document), &mut notes),
            // All the ConfigMaps of a namespace.
            [_, second, ..] => match documents.iter().map(At::root).find(is_knatives) {
                Some(document) => data(&document, &mut notes),
                None => {
                    let expected = format!("one profile, or a ConfigMap {CONFIG_MAP} among them");
                    notes.fault(second.line, "the file", "more than one document", expected);
                    None
                }
            },
        };
        for (key, at) in data.map_or(Vec::new(), |at| at.entries(&mut notes)) {
            if let Some(value) = at.scalar(&mut notes) {
                settings.insert(key.to_owned(), value.to_owned());
                lines.insert(key.to_owned(), at.line);
            }
        }
        settings.remove(EXAMPLE);
        for warning in unknown_keys(&settings) {
            notes.warn_near(
                lines[&warning.key],
                &warning.key,
                warning.to_string(),
                warning.nearest,
            );
        }
        // The reader stops at the first fault, as Knative does; without what is at fault it goes on to the next.
        let mut rest = settings.clone();
        let cluster = loop {
            let Err(error) = Cluster::read(&rest) else { break Cluster::read(&settings) };
            let expected = &error.expected;
            let mut is_of_file = false;
            for Found { key, value, is_default } in &error.found {
                let name = key.cluster_name();
                // What the file has in its place was told already.
                if *is_default && settings.contains_key(name) {
                    continue;
                }
                // A default is at fault only in view of what stands in the file.
                let line = lines
                    .get(name)
                    .or(error.because_of.and_then(|key| lines.get(key.cluster_name())));
                if let Some(line) = line {
                    let default = if *is_default { " by default" } else { "" };
                    notes.fault(*line, name, format!("{value:?}{default}"), expected);
                }
                is_of_file |= rest.remove(name).is_some();
            }
            let others = error.because_of.filter(|_| !is_of_file);
            is_of_file |= others.is_some_and(|key| rest.remove(key.cluster_name()).is_some());
            assert!(is_of_file, "Knative's defaults are in order");
        };
        let name = file.to_owned();
        match cluster {
            Ok(cluster) => notes.or(Profile { name, settings, cluster }),
            Err(_) => Err(notes.or(()).expect_err("a fault was noted for each error")),
        }
    }
}

/// Whether it is the ConfigMap that Knative reads.
fn is_knatives(root: &At<'_>) -> bool {
    root.key("kind") == Some("ConfigMap")
        && name_of(root).is_some_and(|(_, name)| name == CONFIG_MAP)
}

/// The line and the name in its metadata.
fn name_of<'a>(root: &At<'a>) -> Option<(u64, &'a str)> {
    let Value::Map(entries) = &root.tree.value else { return None };
    let metadata = entries.iter().find(|entry| entry.key == "metadata")?;
    let metadata = At { tree: &metadata.tree, line: metadata.line, path: String::new() };
    Some((metadata.line_of("name"), metadata.key("name")?))
}

/// Where the settings stand: under `data` of a ConfigMap, or at the top.
fn data<'a>(root: &At<'a>, notes: &mut Notes<'_>) -> Option<At<'a>> {
    if !root.is_map() {
        root.refuse(notes, "a map of settings, or a ConfigMap");
        return None;
    }
    let entries = root.entries(notes);
    let find = |key: &str| entries.iter().find(|(name, _)| *name == key).map(|(_, at)| at);
    let Some(kind) = find("kind") else { return Some(root.clone()) };
    if kind.tree.scalar() != Some("ConfigMap") {
        kind.refuse(notes, "ConfigMap, or a map of settings without a kind");
        return None;
    }
    if let Some((line, name)) = name_of(root).filter(|(_, name)| *name != CONFIG_MAP) {
        notes.warn(line, format!("the ConfigMap is called {name}: Knative reads {CONFIG_MAP}, and this one has no effect there"));
    }
    let Some(data) = find("data").filter(|at| at.tree.value != Value::Null) else {
        notes.warn(root.line, "the ConfigMap has no data: every setting has Knative's default");
        return None;
    };
    let data = data.clone();
    let annotations = find("metadata").and_then(|at| {
        let entries = at.entries(notes);
        entries.into_iter().find(|(key, _)| *key == "annotations").map(|(_, at)| at)
    });
    if let (Some(checksum), Some(example)) =
        (annotations.and_then(|at| at.key(CHECKSUM)), data.key(EXAMPLE))
        && !checksums(example).iter().any(|sum| sum == checksum)
    {
        notes.warn(
            data.line_of(EXAMPLE),
            "data._example was edited and has no effect: settings stand directly below data",
        );
    }
    Some(data)
}

/// Knative's checksums of an example: the CRC-32 of the trimmed text, today with each run of line ends as a backslash and an n
/// (`configmap/example.go` of knative.dev/pkg replaces them by that, not by a line end), once as it is.
fn checksums(example: &str) -> [String; 2] {
    let trimmed = example.trim();
    let lines: Vec<&str> =
        trimmed.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    let mut joined = String::new();
    for (nth, line) in lines.iter().filter(|line| !line.is_empty()).enumerate() {
        joined.push_str(if nth == 0 { "" } else { r"\n" });
        joined.push_str(line);
    }
    [joined.as_str(), trimmed].map(|text| {
        let mut crc = flate2::Crc::new();
        crc.update(text.as_bytes());
        format!("{:08x}", crc.sum())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Profile, String) {
        let (profile, warnings) = Profile::parse(text, "p.yaml").expect("it is in order");
        (profile, warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    fn told(text: &str) -> String {
        Profile::parse(text, "p.yaml").expect_err("it is out of order").to_string()
    }

    #[test]
    fn every_built_in_profile_is_found_by_its_name() {
        for profile in &PROFILES {
            let (found, warnings) = Profile::find(profile.name).expect("it is built in");
            assert_eq!((found.settings, warnings), (profile.config(), vec![]));
        }
        insta::assert_snapshot!(Profile::find("knativ").expect_err("there is none"), @"profile knativ is neither built in nor a file, expected knative");
        insta::assert_snapshot!(Profile::find("none-such.yaml").expect_err("there is none"), @"profile none-such.yaml is neither built in nor a file, expected knative, gpu, gpu-2021 or a file");
    }

    #[test]
    fn a_map_of_settings_and_a_whole_config_map_both_read() {
        let (profile, warnings) = parse(include_str!("../../../fixtures/profiles/patient.yaml"));
        assert_eq!(warnings, "");
        assert_eq!(profile.settings["panic-window-percentage"], "20.0");
        assert_eq!(profile.cluster.scale_down_delay_ns, 300_000_000_000);
        let text = include_str!("../../../fixtures/profiles/config-autoscaler.yaml");
        let (profile, warnings) = parse(text);
        assert_eq!((profile.settings.len(), warnings), (3, String::new()));
        assert_eq!(profile.cluster.stable_window_ns, 120_000_000_000);
        let (_, warnings) = parse(&text.replace("\"60s\"", "\"90s\""));
        insta::assert_snapshot!(warnings, @"p.yaml:9: data._example was edited and has no effect: settings stand directly below data");
    }

    #[test]
    fn a_file_without_settings_means_the_defaults_and_says_so() {
        for (text, warning) in [
            ("", "p.yaml:1: the file is empty: every setting has Knative's default"),
            ("# nothing\n", "p.yaml:1: the file is empty: every setting has Knative's default"),
            (
                "apiVersion: v1\nkind: ConfigMap\n",
                "p.yaml:1: the ConfigMap has no data: every setting has Knative's default",
            ),
            (
                "apiVersion: v1\nkind: ConfigMap\ndata:\n",
                "p.yaml:1: the ConfigMap has no data: every setting has Knative's default",
            ),
            // As it is installed.
            ("apiVersion: v1\nkind: ConfigMap\ndata: {_example: x}\n", ""),
        ] {
            let (profile, warnings) = parse(text);
            assert_eq!((profile.settings, warnings.as_str()), (BTreeMap::new(), warning), "{text}");
        }
    }

    #[test]
    fn knatives_own_file_reads_and_its_checksum_is_the_one_that_it_brings() {
        let text = include_str!("../../../fixtures/profiles/knative-config-autoscaler.yaml");
        let (profile, warnings) = parse(text);
        assert_eq!((profile.settings, warnings), (BTreeMap::new(), String::new()));
        let (_, warnings) =
            parse(&text.replace("stable-window: \"60s\"", "stable-window: \"90s\""));
        insta::assert_snapshot!(warnings, @"p.yaml:27: data._example was edited and has no effect: settings stand directly below data");
    }

    #[test]
    fn a_default_that_a_limit_forbids_is_told_at_the_limit() {
        insta::assert_snapshot!(told("min-scale: 1\nmax-scale-limit: 10\nstable-window: 1s\n"), @r#"
        p.yaml:2: max-scale is "0" by default, expected 1 to 10, the max-scale-limit
        p.yaml:3: stable-window is "1s", expected 6s to 1h, whole seconds
        "#);
    }

    #[test]
    fn an_example_has_knatives_checksums() {
        // Computed apart from this code by the rule that gives the checksums in knative.dev/pkg's own tests.
        for (example, checksum) in [
            ("one line", "dec880c1"),
            ("a: 1\nb: 2", "291caa88"),
            ("a: 1\n\n\nb: 2\n", "291caa88"),
            ("a: 1\r\n\r\nb: 2\r\n", "291caa88"),
            ("  one line\t\n", "dec880c1"),
            ("", "00000000"),
        ] {
            assert_eq!(checksums(example)[0], checksum, "{example:?}");
        }
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        insta::assert_snapshot!(told("stable-window: 2s\npanic-window-percentage: 200\nenable-scale-to-zero: maybe\nmin-scale: 5\nmax-scale: 3\nscale-down-delay: 60\n"), @r#"
        p.yaml:1: stable-window is "2s", expected 6s to 1h, whole seconds
        p.yaml:2: panic-window-percentage is "200", expected 1 to 100
        p.yaml:3: enable-scale-to-zero is "maybe", expected true or false
        p.yaml:4: min-scale is "5", expected a max-scale of at least min-scale, or 0 for none
        p.yaml:5: max-scale is "3", expected a max-scale of at least min-scale, or 0 for none
        p.yaml:6: scale-down-delay is "60", expected a duration with its unit (as in 30s), 0s or more, whole seconds
        "#);
        insta::assert_snapshot!(told("kind: Secret\n"), @r#"p.yaml:1: kind is "Secret", expected ConfigMap, or a map of settings without a kind"#);
        insta::assert_snapshot!(told("stable-window: [1]\n"), @"p.yaml:1: stable-window is a list, expected a text");
        insta::assert_snapshot!(told("- stable-window\n"), @"p.yaml:1: the document is a list, expected a map of settings, or a ConfigMap");
        insta::assert_snapshot!(told("a: 1\n---\nb: 2\n"), @"p.yaml:3: the file is more than one document, expected one profile, or a ConfigMap config-autoscaler among them");
    }

    #[test]
    fn a_key_that_means_nothing_is_a_warning() {
        insta::assert_snapshot!(parse("stable-windo: 60s\nqueue-sidecar-image: x\n").1, @r"
        p.yaml:1: no such setting: stable-windo; did you mean stable-window?
        p.yaml:2: no such setting: queue-sidecar-image
        ");
    }
}
