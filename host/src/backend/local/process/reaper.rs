//! A process beside this program that outlives it by a moment. It reads from a pipe which process groups there are; when the pipe
//! closes, for whatever reason, it ends those that are left. So a `kill -9` of this program leaves no grandchildren behind either,
//! and on systems without a signal at the parent's death no children.

use std::collections::BTreeSet;
use std::io::{BufRead as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::Duration;

use crate::backend::local::system;

/// The hidden subcommand that makes this program one.
pub const SUBCOMMAND: &str = "__reap";

/// How long groups may take to end after SIGTERM when nobody is left who waits for them.
const GRACE: Duration = Duration::from_secs(2);

/// The reaper, as who started it sees it.
#[derive(Debug)]
pub(super) struct Reaper {
    program: PathBuf,
    groups: BTreeSet<u32>,
    process: Option<(Child, ChildStdin)>,
}

impl Reaper {
    /// Starts one.
    pub(super) fn start(program: &Path) -> std::io::Result<Reaper> {
        let mut reaper =
            Reaper { program: program.to_owned(), groups: BTreeSet::new(), process: None };
        reaper.begin()?;
        Ok(reaper)
    }

    fn begin(&mut self) -> std::io::Result<()> {
        self.end();
        let mut child = Command::new(&self.program)
            .arg(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take().expect("its input is a pipe");
        self.process = Some((child, pipe));
        let all: String = self.groups.iter().map(|group| format!("+{group}\n")).collect();
        self.write(&all)
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        let (_, pipe) = self.process.as_mut().ok_or(std::io::ErrorKind::BrokenPipe)?;
        pipe.write_all(text.as_bytes())
    }

    /// Tells it of a group. Another is started if somebody ended it.
    pub(super) fn watch(&mut self, group: u32) -> std::io::Result<()> {
        self.groups.insert(group);
        self.write(&format!("+{group}\n")).or_else(|_| self.begin())
    }

    /// Tells it that a group is no more.
    pub(super) fn forget(&mut self, group: u32) -> std::io::Result<()> {
        self.groups.remove(&group);
        self.write(&format!("-{group}\n")).or_else(|_| self.begin())
    }

    fn end(&mut self) {
        if let Some((mut child, pipe)) = self.process.take() {
            drop(pipe);
            let _ = child.wait();
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the process does: reads groups until the pipe closes, then ends those that are left.
pub fn reap() -> ExitCode {
    // Whoever ends programs by their name means this one last. Without handlers it still does its work.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let _context = runtime.as_ref().map(tokio::runtime::Runtime::enter);
    if runtime.is_ok() {
        use tokio::signal::unix::{SignalKind, signal};
        for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
            let _ = signal(kind);
        }
    }
    let mut groups = BTreeSet::new();
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    while let Ok(length) = input.read_until(b'\n', &mut line) {
        if length == 0 {
            break;
        }
        take(&mut groups, &line);
        line.clear();
    }
    system::end_groups(&groups, GRACE);
    ExitCode::SUCCESS
}

/// Takes in a line; a torn one is none.
fn take(groups: &mut BTreeSet<u32>, line: &[u8]) {
    let line = std::str::from_utf8(line).ok().and_then(|line| line.strip_suffix('\n'));
    let Some(line) = line else { return };
    if let Some(group) = line.strip_prefix('+').and_then(|group| group.parse().ok()) {
        groups.insert(group);
    } else if let Some(group) = line.strip_prefix('-').and_then(|group| group.parse().ok()) {
        groups.remove(&group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_or_foreign_line_names_no_group() {
        let mut groups = BTreeSet::new();
        for line in
            ["+12\n", "+345\n", "-12\n", "+67", "x9\n", "+-4\n", "+\n", "\n", "+99999999999\n"]
        {
            take(&mut groups, line.as_bytes());
        }
        assert_eq!(groups, BTreeSet::from([345]));
    }
}
