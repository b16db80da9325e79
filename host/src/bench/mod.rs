//! What a decision costs, and what a replay does: [`Measured::take`] for `tidegate bench`, [`policy`] for `tidegate bench POLICY`, and the same work for the criterion
//! benches. It reads the clock, which nothing that it measures does.

pub mod places;
pub mod policy;
pub mod workload;

use std::error::Error;
use std::fmt::Write as _;
use std::time::Instant;

use serde::Serialize;

use crate::policy::native::NativeScaling;
use crate::policy::{Sandbox, ScalingPolicy, builtin};
use workload::{Dense, Quiet, Services};

/// Batches that a decision is measured in.
pub const BATCHES: [u32; 4] = [1, 100, 1_000, 10_000];
/// Services of the tick that is measured.
pub const SERVICES: u32 = 10_000;
/// Rounds of which the median counts.
const ROUNDS: usize = 9;

/// What was measured in one run of one program: compare what stands side by side, not runs on different machines.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// One decision of `knative`, by batch.
    pub decisions: Vec<DecisionTimes>,
    /// A tick over [`SERVICES`] services of one tenant.
    pub ticks: Vec<TickTimes>,
    /// Until a component decides.
    pub load: LoadTimes,
    /// Replays through the three built-in policies, sandboxed.
    pub replays: Vec<ReplayTimes>,
    /// Most memory that this process had. Bytes; `null` where the system does not say.
    pub peak_memory_bytes: Option<u64>,
}

/// One decision in a batch. Nanoseconds, medians.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionTimes {
    /// Targets of the batch.
    pub batch: u32,
    /// As plain Rust.
    pub native_ns: f64,
    /// As a component, in a fresh instance.
    pub sandboxed_ns: f64,
    /// Fuel of one decision.
    pub fuel: f64,
}

/// One tick: reports into windows, decisions, bounds. Milliseconds, medians.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TickTimes {
    /// What the load does.
    pub load: &'static str,
    /// Services.
    pub services: u32,
    /// With both stages as plain Rust.
    pub native_ms: f64,
    /// With both stages as components.
    pub sandboxed_ms: f64,
}

/// Until a component decides. Milliseconds, medians.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadTimes {
    /// Checked, compiled and started.
    pub cold_ms: f64,
    /// From machine code in the cache.
    pub cached_ms: f64,
    /// Size of the component. Bytes.
    pub component_bytes: usize,
}

/// A replay.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayTimes {
    /// The load.
    pub load: &'static str,
    /// Requests.
    pub requests: u64,
    /// Ticks, spared ones included.
    pub ticks: u64,
    /// How long it took. Seconds.
    pub seconds: f64,
}

impl Measured {
    /// Measures everything, which takes about half a minute. `progress` hears what is measured.
    ///
    /// # Errors
    ///
    /// When a built-in policy does not load or decide.
    pub fn take(
        sandbox: &Sandbox,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Measured, Box<dyn Error>> {
        let mut decisions = Vec::new();
        for batch in BATCHES {
            progress(&format!("one decision in a batch of {batch}"));
            let (native_ns, _) = decide(native_knative(), batch)?;
            let (sandboxed_ns, fuel) = decide(component(sandbox, "knative")?, batch)?;
            decisions.push(DecisionTimes { batch, native_ns, sandboxed_ns, fuel });
        }
        let mut ticks = Vec::new();
        for (load, moves) in [("moves a little", false), ("changes every decision", true)] {
            progress(&format!("a tick over {SERVICES} services whose load {load}"));
            let mut native = Services::new(SERVICES, moves, native_stages());
            let mut sandboxed = Services::new(SERVICES, moves, component_stages(sandbox)?);
            ticks.push(TickTimes {
                load,
                services: SERVICES,
                native_ms: median(|| native.tick()) * 1e3,
                sandboxed_ms: median(|| sandboxed.tick()) * 1e3,
            });
        }
        progress("loading a component");
        let load = load_times(sandbox)?;
        let mut replays = Vec::new();
        progress("a replay of dense load");
        replays.push(Dense::new(sandbox)?.run()?);
        progress("a replay of a quiet day");
        replays.push(Quiet::new(sandbox)?.run()?);
        Ok(Measured { decisions, ticks, load, replays, peak_memory_bytes: peak_memory() })
    }

    /// For a person.
    pub fn render(&self) -> String {
        let mut text = String::from(
            "one decision of knative, ns        native   sandboxed   ratio     fuel\n",
        );
        for one in &self.decisions {
            let _ = writeln!(
                text,
                "  fresh instance for {:>6}      {:>10.0}  {:>10.0}  {:>6.1}  {:>7.0}",
                one.batch,
                one.native_ns,
                one.sandboxed_ns,
                one.sandboxed_ns / one.native_ns,
                one.fuel
            );
        }
        let _ =
            writeln!(text, "\na tick over {SERVICES} services, ms     native   sandboxed   ratio");
        for one in &self.ticks {
            let _ = writeln!(
                text,
                "  load {:<24}  {:>8.1}  {:>10.1}  {:>6.1}",
                one.load,
                one.native_ms,
                one.sandboxed_ms,
                one.sandboxed_ms / one.native_ms
            );
        }
        let LoadTimes { cold_ms, cached_ms, component_bytes } = &self.load;
        let _ = writeln!(
            text,
            "\nuntil a component of {} kB decides, ms\n  checked and compiled  {cold_ms:>8.1}\n  from the cache        {cached_ms:>8.1}",
            component_bytes / 1_000
        );
        let _ = writeln!(
            text,
            "\nreplay, all policies sandboxed         requests      ticks   seconds"
        );
        for one in &self.replays {
            let _ = writeln!(
                text,
                "  {:<32}  {:>10} {:>10}  {:>8.2}   {:.2} M requests/s, {:.0} ticks/s",
                one.load,
                one.requests,
                one.ticks,
                one.seconds,
                one.requests as f64 / one.seconds / 1e6,
                one.ticks as f64 / one.seconds
            );
        }
        if let Some(bytes) = self.peak_memory_bytes {
            let _ = writeln!(text, "\npeak memory of all this: {} MB", bytes / 1_000_000);
        }
        text
    }
}

/// Stages by name.
pub type Stages = Vec<(&'static str, Box<dyn ScalingPolicy>)>;

/// `knative` as plain Rust.
pub fn native_knative() -> Box<dyn ScalingPolicy> {
    Box::new(NativeScaling::<tidegate_knative::Knative>::new("knative"))
}

/// The default stages as plain Rust.
pub fn native_stages() -> Stages {
    let zero = NativeScaling::<tidegate_scale_to_zero::ScaleToZero>::new("scale-to-zero");
    vec![("knative", native_knative()), ("scale-to-zero", Box::new(zero))]
}

/// A built-in scaling policy as a component.
///
/// # Errors
///
/// When it does not load.
pub fn component(sandbox: &Sandbox, name: &str) -> Result<Box<dyn ScalingPolicy>, Box<dyn Error>> {
    let bytes = builtin::builtin(name).ok_or("it is not built in")?;
    let policy = sandbox.load_trusted(bytes)?.scaling().ok_or("it does not scale")?;
    Ok(Box::new(policy))
}

/// The default stages as components.
///
/// # Errors
///
/// When one does not load.
pub fn component_stages(sandbox: &Sandbox) -> Result<Stages, Box<dyn Error>> {
    ["knative", "scale-to-zero"]
        .map(|name| Ok((name, component(sandbox, name)?)))
        .into_iter()
        .collect()
}

/// Nanoseconds and fuel of one decision in a batch of that many.
fn decide(mut policy: Box<dyn ScalingPolicy>, batch: u32) -> Result<(f64, f64), Box<dyn Error>> {
    let (seen, columns) = workload::batch(&mut *policy, batch)?;
    let repeats = (20_000 / batch).clamp(1, 2_000);
    let mut fuel = 0;
    let seconds = median(|| {
        for _ in 0..repeats {
            let answer = policy.decide(&seen, columns);
            assert!(answer.failed.is_empty(), "a built-in policy decides");
            fuel = answer.fuel;
        }
    });
    let decisions = f64::from(repeats) * f64::from(batch);
    Ok((seconds * 1e9 / decisions, fuel as f64 / f64::from(batch)))
}

fn load_times(sandbox: &Sandbox) -> Result<LoadTimes, Box<dyn Error>> {
    let bytes = builtin::builtin("knative").ok_or("it is not built in")?;
    let folder = tempfile_folder()?;
    let cached = sandbox.clone().with_cache(&folder);
    cached.load_trusted(bytes)?;
    let load = |sandbox: &Sandbox| median(|| sandbox.load_trusted(bytes).map(|_| ()).is_ok()) * 1e3;
    let times = LoadTimes {
        cold_ms: load(sandbox),
        cached_ms: load(&cached),
        component_bytes: bytes.len(),
    };
    std::fs::remove_dir_all(&folder)?;
    Ok(times)
}

/// A folder of this process alone.
fn tempfile_folder() -> std::io::Result<std::path::PathBuf> {
    let folder = std::env::temp_dir().join(format!("tidegate-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Seconds that `work` takes: the median of some rounds, after one that does not count.
fn median<T>(mut work: impl FnMut() -> T) -> f64 {
    work();
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = now();
            std::hint::black_box(work());
            begun.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

#[expect(clippy::disallowed_methods, reason = "this module measures time")]
fn now() -> Instant {
    Instant::now()
}

/// Most memory that this process had, where the system says it as Linux does.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}
