//! One decision of `knative` in batches of several sizes, native against sandboxed in fresh instances; and until a component decides.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidegate::bench::{BATCHES, component, native_knative, workload};
use tidegate::policy::{Limits, Sandbox, builtin};

fn decisions(criterion: &mut Criterion) {
    let sandbox = Sandbox::new(Limits::default()).expect("the default limits are in order");
    let mut group = criterion.benchmark_group("knative decides");
    for batch in BATCHES {
        let sandboxed = component(&sandbox, "knative").expect("it loads");
        for (kind, mut policy) in [("native", native_knative()), ("sandboxed", sandboxed)] {
            let (seen, columns) = workload::batch(&mut *policy, batch).expect("it binds");
            group.throughput(Throughput::Elements(u64::from(batch)));
            group.bench_function(BenchmarkId::new(kind, batch), |bencher| {
                bencher.iter(|| {
                    let answer = policy.decide(&seen, columns);
                    assert!(answer.failed.is_empty());
                    answer
                });
            });
        }
    }
    group.finish();
}

fn loads(criterion: &mut Criterion) {
    let sandbox = Sandbox::new(Limits::default()).expect("the default limits are in order");
    let bytes = builtin::builtin("knative").expect("it is built in");
    let folder = tempfile::tempdir().expect("a folder");
    let cached = sandbox.clone().with_cache(folder.path());
    let mut group = criterion.benchmark_group("a component is loaded");
    group.sample_size(10);
    for (kind, sandbox) in [("cold", &sandbox), ("precompiled", &cached)] {
        let load = || sandbox.load_trusted(bytes).expect("it loads");
        load();
        group.bench_function(kind, |bencher| {
            bencher.iter_batched(|| (), |()| load(), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, decisions, loads);
criterion_main!(benches);
