//! Whether files have changed on disk, without reading them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a file looks like from outside, links followed: a new file under the name, be it renamed there or behind a link, shows as
/// well as one that was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    /// Device and inode, where there are such.
    file: Option<(u64, u64)>,
}

/// Files as they looked when last seen; one that is not there has no stamp.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps {
    files: BTreeMap<PathBuf, Option<Stamp>>,
}

impl Stamps {
    /// Looks at a file that is not among them yet.
    pub(super) fn add(&mut self, path: &Path) {
        self.files.entry(path.to_owned()).or_insert_with(|| stamp(path));
    }

    /// Whether one of them looks otherwise now.
    pub(super) fn have_changed(&self) -> bool {
        self.files.iter().any(|(path, then)| stamp(path) != *then)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let file = {
        use std::os::unix::fs::MetadataExt as _;
        Some((found.dev(), found.ino()))
    };
    #[cfg(not(unix))]
    let file = None;
    Some(Stamp { modified: found.modified().ok(), length: found.len(), file })
}
