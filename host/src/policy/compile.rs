//! Machine code: made in this process for components that are trusted, in a child with limits of its own for all others, and kept
//! in a folder. This is the one place that takes bytes for machine code.

use std::fs::OpenOptions;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::Limits;
use super::load::LoadError;
use super::sandbox::{Slots, config};

/// The hidden subcommand that makes this program a compiler.
pub const SUBCOMMAND: &str = "__compile";

/// Compiles in this process.
pub(super) fn here(engine: &Engine, component: &[u8]) -> Result<Vec<u8>, LoadError> {
    engine
        .precompile_component(component)
        .map_err(|error| LoadError::Compile { message: format!("{error:#}") })
}

/// Compiles in a child process, which may take no more memory and processor time than the limits say.
pub(super) fn in_child(
    program: &Path,
    component: &[u8],
    limits: &Limits,
) -> Result<Vec<u8>, LoadError> {
    let failed = |source| LoadError::Compiler { source };
    let mut child = Command::new(program)
        .arg(SUBCOMMAND)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut head = serde_json::to_vec(limits).expect("limits are a document");
    head.push(b'\n');
    head.extend_from_slice(component);
    let id = rustix::process::Pid::from_child(&child);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut input = child.stdin.take().expect("its input is a pipe");
        // It reads everything before it writes anything. If it is gone already, its exit says why.
        let sent = input.write_all(&head);
        drop(input);
        // Nobody listens any more where it took too long.
        let _ = tell.send(child.wait_with_output().map(|done| (sent, done)));
    });
    // Processor time is the limit; this is for a child that gets none, or is stopped.
    let patience_s = limits.compile_cpu_s.saturating_mul(3);
    let Ok(done) = told.recv_timeout(Duration::from_secs(patience_s)) else {
        let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        return Err(LoadError::CompileLimit { limit: format!("{patience_s} s") });
    };
    let (sent, done) = done.map_err(failed)?;
    if done.status.success() {
        sent.map_err(failed)?;
        return Ok(done.stdout);
    }
    Err(failure(&done, limits))
}

/// Why a child gave no code: it says so itself, or the system put an end to it.
fn failure(done: &std::process::Output, limits: &Limits) -> LoadError {
    use std::os::unix::process::ExitStatusExt as _;
    let said = String::from_utf8_lossy(&done.stderr);
    match done.status.signal() {
        Some(signal)
            if signal == rustix::process::Signal::XCPU.as_raw()
                || signal == rustix::process::Signal::KILL.as_raw() =>
        {
            LoadError::CompileLimit {
                limit: format!("{} s of processor time", limits.compile_cpu_s),
            }
        }
        Some(_) => LoadError::CompileLimit {
            limit: format!("{} MiB of memory", limits.compile_memory_bytes >> 20),
        },
        // Where no address is left for the stack of a thread, there is none for code either.
        None if said.contains("ThreadPoolBuildError") => LoadError::CompileLimit {
            limit: format!("{} MiB of memory", limits.compile_memory_bytes >> 20),
        },
        None => LoadError::Compile { message: said.trim().to_owned() },
    }
}

/// What the child does: reads limits and a component, sets the limits on itself, writes machine code.
pub fn compile_child() -> ExitCode {
    match compile_from_input() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn compile_from_input() -> Result<(), String> {
    let told = |error: std::io::Error| error.to_string();
    let mut input = std::io::stdin().lock();
    let mut head = String::new();
    input.read_line(&mut head).map_err(told)?;
    let limits: Limits = serde_json::from_str(&head).map_err(|error| error.to_string())?;
    let mut component = Vec::new();
    input.read_to_end(&mut component).map_err(told)?;
    for (resource, limit) in
        [(Resource::As, limits.compile_memory_bytes), (Resource::Cpu, limits.compile_cpu_s)]
    {
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        rustix::process::setrlimit(resource, limit).map_err(|error| error.to_string())?;
    }
    let engine =
        Engine::new(&config(&limits, &Slots::OnDemand)).map_err(|error| format!("{error:#}"))?;
    let code = engine.precompile_component(&component).map_err(|error| format!("{error:#}"))?;
    std::io::stdout().write_all(&code).map_err(told)
}

/// Takes bytes for machine code.
#[expect(
    unsafe_code,
    reason = "the bytes were written by this program: by its own child, or to a folder only its user can write to"
)]
pub(super) fn adopt(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: see `expect`; wasmtime itself checks that version and configuration are its own.
    unsafe { Component::deserialize(engine, code) }
}

/// A folder of machine code, by digest of the component and of everything that compilation depends on.
pub(super) struct Cache {
    folder: PathBuf,
    compatibility: u64,
}

impl Cache {
    /// The folder, made if need be; nothing where it cannot be used or others can write to it.
    pub(super) fn open(folder: &Path, engine: &Engine) -> Option<Cache> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).ok()?;
        let is_ours = is_ours_alone(&std::fs::metadata(folder).ok()?);
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        is_ours.then(|| Cache { folder: folder.to_owned(), compatibility: hasher.finish() })
    }

    fn file(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
        self.folder.join(format!("{hex}-{:016x}.code", self.compatibility))
    }

    /// The code of a component. A file that is damaged, or that others could have written, is as good as none.
    pub(super) fn read(&self, digest: &str) -> Option<Vec<u8>> {
        let mut opened = std::fs::File::open(self.file(digest)).ok()?;
        if !is_ours_alone(&opened.metadata().ok()?) {
            return None;
        }
        let mut file = Vec::new();
        opened.read_to_end(&mut file).ok()?;
        let code = file.split_off(file.len().min(32));
        (file == Sha256::digest(&code).as_slice()).then_some(code)
    }

    /// Keeps the code of a component; if it cannot, the next run compiles again.
    pub(super) fn write(&self, digest: &str, code: &[u8]) {
        let file = self.file(digest);
        let unfinished = file.with_extension(format!("{}.part", std::process::id()));
        let mut bytes = Sha256::digest(code).to_vec();
        bytes.extend_from_slice(code);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)
            .and_then(|mut made| made.write_all(&bytes))
            .and_then(|()| std::fs::rename(&unfinished, &file));
        if written.is_err() {
            std::fs::remove_file(&unfinished).ok();
        }
    }
}

/// Whether a file or folder is this user's, and nobody else may write to it.
fn is_ours_alone(its: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    its.uid() == rustix::process::geteuid().as_raw() && its.mode() & 0o022 == 0
}
