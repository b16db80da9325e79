//! Whole replays through the three sandboxed policies: five dense minutes of the three services of the recorded rates (2,000 requests a
//! second together), and the quiet 24 h of the deepseek trace. Reading the trace is part of it.

use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate::bench::workload;
use tidegate::policy::{Limits, Sandbox};
use tidegate::seed::Seed;
use tidegate::trace::Merged;

/// How much of the rates is replayed. Seconds.
const DENSE_S: f64 = 300.0;

fn replays(criterion: &mut Criterion) {
    let sandbox = Sandbox::new(Limits::default()).expect("the default limits are in order");
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/traces");
    let mut group = criterion.benchmark_group("replay");
    group.sample_size(10);
    for (name, file, until_s) in [
        ("dense, requests", "servegen-rates-7d.csv.gz", DENSE_S),
        ("quiet, ticks of 2 s", "servegen-deepseek-r1-24h.csv.gz", 86_400.0),
    ] {
        let load = Merged::open(&[traces.join(file)], &Seed::new("bench")).expect("it is in order");
        let make = || workload::replay(&sandbox, (&load).into(), until_s).expect("it is in order");
        let outcome = make().run(None, &mut |_| {}).expect("it runs");
        let elements = if name.starts_with("dense") {
            outcome.summary.whole.requests.arrived
        } else {
            (outcome.setup.duration_s * 1e3) as u64 / outcome.setup.tick_ms
        };
        group.throughput(Throughput::Elements(elements));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                make,
                |replay| replay.run(None, &mut |_| {}).expect("it runs"),
                criterion::BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, replays);
criterion_main!(benches);
