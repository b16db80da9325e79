//! Random services with settings that Knative accepts, extremes among them, and random load for them. What a strategy gives prints
//! as the settings document that a person would write.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use tidegate::engine::Bounds;
use tidegate_settings::{PREFIX, Resolved};

/// A setting, texts at the ends of its range and the odd ones, and a range for the rest (least, most, unit).
type Draw = (&'static str, &'static [&'static str], Option<(f64, f64, &'static str)>);

const CLUSTER: &[Draw] = &[
    (
        "container-concurrency-target-percentage",
        &["1", "0.5", "1.01", "70", "100"],
        Some((2.0, 100.0, "")),
    ),
    (
        "container-concurrency-target-default",
        &["0.02", "1", "3", "100", "1000000"],
        Some((1.0, 200.0, "")),
    ),
    ("requests-per-second-target-default", &["0.01", "200", "1000000"], Some((1.0, 500.0, ""))),
    ("target-burst-capacity", &["-1", "0", "0.5", "211", "1000000000"], Some((0.0, 1_000.0, ""))),
    ("stable-window", &["6s", "60s", "180s", "1h"], Some((6.0, 600.0, "s"))),
    ("panic-window-percentage", &["1", "10", "13", "100"], Some((1.0, 100.0, ""))),
    ("panic-threshold-percentage", &["-1", "0", "100", "200", "1000"], Some((0.0, 1_000.0, ""))),
    (
        "max-scale-up-rate",
        &["1.000001", "1.1", "2", "20", "1000", "1000000000000"],
        Some((1.01, 30.0, "")),
    ),
    ("max-scale-down-rate", &["1.000001", "1.1", "2", "1000000000000"], Some((1.01, 30.0, ""))),
    ("enable-scale-to-zero", &["true", "false", "F"], None),
    ("scale-to-zero-grace-period", &["1ns", "30s", "60s", "24h"], Some((1.0, 120.0, "s"))),
    ("scale-to-zero-pod-retention-period", &["0s", "1.5s", "30m", "24h"], Some((0.0, 120.0, "s"))),
    ("scale-down-delay", &["0s", "1s", "2s", "3s", "60s", "24h"], Some((0.0, 120.0, "s"))),
    ("initial-scale", &["1", "3", "50"], None),
    ("allow-zero-initial-scale", &["true", "false"], None),
    ("min-scale", &["0", "1", "2"], None),
    ("max-scale", &["0", "4", "5", "100", "2147483647"], None),
    ("activator-capacity", &["1", "100", "1000000"], None),
    ("tick-interval", &["100ms", "2s", "15s", "1h"], None),
];

const ANNOTATIONS: &[Draw] = &[
    ("min-scale", &["0", "1", "3"], None),
    ("maxScale", &["0", "7", "2147483647"], None),
    ("activation-scale", &["3", "4", "60"], None),
    ("panic-window-percentage", &["1", "100"], Some((1.0, 100.0, ""))),
    ("panicThresholdPercentage", &["110", "1000"], Some((110.0, 1_000.0, ""))),
    ("target", &["0.01", "1", "0.7", "100000"], Some((0.01, 20.0, ""))),
    ("target-utilization-percentage", &["1", "70", "100"], Some((1.0, 100.0, ""))),
    ("target-burst-capacity", &["-1", "0", "70"], Some((0.0, 300.0, ""))),
    ("window", &["6s", "7s", "1h"], Some((6.0, 90.0, "s"))),
    ("scale-to-zero-pod-retention-period", &["0s", "0.5s", "1h"], Some((0.0, 90.0, "s"))),
    ("scale-down-delay", &["0s", "1s", "1h"], Some((0.0, 30.0, "s"))),
    ("metric", &["concurrency", "rps"], None),
    ("metric-aggregation-algorithm", &["linear", "weightedExponential"], None),
    ("initial-scale", &["0", "1", "5"], None),
];

/// A service, with what its settings come to.
#[derive(Clone)]
pub struct Service {
    pub document: String,
    pub resolved: Resolved,
    pub bounds: Bounds,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.document)
    }
}

/// A service whose settings are in order. Few draws are not, as an activation scale above the maximum, and are drawn again.
pub fn service() -> impl Strategy<Value = Service> {
    let parts = (texts(CLUSTER), texts(ANNOTATIONS), select(vec![0_u32, 0, 1, 3, 10, 1_000]));
    parts.prop_filter_map("settings that are in order", |(profile, annotations, concurrency)| {
        let named = |(key, value): (String, String)| (format!("{PREFIX}{key}"), value);
        let annotations: BTreeMap<String, String> = annotations.into_iter().map(named).collect();
        let (resolved, warnings) =
            tidegate_settings::resolve(&profile, &annotations, concurrency).ok()?;
        assert!(warnings.is_empty(), "{warnings:?}");
        let document = serde_json::json!({
            "settings": {},
            "profile": profile,
            "service": {
                "annotations": annotations,
                "containerConcurrency": concurrency,
                "progressDeadlineMs": 60_000,
            },
        });
        let (min, max) = (resolved.min_scale, resolved.max_scale);
        let bounds = Bounds { min, max, initial: resolved.initial_scale };
        Some(Service { document: document.to_string(), resolved, bounds })
    })
}

/// A third of the settings, in the extreme or somewhere between.
fn texts(table: &'static [Draw]) -> impl Strategy<Value = BTreeMap<String, String>> {
    let draws: Vec<_> = table.iter().map(|draw| prop::option::weighted(0.35, text(draw))).collect();
    draws.prop_map(|texts| texts.into_iter().flatten().collect())
}

fn text(&(key, texts, range): &'static Draw) -> BoxedStrategy<(String, String)> {
    let extreme = select(texts).prop_map(move |text| (key.to_owned(), text.to_owned()));
    let Some((least, most, unit)) = range else { return extreme.boxed() };
    let between = (least..=most).prop_map(move |value| {
        let text =
            if unit == "s" { format!("{:.0}s", value.ceil()) } else { format!("{value:.3}") };
        (key.to_owned(), text)
    });
    prop_oneof![extreme, between].boxed()
}

/// How many replicas are ready.
#[derive(Clone, Copy, Debug)]
pub enum Ready {
    /// As many as were last wanted, within reason.
    AsWanted,
    /// So many.
    Are(u32),
    /// Nobody knows.
    Unknown,
}

/// What is seen of a service at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Load, in replicas' targets; NaN is "no data".
    pub stable: f64,
    /// The same in the shorter window.
    pub panic: f64,
    pub ready: Ready,
    /// 1, 0, or NaN for "not known".
    pub reachable: f64,
    /// What the stage before wants; NaN: it has not decided.
    pub proposal: f64,
    /// Bits: needs the gateway, was initialised, the gateway answers, the gateway is in the path.
    pub flags: u8,
    /// For how long the gateway is in the path. Milliseconds.
    pub in_path_ms: u64,
    /// Causes, as bits.
    pub causes: u8,
}

/// Load in replicas' targets at one moment after the other.
fn shape(length: usize) -> BoxedStrategy<Vec<f64>> {
    let one = prop_oneof![
        4 => (0_u32..40).prop_map(f64::from),
        4 => 0.0..3.0,
        2 => (1_u32..9).prop_map(|whole| f64::from(whole) + 1e-9),
        2 => Just(0.0),
        2 => Just(f64::NAN),
        1 => 1e3..1e7,
        1 => Just(1e12),
        1 => -1.0..0.0,
    ];
    let on_off = (1_usize..5, 0.0..50.0).prop_map(move |(period, high)| {
        (0..length).map(|at| if at / period % 2 == 0 { high } else { 0.0 }).collect()
    });
    let ramp = (0.0..20.0, -4.0..9.0_f64).prop_map(move |(from, slope): (f64, f64)| {
        (0..length).map(|at| (from + slope * at as f64).max(0.0)).collect()
    });
    let then_silent = (0..=length, 0.0..30.0).prop_map(move |(until, high)| {
        (0..length).map(|at| if at < until { high } else { f64::NAN }).collect()
    });
    prop_oneof![4 => prop::collection::vec(one, length), 1 => on_off, 1 => ramp, 1 => then_silent]
        .boxed()
}

/// Moments of a service. Its load has a shape; whether it can be reached changes seldom.
pub fn moments(length: usize) -> impl Strategy<Value = Vec<Moment>> {
    let ready = prop_oneof![
        6 => Just(Ready::AsWanted),
        3 => (0_u32..12).prop_map(Ready::Are),
        1 => Just(Ready::Are(1_000)),
        1 => Just(Ready::Unknown),
    ];
    let rest = (
        ready,
        0_u8..10,
        select(vec![f64::NAN, 0.0, 0.0, 0.0, 1.0, 6.0]),
        any::<u8>(),
        select(vec![0_u64, 999, 30_000, 90_000]),
        1_u8..32,
    );
    let parts = (shape(length), shape(length), any::<bool>(), prop::collection::vec(rest, length));
    parts.prop_map(|(stable, panic, is_alike, rest)| {
        let of_one = |(at, (ready, reachable, proposal, flags, in_path_ms, causes))| Moment {
            stable: stable[at],
            panic: if is_alike { stable[at] } else { panic[at] },
            ready,
            reachable: match reachable {
                0 => 0.0,
                1 => f64::NAN,
                _ => 1.0,
            },
            proposal,
            flags,
            in_path_ms,
            causes,
        };
        rest.into_iter().enumerate().map(of_one).collect()
    })
}

/// Time between two decisions. Milliseconds.
pub fn pause() -> impl Strategy<Value = u64> {
    prop_oneof![6 => Just(2_000), 2 => select(vec![0_u64, 1, 1_000, 15_000]), 2 => 1_u64..70_000, 1 => Just(3_600_000)]
}
