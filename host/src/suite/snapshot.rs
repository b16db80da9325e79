//! Snapshots as files, in the format of the crate insta, so that `cargo insta review` reads them as well: a head between `---` lines,
//! then the text. One that waits for a decision lies beside the accepted one as `NAME.snap.new`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The folder beside a suite that holds its snapshots.
pub const FOLDER: &str = "snapshots";

/// A snapshot: what a case came to, and what that was made with.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// What stands above the text.
    pub head: Head,
    /// What is compared.
    pub text: String,
}

/// What stands above a snapshot's text. Every key is one that insta knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// The suite's file, without its folder.
    pub source: String,
    /// What the case is made of.
    pub description: String,
    /// The case's name.
    pub expression: String,
    /// What only Tidegate reads.
    pub info: Info,
}

/// What a snapshot says beside its text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// `replay`, `observations` or `inputs`.
    pub kind: String,
    /// The version of the simulator's model that made it; none where no simulator was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulator: Option<u32>,
    /// Its numbers by name, for what a change costs.
    pub numbers: BTreeMap<String, f64>,
}

/// A snapshot that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system would not.
    #[error("cannot {what} {path}")]
    File {
        /// What could not be done.
        what: &'static str,
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is no snapshot.
    #[error("{path} is no snapshot: {message}")]
    Syntax {
        /// The file.
        path: String,
        /// What is amiss.
        message: String,
    },
}

impl Snapshot {
    /// Reads one; `None` where there is none.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    pub fn read(path: &Path) -> Result<Option<Snapshot>, SnapshotError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Snapshot::parse(&text, path).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", path, source)),
        }
    }

    fn parse(file: &str, path: &Path) -> Result<Snapshot, SnapshotError> {
        let syntax =
            |message: String| SnapshotError::Syntax { path: path.display().to_string(), message };
        let file = file.replace("\r\n", "\n");
        let rest = file
            .strip_prefix("---\n")
            .ok_or_else(|| syntax("it does not begin with ---".to_owned()))?;
        let (head, text) = rest
            .split_once("\n---\n")
            .or_else(|| rest.strip_suffix("\n---").map(|head| (head, "")))
            .ok_or_else(|| syntax("its head has no end".to_owned()))?;
        let head = serde_saphyr::from_str(head).map_err(|error| syntax(error.to_string()))?;
        Ok(Snapshot { head, text: text.trim_end().to_owned() })
    }

    /// As it stands in a file.
    pub fn render(&self) -> String {
        let Head { source, description, expression, info } = &self.head;
        let mut file = "---\n".to_owned();
        for (key, value) in
            [("source", source), ("description", description), ("expression", expression)]
        {
            let _ = writeln!(file, "{key}: {}", quoted(value));
        }
        let _ = writeln!(file, "info:\n  kind: {}", info.kind);
        if let Some(simulator) = info.simulator {
            let _ = writeln!(file, "  simulator: {simulator}");
        }
        if !info.numbers.is_empty() {
            file += "  numbers:\n";
        }
        for (name, value) in &info.numbers {
            let _ = writeln!(file, "    {}: {value}", quoted(name));
        }
        file + "---\n" + self.text.trim_end() + "\n"
    }

    /// Writes it, and makes its folder.
    ///
    /// # Errors
    ///
    /// When the file system would not.
    pub fn write(&self, path: &Path) -> Result<(), SnapshotError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| failed("make", folder, source))?;
        }
        std::fs::write(path, self.render()).map_err(|source| failed("write", path, source))
    }
}

/// A text in quotes, as YAML and JSON have it, unless it needs none.
fn quoted(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_lowercase().as_str());
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

fn failed(what: &'static str, path: &Path, source: std::io::Error) -> SnapshotError {
    SnapshotError::File { what, path: path.display().to_string(), source }
}

/// Where the snapshot of the case `slug` of a suite lies: `snapshots/SLUG.snap` for `suite.yaml`, `snapshots/NAME__SLUG.snap` for
/// `NAME.suite.yaml`.
pub fn path_of(suite: &Path, slug: &str) -> PathBuf {
    folder_of(suite).join(format!("{}{slug}.snap", prefix_of(suite)))
}

/// The accepted snapshot's file with `.new` behind it.
pub fn pending_of(accepted: &Path) -> PathBuf {
    accepted.with_extension("snap.new")
}

/// The folder of a suite's snapshots.
pub fn folder_of(suite: &Path) -> PathBuf {
    suite.parent().unwrap_or(Path::new("")).join(FOLDER)
}

fn prefix_of(suite: &Path) -> String {
    let name =
        suite.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")).unwrap_or(&name);
    match stem.strip_suffix(".suite").unwrap_or(stem) {
        "suite" => String::new(),
        stem => format!("{stem}__"),
    }
}

/// The snapshot files, accepted and pending, that are this suite's by their heads, or by their names where those cannot be read; in
/// order of names.
///
/// # Errors
///
/// When the folder is there and cannot be read.
pub fn files_of(suite: &Path) -> Result<Vec<PathBuf>, SnapshotError> {
    let folder = folder_of(suite);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed("read", &folder, source)),
    };
    let source_name = suite.file_name().map(|name| name.to_string_lossy().into_owned());
    let prefix = prefix_of(suite);
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| failed("read", &folder, source))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".snap") && !name.ends_with(".snap.new") {
            continue;
        }
        let is_its = match Snapshot::read(&path) {
            Ok(Some(snapshot)) => Some(&snapshot.head.source) == source_name.as_ref(),
            Ok(None) => false,
            Err(_) if prefix.is_empty() => !name.contains("__"),
            Err(_) => name.starts_with(&prefix),
        };
        if is_its {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Snapshot {
        Snapshot {
            head: Head {
                source: "suite.yaml".to_owned(),
                description: "load.csv: \"quoted\"\nand more".to_owned(),
                expression: "a busy half hour: 10 %".to_owned(),
                info: Info {
                    kind: "replay".to_owned(),
                    simulator: Some(1),
                    numbers: [("cost".to_owned(), 13.579), ("requests.served".to_owned(), 6_621.0)]
                        .into(),
                },
            },
            text: "one\n\n---\n  two".to_owned(),
        }
    }

    #[test]
    fn a_snapshot_comes_back_as_it_was_written() {
        let snapshot = sample();
        let file = snapshot.render();
        insta::assert_snapshot!(file, @r#"
        ---
        source: suite.yaml
        description: "load.csv: \"quoted\"\nand more"
        expression: "a busy half hour: 10 %"
        info:
          kind: replay
          simulator: 1
          numbers:
            cost: 13.579
            requests.served: 6621
        ---
        one

        ---
          two
        "#);
        assert_eq!(Snapshot::parse(&file, Path::new("x.snap")).expect("it is one"), snapshot);
        let with_windows_lines = file.replace('\n', "\r\n");
        assert_eq!(
            Snapshot::parse(&with_windows_lines, Path::new("x.snap")).expect("it is one"),
            snapshot
        );
    }

    #[test]
    fn insta_compares_with_what_is_written_here() {
        let folder = tempfile::tempdir().expect("a folder");
        let snapshot = sample();
        snapshot.write(&folder.path().join("night.snap")).expect("it is written");
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(folder.path());
        settings.set_prepend_module_to_snapshot(false);
        settings.bind(|| insta::assert_snapshot!("night", snapshot.text));
    }

    #[test]
    fn what_insta_writes_when_it_accepts_is_read() {
        let file = "---\nsource: suite.yaml\ndescription: \"a: b\"\nexpression: night\ninfo:\n  kind: replay\n  simulator: 1\n  numbers:\n    cost: 13.579\n    requests.served: 6621\nassertion_line: 3\n---\none\n";
        let read = Snapshot::parse(file, Path::new("x.snap")).expect("it is one");
        assert_eq!(read.head.info.numbers["requests.served"], 6_621.0);
        assert_eq!((read.head.description.as_str(), read.text.as_str()), ("a: b", "one"));
    }

    #[test]
    fn names_of_files_come_from_the_suite_and_the_case() {
        for (suite, expected) in [
            ("suite.yaml", "snapshots/night.snap"),
            ("a/suite.yml", "a/snapshots/night.snap"),
            ("a/longtail.suite.yaml", "a/snapshots/longtail__night.snap"),
            ("a/other.yaml", "a/snapshots/other__night.snap"),
        ] {
            let path = path_of(Path::new(suite), "night");
            assert_eq!(path, Path::new(expected));
            assert_eq!(pending_of(&path), Path::new(&format!("{expected}.new")));
        }
    }

    #[test]
    fn what_is_no_snapshot_is_told_and_what_is_another_s_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let suite = folder.path().join("suite.yaml");
        let snapshots = folder_of(&suite);
        std::fs::create_dir(&snapshots).expect("a folder");
        sample().write(&snapshots.join("mine.snap")).expect("it is written");
        sample().write(&snapshots.join("mine.snap.new")).expect("it is written");
        std::fs::write(snapshots.join("torn.snap"), "---\nsource").expect("it is written");
        std::fs::write(snapshots.join("rust__x.snap"), "---\nsource: tests/x.rs\n---\nx\n")
            .expect("it is written");
        let files: Vec<_> = files_of(&suite)
            .expect("it is readable")
            .iter()
            .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
            .collect();
        assert_eq!(files, ["mine.snap", "mine.snap.new", "torn.snap"]);
        let error = Snapshot::read(&snapshots.join("torn.snap")).expect_err("no end").to_string();
        assert!(error.ends_with("torn.snap is no snapshot: its head has no end"), "{error}");
    }
}
