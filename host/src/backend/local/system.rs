//! What the operating system knows of processes: whether one lives, since when, and how groups are ended.

#![expect(
    clippy::disallowed_methods,
    reason = "an edge: it waits for processes that are not ours to await"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// How often it is looked whether a group has ended.
const LOOK: Duration = Duration::from_millis(10);

/// The id of a group that may be signalled: never that of everybody, of the caller's own, or of the first process.
fn group(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().filter(|id| *id > 1).and_then(Pid::from_raw)
}

/// Sends a signal to a group; one that is gone is none to be signalled.
pub(super) fn signal_group(id: u32, signal: Signal) {
    if let Some(group) = group(id) {
        let _ = kill_process_group(group, signal);
    }
}

/// Whether any process of a group is there.
pub(super) fn is_group(id: u32) -> bool {
    // One that may not be signalled is there too.
    group(id).is_some_and(|group| test_kill_process_group(group) != Err(rustix::io::Errno::SRCH))
}

/// Ends groups: SIGTERM, `grace`, SIGKILL. Waits for them in this thread.
pub(super) fn end_groups(groups: &BTreeSet<u32>, grace: Duration) {
    groups.iter().for_each(|id| signal_group(*id, Signal::TERM));
    let begun = Instant::now();
    while begun.elapsed() < grace && groups.iter().any(|id| is_group(*id)) {
        std::thread::sleep(LOOK);
    }
    groups.iter().for_each(|id| signal_group(*id, Signal::KILL));
}

/// What names this start of the machine; nothing where the system does not say.
#[cfg(target_os = "linux")]
pub(super) fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// What names this start of the machine; nothing where the system does not say.
#[cfg(not(target_os = "linux"))]
pub(super) fn boot_id() -> Option<String> {
    told_by("sysctl", &["-n", "kern.bootsessionuuid"])
}

/// When a process started, in words that only compare; nothing where there is none, or none any more that does anything.
#[cfg(target_os = "linux")]
pub(super) fn start_of(pid: u32) -> Option<String> {
    let stat = Stat::of(pid)?;
    (!stat.is_dead).then_some(stat.started)
}

/// When a process started, in words that only compare; nothing where there is none.
#[cfg(not(target_os = "linux"))]
pub(super) fn start_of(pid: u32) -> Option<String> {
    told_by("ps", &["-o", "lstart=", "-p", &pid.to_string()])
}

#[cfg(not(target_os = "linux"))]
fn told_by(program: &str, args: &[&str]) -> Option<String> {
    let done = std::process::Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    (done.status.success() && !text.is_empty()).then_some(text)
}

/// What is wanted of `/proc/PID/stat`.
#[cfg(target_os = "linux")]
struct Stat {
    is_dead: bool,
    group: u32,
    started: String,
}

#[cfg(target_os = "linux")]
impl Stat {
    fn of(pid: u32) -> Option<Stat> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses, and may have any character in it.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let [state, _, group, ..] = fields.as_slice() else { return None };
        let started = (*fields.get(19)?).to_owned();
        let is_dead = ["Z", "X"].contains(state);
        Some(Stat { is_dead, group: group.parse().ok()?, started })
    }
}

/// Whether a group of an earlier run still has a process that surely belongs to that run: its first one, known by its start, or
/// one that has the run's name among its variables.
pub(super) fn is_group_of(id: u32, started: &str, run: &str) -> bool {
    start_of(id).is_some_and(|now| now == started) || has_member_of(id, run)
}

#[cfg(target_os = "linux")]
fn has_member_of(group: u32, run: &str) -> bool {
    let wanted = format!("{}={run}", super::process::RUN_VARIABLE);
    let Ok(entries) = std::fs::read_dir("/proc") else { return false };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| Stat::of(*pid).is_some_and(|stat| stat.group == group && !stat.is_dead))
        .filter_map(|pid| std::fs::read(format!("/proc/{pid}/environ")).ok())
        .any(|environment| environment.split(|byte| *byte == 0).any(|it| it == wanted.as_bytes()))
}

#[cfg(not(target_os = "linux"))]
fn has_member_of(_group: u32, _run: &str) -> bool {
    false
}

/// What this machine is called.
pub(super) fn host_name() -> String {
    #[cfg(target_os = "linux")]
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    #[cfg(not(target_os = "linux"))]
    let name = told_by("hostname", &["-s"]);
    let name = name.unwrap_or_default().trim().to_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// Main memory that this program and its children may have. Bytes; nothing where the system does not say.
#[cfg(target_os = "linux")]
pub(super) fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let all = line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)?;
    // Of a container, where it has a limit.
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse().ok());
    Some(limit.map_or(all, |limit: u64| limit.min(all)))
}

/// Main memory. Bytes; nothing where the system does not say.
#[cfg(not(target_os = "linux"))]
pub(super) fn memory_bytes() -> Option<u64> {
    told_by("sysctl", &["-n", "hw.memsize"])?.parse().ok()
}
