//! From paths to recordings: folders are listed, kinds recognised by the first line, scenarios paired with their golden files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Recording;
use super::error::ReadError;
use super::golden::Golden;
use super::requests::RequestCases;
use super::samples::SampleSizes;
use super::scenario::Scenario;
use super::settings::SettingsCases;
use super::text::Text;

/// How files of a folder must end to be read. A file that is named itself may end in anything.
const ENDINGS: [&str; 2] = [".jsonl", ".jsonl.gz"];

/// Reads recordings: files, and what folders hold of them (files that end in `.jsonl` or `.jsonl.gz`, no folders within). Scenario
/// and golden file are paired by the name in their headers within a folder. In order: scenarios by folder and name, then the rest by
/// file. `progress` hears of each file.
///
/// # Errors
///
/// Everything that cannot be read, paired or understood.
pub fn read(
    paths: &[PathBuf],
    mut progress: impl FnMut(&Path),
) -> Result<Vec<Recording>, Vec<ReadError>> {
    let mut found = Found::default();
    let mut files: Vec<PathBuf> = Vec::new();
    for path in paths {
        match files_of(path) {
            Ok(of_it) => files.extend(of_it),
            Err(error) => found.faults.push(error),
        }
    }
    files.sort();
    files.dedup();
    for file in files {
        progress(&file);
        found.take(&file);
    }
    found.pair()
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let fails = |source| ReadError::Read { path: path.display().to_string(), source };
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fails)? {
        let entry = entry.map_err(fails)?;
        let name = entry.file_name();
        let ends = |ending: &&str| name.to_string_lossy().ends_with(*ending);
        if ENDINGS.iter().any(ends) && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    if files.is_empty() {
        return Err(ReadError::Empty {
            path: path.display().to_string(),
            found: "no recordings",
            expected: "files that end in .jsonl or .jsonl.gz",
        });
    }
    Ok(files)
}

/// Folder and name of a scenario.
type Name = (PathBuf, String);

#[derive(Default)]
struct Found {
    scenarios: BTreeMap<Name, Scenario>,
    goldens: BTreeMap<Name, Golden>,
    rest: Vec<Recording>,
    faults: Vec<ReadError>,
}

/// What the first line of a file says that it is.
enum FileKind {
    Scenario,
    Golden,
    Settings,
    Requests,
    Samples,
}

fn kind_of(text: &Text) -> Result<FileKind, ReadError> {
    let mut first = text.first()?;
    if first.has("kind") {
        let words = [("scenario", true), ("golden", false)];
        return match first.word("kind", &words)? {
            true => Ok(FileKind::Scenario),
            false => Ok(FileKind::Golden),
        };
    }
    if first.has("configmap") {
        Ok(FileKind::Settings)
    } else if first.has("events") {
        Ok(FileKind::Requests)
    } else if first.has("sample") {
        Ok(FileKind::Samples)
    } else {
        Err(ReadError::UnknownKind { path: text.path().to_owned() })
    }
}

impl Found {
    fn take(&mut self, file: &Path) {
        if let Err(error) = self.try_take(file) {
            self.faults.push(error);
        }
    }

    fn try_take(&mut self, file: &Path) -> Result<(), ReadError> {
        let text = Text::read(file)?;
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        match kind_of(&text)? {
            FileKind::Scenario => {
                let scenario = Scenario::read(&text)?;
                let name = (folder, scenario.name.clone());
                let twice = |old: &Scenario| twice(&scenario.path, &scenario.name, &old.path);
                if let Some(error) = self.scenarios.get(&name).map(twice) {
                    return Err(error);
                }
                self.scenarios.insert(name, scenario);
            }
            FileKind::Golden => {
                let golden = Golden::read(&text)?;
                let name = (folder, golden.name.clone());
                let twice = |old: &Golden| twice(&golden.path, &golden.name, &old.path);
                if let Some(error) = self.goldens.get(&name).map(twice) {
                    return Err(error);
                }
                self.goldens.insert(name, golden);
            }
            FileKind::Settings => self.rest.push(Recording::Settings(SettingsCases::read(&text)?)),
            FileKind::Requests => self.rest.push(Recording::Requests(RequestCases::read(&text)?)),
            FileKind::Samples => self.rest.push(Recording::Samples(SampleSizes::read(&text)?)),
        }
        Ok(())
    }

    fn pair(mut self) -> Result<Vec<Recording>, Vec<ReadError>> {
        // Where a file could not be read, its partner is not at fault.
        let is_whole = self.faults.is_empty();
        let mut recordings = Vec::with_capacity(self.scenarios.len() + self.rest.len());
        for (name, scenario) in self.scenarios {
            match self.goldens.remove(&name) {
                Some(golden) if golden.mode == scenario.mode => {
                    recordings.push(Recording::Scenario(Box::new(scenario), Box::new(golden)));
                }
                Some(golden) => self.faults.push(golden.of_another_mode(&scenario)),
                None if is_whole => {
                    self.faults.push(unpaired(scenario.path, scenario.name, "golden"));
                }
                None => {}
            }
        }
        for golden in self.goldens.into_values().filter(|_| is_whole) {
            self.faults.push(unpaired(golden.path, golden.name, "scenario"));
        }
        if self.faults.is_empty() {
            recordings.extend(self.rest);
            Ok(recordings)
        } else {
            Err(self.faults)
        }
    }
}

fn twice(path: &str, name: &str, other: &str) -> ReadError {
    ReadError::Twice { path: path.to_owned(), name: name.to_owned(), other: other.to_owned() }
}

fn unpaired(path: String, name: String, missing: &'static str) -> ReadError {
    ReadError::Unpaired { path, name, missing }
}
