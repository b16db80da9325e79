//! One tick over many services.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate::bench::workload::Services;
use tidegate::policy::ScalingPolicy;
use tidegate::policy::native::NativeScaling;

fn native() -> Vec<(&'static str, Box<dyn ScalingPolicy>)> {
    vec![
        ("knative", Box::new(NativeScaling::<tidegate_knative::Knative>::new("knative"))),
        (
            "scale-to-zero",
            Box::new(NativeScaling::<tidegate_scale_to_zero::ScaleToZero>::new("scale-to-zero")),
        ),
    ]
}

fn ticks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick over 10,000 services");
    group.measurement_time(Duration::from_secs(5)).sample_size(20);
    let mut services = Services::new(10_000, native());
    group.bench_function("native", |bencher| bencher.iter(|| services.tick()));
    group.finish();
}

criterion_group!(benches, ticks);
criterion_main!(benches);
