//! One tick over many services.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate::bench::workload::Services;
use tidegate::bench::{SERVICES, component_stages, native_stages};
use tidegate::policy::{Limits, Sandbox};

fn ticks(criterion: &mut Criterion) {
    let sandbox = Sandbox::new(Limits::default()).expect("the default limits are in order");
    for (load, moves) in [("moves a little", false), ("changes every decision", true)] {
        let mut group =
            criterion.benchmark_group(format!("tick over {SERVICES} services, load {load}"));
        group.measurement_time(Duration::from_secs(5)).sample_size(20);
        let stages = component_stages(&sandbox).expect("they load");
        for (kind, stages) in [("native", native_stages()), ("sandboxed", stages)] {
            let mut services = Services::new(SERVICES, moves, stages);
            group.bench_function(kind, |bencher| bencher.iter(|| services.tick()));
        }
        group.finish();
    }
}

/// With the windows of the profiles: 60 s and 6 s, 180 s and 23 s.
fn windows(criterion: &mut Criterion) {
    let sandbox = Sandbox::new(Limits::default()).expect("the default limits are in order");
    for profile in ["knative", "gpu"] {
        let mut group =
            criterion.benchmark_group(format!("tick over {SERVICES} services, profile {profile}"));
        group.measurement_time(Duration::from_secs(5)).sample_size(20);
        let stages = component_stages(&sandbox).expect("they load");
        for (kind, stages) in [("native", native_stages()), ("sandboxed", stages)] {
            let mut services = Services::of_profile(profile, SERVICES, stages);
            group.bench_function(kind, |bencher| bencher.iter(|| services.tick()));
        }
        group.finish();
    }
}

criterion_group!(benches, ticks, windows);
criterion_main!(benches);
