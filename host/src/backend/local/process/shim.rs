//! What stands for an instant between this program and a child: it ties its life to its parent's, waits until somebody has written
//! down that it is there, and becomes the command.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Pid, getppid};

/// The hidden subcommand that makes this program one.
pub const SUBCOMMAND: &str = "__exec";

/// What it says before it could become the command.
pub(super) const COMPLAINT: &str = "tidegate cannot run ";

/// Becomes `command`, if the process `parent` still waits for it. Returns only if that fails.
pub fn exec(parent: u32, command: &[OsString]) -> ExitCode {
    // Linux ends this process when the thread ends that started it, so that is one that lives as long as the program.
    #[cfg(target_os = "linux")]
    if rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .is_err()
    {
        return ExitCode::FAILURE;
    }
    // It may have died before that was asked for.
    let raw = getppid().map(Pid::as_raw_nonzero);
    if raw.and_then(|pid| u32::try_from(pid.get()).ok()) != Some(parent) {
        return ExitCode::FAILURE;
    }
    if std::io::stdin().read_exact(&mut [0]).is_err() {
        return ExitCode::FAILURE;
    }
    let Some((program, args)) = command.split_first() else { return ExitCode::FAILURE };
    let error = Command::new(program).args(args).stdin(Stdio::null()).exec();
    eprintln!("{COMPLAINT}{}: {error}", program.display());
    let is_missing = error.kind() == std::io::ErrorKind::NotFound;
    ExitCode::from(if is_missing { 127 } else { 126 })
}
