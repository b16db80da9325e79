//! The folder that a live run keeps its books in: who runs it, which process groups it has started, and their logs. So two runs do not
//! share one folder, and what a killed run left behind is found and ended by the next.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::system;

/// How long what a killed run left may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// How often a lock is tried whose holder is no more, and how long from one time to the next.
const ATTEMPTS: u32 = 100;
const LOOK: Duration = Duration::from_millis(20);
const FILE: &str = "state.json";
const LOCK: &str = "lock";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be made, read or written.
    #[error("cannot use the state folder {folder}")]
    Folder {
        /// The folder.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another run has it.
    #[error("the state folder {folder} is in use by process {pid}")]
    InUse {
        /// The folder.
        folder: String,
        /// The other run; 0 where it has not said yet.
        pid: u32,
    },
}

/// A process group that this program started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Its first process, and the id of the group.
    pub pid: u32,
    /// When that started, as the system tells it: a number that is used again does not mean the same process.
    pub started: String,
    /// The target that it is a replica of.
    pub target: String,
    /// Its ordinal.
    pub replica: u32,
    /// Its log.
    pub log: PathBuf,
}

/// What `state.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Book {
    /// The start of the machine that all of it is about.
    boot: String,
    /// What children of this run have in their variable `TIDEGATE_RUN`.
    run: String,
    /// The run's own process, and when it started.
    pid: u32,
    started: String,
    groups: Vec<Group>,
}

/// What an earlier run left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Its process.
    pub pid: u32,
    /// Whether the machine was started again since, so that nothing of it can run.
    pub is_before_boot: bool,
    /// Groups that still ran, and were ended.
    pub ended: Vec<Group>,
    /// Groups that were gone, or whose number belongs to somebody else by now. How many.
    pub gone: usize,
}

impl std::fmt::Display for Stale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the run before this one, process {}, did not end in order", self.pid)?;
        if self.is_before_boot {
            return write!(f, ", and the machine was started again since: nothing of it is left");
        }
        if self.ended.is_empty() {
            return write!(f, "; nothing of it was left");
        }
        write!(f, "; of its replicas these still ran and were ended: ")?;
        for (nth, group) in self.ended.iter().enumerate() {
            let comma = if nth == 0 { "" } else { ", " };
            let target = super::logs::printable(&group.target);
            write!(f, "{comma}{target} #{} (process {})", group.replica, group.pid)?;
        }
        Ok(())
    }
}

/// A state folder that is ours. Dropping it gives it up; with groups in it the next run takes it for that of a killed one.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    book: Book,
    /// Locked as long as it is open; the system unlocks it however this process ends.
    lock: File,
}

impl State {
    /// Takes a folder, and ends what an earlier run left there. That may take some seconds.
    ///
    /// # Errors
    ///
    /// When another run has it, or it cannot be used.
    pub fn open(folder: &Path) -> Result<(State, Option<Stale>), StateError> {
        let shown = folder.display().to_string();
        let fails = |source| StateError::Folder { folder: shown.clone(), source };
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fails)?;
        // Children are told where their logs are, wherever they run.
        let folder = folder.canonicalize().map_err(fails)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(folder.join(LOCK)).map_err(fails)?;
        let mut attempts = 0;
        while let Err(refused) = lock.try_lock() {
            let TryLockError::WouldBlock = refused else { return Err(fails(refused.into())) };
            let pid = holder(&mut lock);
            // What a killed run was just starting holds its lock for an instant longer.
            if attempts == ATTEMPTS || system::start_of(pid).is_some() {
                return Err(StateError::InUse { folder: shown, pid });
            }
            attempts += 1;
            std::thread::sleep(LOOK);
        }
        let pid = std::process::id();
        let told = lock.set_len(0).and_then(|()| lock.rewind());
        told.and_then(|()| writeln!(lock, "{pid}")).map_err(fails)?;
        let boot = system::boot_id().unwrap_or_default();
        let stale = read(&folder).map(|left| clear(left, &boot));
        let started = system::start_of(pid).unwrap_or_default();
        let run = format!("{pid}-{}", started.replace(' ', "-"));
        let book = Book { boot, run, pid, started, groups: Vec::new() };
        let state = State { folder, book, lock };
        state.write().map_err(fails)?;
        Ok((state, stale))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What names this run among all runs on this machine.
    pub fn run(&self) -> &str {
        &self.book.run
    }

    /// The groups that there are.
    pub fn groups(&self) -> &[Group] {
        &self.book.groups
    }

    /// Writes down that there is a group.
    ///
    /// # Errors
    ///
    /// When it cannot be written; it is known all the same, and written with the next.
    pub fn add(&mut self, group: Group) -> std::io::Result<()> {
        self.book.groups.retain(|known| known.pid != group.pid);
        self.book.groups.push(group);
        self.write()
    }

    /// Writes down that a group is no more.
    ///
    /// # Errors
    ///
    /// As [`add`](State::add).
    pub fn remove(&mut self, pid: u32) -> std::io::Result<()> {
        self.book.groups.retain(|known| known.pid != pid);
        self.write()
    }

    /// To a neighbour first, which then takes the name: what is read is always whole.
    fn write(&self) -> std::io::Result<()> {
        let text = serde_json::to_vec_pretty(&self.book).expect("it is a document");
        let part = self.folder.join("state.json.part");
        std::fs::write(&part, text)?;
        std::fs::rename(part, self.folder.join(FILE))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.book.groups.is_empty() {
            let _ = std::fs::remove_file(self.folder.join(FILE));
        }
        // By name: a process that is being started in this moment has the file open as well.
        let _ = self.lock.unlock();
    }
}

/// The process that a lock names; 0 where it names none yet.
fn holder(lock: &mut File) -> u32 {
    let mut text = String::new();
    let read = lock.rewind().and_then(|()| lock.read_to_string(&mut text));
    read.ok().and_then(|_| text.trim().parse().ok()).unwrap_or(0)
}

/// The book of a folder; nothing where there is none that can be read.
fn read(folder: &Path) -> Option<Book> {
    let text = std::fs::read(folder.join(FILE)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Ends what is left of a run that is no more.
fn clear(left: Book, boot: &str) -> Stale {
    let is_before_boot = left.boot != boot;
    let all = left.groups.len();
    let is_ours = |group: &Group| system::is_group_of(group.pid, &group.started, &left.run);
    let ended: Vec<Group> = match is_before_boot {
        true => Vec::new(),
        false => left.groups.into_iter().filter(is_ours).collect(),
    };
    let ids: BTreeSet<u32> = ended.iter().map(|group| group.pid).collect();
    system::end_groups(&ids, GRACE);
    Stale { pid: left.pid, is_before_boot, gone: all - ended.len(), ended }
}

/// Logs of the replicas that run, as a folder's book has them.
pub(super) fn running_logs(folder: &Path) -> BTreeSet<PathBuf> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let Some(book) = read(&folder) else { return BTreeSet::new() };
    let is_alive = system::start_of(book.pid).is_some_and(|now| now == book.started);
    let logs = book.groups.into_iter().map(|group| group.log);
    logs.filter(|_| is_alive).collect()
}

/// The folder where nobody names one: `tidegate` below `$XDG_STATE_HOME`, else below `~/.local/state`.
pub fn default_folder(state_home: Option<&OsStr>, home: Option<&OsStr>) -> Option<PathBuf> {
    let absolute = |path: &OsStr| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let base = state_home.and_then(absolute);
    let base = base.or_else(|| Some(home.and_then(absolute)?.join(".local/state")));
    Some(base?.join("tidegate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(pid: u32, started: &str) -> Group {
        let (target, log) = ("chat".to_owned(), PathBuf::from("/nowhere/chat.log"));
        Group { pid, started: started.to_owned(), target, replica: 0, log }
    }

    #[test]
    fn two_runs_do_not_share_a_folder_and_the_second_is_told_who_has_it() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (state, stale) = State::open(folder.path()).expect("it is free");
        assert_eq!(stale, None);
        let refused = State::open(folder.path()).expect_err("it is in use").to_string();
        let pid = std::process::id();
        assert_eq!(
            refused,
            format!("the state folder {} is in use by process {pid}", folder.path().display())
        );
        drop(state);
        let (_state, stale) = State::open(folder.path()).expect("it is free again");
        assert_eq!(stale, None, "the run before ended in order");
    }

    #[test]
    fn what_a_killed_run_left_is_told_and_strangers_are_not_touched() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (mut state, _) = State::open(folder.path()).expect("it is free");
        // This very process under a wrong start: a number that was used again.
        state.add(group(std::process::id(), "long ago")).expect("it can be written");
        state.add(group(u32::MAX - 1, "1")).expect("it can be written");
        state.add(group(0, "1")).expect("it can be written");
        drop(state);
        let (mut state, stale) = State::open(folder.path()).expect("it is free");
        let stale = stale.expect("groups were left");
        assert_eq!((stale.gone, stale.ended.len(), stale.is_before_boot), (3, 0, false));
        assert!(
            stale.to_string().ends_with("did not end in order; nothing of it was left"),
            "{stale}"
        );
        state.book.boot = "another".to_owned();
        state
            .add(group(std::process::id(), &state.book.started.clone()))
            .expect("it can be written");
        drop(state);
        let (_state, stale) = State::open(folder.path()).expect("it is free");
        assert!(stale.expect("a group was left").is_before_boot);
    }

    #[test]
    fn a_torn_book_is_none() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        std::fs::write(folder.path().join(FILE), "{\"boot\": \"x").expect("it can be written");
        let (_state, stale) = State::open(folder.path()).expect("it is free");
        assert_eq!(stale, None);
    }

    #[test]
    fn the_folder_is_where_the_system_keeps_state() {
        let text = OsStr::new;
        for (state, home, expected) in [
            (Some(text("/s")), Some(text("/h")), Some("/s/tidegate")),
            (None, Some(text("/h")), Some("/h/.local/state/tidegate")),
            (Some(text("relative")), Some(text("/h")), Some("/h/.local/state/tidegate")),
            (Some(text("")), None, None),
        ] {
            assert_eq!(default_folder(state, home), expected.map(PathBuf::from));
        }
    }
}
