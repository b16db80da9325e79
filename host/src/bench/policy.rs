//! What one policy takes: time, fuel and memory by batch, and how long it takes to get it ready. Fuel is the same on every machine;
//! times are this machine's.

use std::fmt::Write as _;

use serde::Serialize;

use super::places::{self, PlacesMeasured};
use super::workload::batch_with;
use super::{median, now, tempfile_folder};
use crate::policy::native::NativeScaling;
use crate::policy::{
    BindError, CallError, LoadError, Package, PlacementPolicy as _, Sandbox, ScalingPolicy,
};

/// Batches that a decision is measured in.
pub const BATCHES: [u32; 5] = [1, 10, 100, 1_000, 10_000];

/// A policy that is to be measured.
pub struct Subject<'a> {
    /// As it was named.
    pub name: &'a str,
    /// The component.
    pub component: &'a [u8],
    /// The name by which it is built in, if it is.
    pub builtin: Option<&'a str>,
    /// Its own settings, the `settings` part of the settings document.
    pub settings: &'a serde_json::Value,
}

/// What a policy takes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyMeasured {
    /// As it was named.
    pub policy: String,
    /// `sha256:…`.
    pub digest: String,
    /// Size of the component. Bytes.
    pub component_bytes: usize,
    /// Columns that it reads.
    pub inputs: usize,
    /// Columns that it gives.
    pub outputs: usize,
    /// Decisions, by batch; none of a policy that only places.
    pub decisions: Vec<BatchMeasured>,
    /// Choices of nodes, by the size of the fleet; none of a policy that only scales.
    pub places: Vec<PlacesMeasured>,
    /// Checked, compiled and started. Milliseconds, the median of a few.
    pub compile_ms: f64,
    /// The same from machine code in the cache. Milliseconds.
    pub cached_ms: f64,
    /// A fresh instance, which every call gets. Microseconds.
    pub instance_us: f64,
    /// Most memory that it may have. Bytes.
    pub memory_limit_bytes: u64,
}

/// Decisions in batches of one size.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchMeasured {
    /// Targets of the batch.
    pub batch: u32,
    /// One decision as a component. Nanoseconds.
    pub sandboxed_ns: f64,
    /// One decision as plain Rust, where the policy is built in. Nanoseconds.
    pub native_ns: Option<f64>,
    /// Fuel of the whole batch.
    pub fuel: u64,
    /// Fuel that it may take.
    pub fuel_limit: u64,
    /// Most memory that an instance had. Bytes.
    pub memory_bytes: u64,
    /// What went wrong, where a batch was not decided whole; the other numbers then say little.
    pub failure: Option<String>,
}

/// A policy that cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// It does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It does not take the settings.
    #[error("it does not accept the settings")]
    Bind(#[from] BindError),
    /// It makes no states, or does not start.
    #[error("it makes no first states")]
    Init(#[from] CallError),
    /// The folder of the cache.
    #[error("cannot use a folder for machine code")]
    Folder(#[from] std::io::Error),
}

impl PolicyMeasured {
    /// Measures `subject` with a sandbox that keeps no machine code. `progress` hears what is measured.
    ///
    /// # Errors
    ///
    /// When it does not load, or does not take the settings.
    pub fn take(
        sandbox: &Sandbox,
        subject: &Subject<'_>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<PolicyMeasured, MeasureError> {
        let load = |sandbox: &Sandbox| match subject.builtin {
            Some(_) => sandbox.load_trusted(subject.component),
            None => sandbox.load(subject.component),
        };
        progress("loading it");
        let (package, compile_ms) = timed_load(3, || load(sandbox))?;
        let folder = tempfile_folder()?;
        let cached = sandbox.clone().with_cache(&folder);
        let loaded = load(&cached).and_then(|_| timed_load(9, || load(&cached)));
        std::fs::remove_dir_all(&folder)?;
        let (_, cached_ms) = loaded?;
        let document = super::workload::document_with(subject.settings);
        let mut decisions = Vec::new();
        let (mut inputs, mut outputs) = (0, 0);
        if let Some(mut policy) = package.scaling() {
            let program = policy.bind(&document)?;
            (inputs, outputs) = (program.inputs.len(), program.outputs.len());
            let mut native = subject.builtin.and_then(native);
            for size in BATCHES {
                progress(&format!("one decision in a batch of {size}"));
                let batch = measured(&package, &mut policy, native.as_deref_mut(), &document, size);
                decisions.push(batch?);
            }
        }
        let mut places = Vec::new();
        if let Some(mut policy) = package.placement() {
            let mut native = subject.builtin.and_then(places::native);
            for fleet in places::FLEETS {
                progress(&format!("{} replicas on {} nodes", fleet.replicas, fleet.nodes));
                let native = native.as_deref_mut();
                places.push(places::measured(
                    &package,
                    &mut policy,
                    native,
                    subject.settings,
                    fleet,
                )?);
            }
            inputs += policy.inputs()?.len();
        }
        progress("a fresh instance");
        package.instance()?;
        let instance_us = median(|| (0..200).all(|_| package.instance().is_ok())) * 1e6 / 200.0;
        Ok(PolicyMeasured {
            policy: subject.name.to_owned(),
            digest: package.digest().to_owned(),
            component_bytes: subject.component.len(),
            inputs,
            outputs,
            decisions,
            places,
            compile_ms,
            cached_ms,
            instance_us,
            memory_limit_bytes: sandbox.limits().memory_bytes,
        })
    }

    /// For a person.
    pub fn render(&self) -> String {
        let gives = match self.decisions.is_empty() {
            true => String::new(),
            false => format!(" and gives {}", self.outputs),
        };
        let mut text = format!(
            "{}, {:.0} kB, reads {} columns{gives}\n\n",
            self.policy,
            self.component_bytes as f64 / 1e3,
            self.inputs,
        );
        if !self.decisions.is_empty() {
            self.render_decisions(&mut text);
        }
        if !self.places.is_empty() {
            places::render(&self.places, &mut text);
        }
        let _ = writeln!(text, "\nchecked, compiled and started  {:>8.1} ms", self.compile_ms);
        let _ = writeln!(text, "from the cache                 {:>8.1} ms", self.cached_ms);
        let _ = writeln!(text, "a fresh instance               {:>8.1} µs", self.instance_us);
        let _ = writeln!(
            text,
            "memory allowed                 {:>8} MiB",
            self.memory_limit_bytes >> 20
        );
        text
    }
}

impl PolicyMeasured {
    fn render_decisions(&self, text: &mut String) {
        let has_native = self.decisions.iter().any(|one| one.native_ns.is_some());
        let native = if has_native { "   native ns   ratio" } else { "" };
        let _ = writeln!(
            text,
            "   batch  one decision, ns{native}    fuel each  of the budget     memory"
        );
        for one in &self.decisions {
            if let Some(failure) = &one.failure {
                let _ = writeln!(text, "{:>8}  failed: {failure}", one.batch);
                continue;
            }
            let native = match one.native_ns {
                Some(native) => format!("{native:>12.0}  {:>6.1}", one.sandboxed_ns / native),
                None if has_native => format!("{:>20}", ""),
                None => String::new(),
            };
            let _ = writeln!(
                text,
                "{:>8}  {:>16.0}{native}  {:>11.0}  {:>11.1} %  {:>6.0} KiB",
                one.batch,
                one.sandboxed_ns,
                one.fuel as f64 / f64::from(one.batch),
                one.fuel as f64 / one.fuel_limit as f64 * 100.0,
                one.memory_bytes as f64 / 1_024.0
            );
        }
        let _ = writeln!(
            text,
            "\nFuel is the same on every machine. A batch that goes well may take about half of its budget; the rest\n\
             is for finding out who is at fault in one that does not. The engine asks about 1,000 targets at a time."
        );
    }
}

/// The policy of that name as plain Rust.
fn native(name: &str) -> Option<Box<dyn ScalingPolicy>> {
    match name {
        "knative" => Some(super::native_knative()),
        "scale-to-zero" => Some(Box::new(
            NativeScaling::<tidegate_scale_to_zero::ScaleToZero>::new("scale-to-zero"),
        )),
        _ => None,
    }
}

fn measured(
    package: &Package,
    policy: &mut dyn ScalingPolicy,
    native: Option<&mut (dyn ScalingPolicy + 'static)>,
    document: &str,
    size: u32,
) -> Result<BatchMeasured, MeasureError> {
    let limits = package.limits();
    let mut one = BatchMeasured {
        batch: size,
        sandboxed_ns: 0.0,
        native_ns: None,
        fuel: 0,
        fuel_limit: limits.fuel(size as usize),
        memory_bytes: 0,
        failure: None,
    };
    let (seen, columns) = batch_with(policy, document, size)?;
    package.take_most_memory();
    let answer = policy.decide(&seen, columns);
    one.memory_bytes = package.take_most_memory();
    one.fuel = answer.fuel;
    if let Some((_, error)) = answer.failed.first() {
        let (failed, message) = (answer.failed.len(), &error.message);
        one.failure = Some(format!("{failed} of {size} targets got no decision: {message}"));
        return Ok(one);
    }
    let time = |policy: &mut dyn ScalingPolicy| {
        let repeats = (20_000 / size).clamp(1, 2_000);
        let seconds = median(|| {
            for _ in 0..repeats {
                std::hint::black_box(policy.decide(&seen, columns));
            }
        });
        seconds * 1e9 / (f64::from(repeats) * f64::from(size))
    };
    one.sandboxed_ns = time(policy);
    if let Some(native) = native {
        // It knows the settings by what it made of them itself.
        native.bind(document)?;
        one.native_ns = Some(time(native));
    }
    Ok(one)
}

/// Loads several times. Gives what was loaded last, and the median of the times. Milliseconds.
fn timed_load(
    rounds: usize,
    load: impl Fn() -> Result<Package, LoadError>,
) -> Result<(Package, f64), LoadError> {
    let timed = || {
        let begun = now();
        load().map(|package| (package, begun.elapsed().as_secs_f64() * 1e3))
    };
    let (package, first) = timed()?;
    let mut times = vec![first];
    for _ in 1..rounds {
        times.push(timed()?.1);
    }
    times.sort_by(f64::total_cmp);
    Ok((package, times[rounds / 2]))
}
