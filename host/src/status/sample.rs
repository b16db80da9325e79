//! A made-up status: what tests show and what `live/` pages are looked at with. Nothing in it was measured.

use super::*;

const AT: Time = Time(1_760_000_000_000);

/// Three services on two nodes, with all that can be told: a pin, an eviction, failures, a shadow, swaps, and text that would be markup
/// if it were taken as such.
pub fn status() -> Status {
    status_at(AT)
}

/// The same as if it were `at` now.
pub fn status_at(at: Time) -> Status {
    let decision = |number: u64, ago_s: u64, service: &str, from, to, reason: &str, stage: &str| {
        let digest = if stage == "knative" { "9f2c41d07be6" } else { "17ab90c2d4e5" };
        Decision {
            number,
            at: at - ago_s * 1_000,
            service: service.into(),
            target: String::new(),
            from,
            to,
            reason: reason.into(),
            stage: stage.into(),
            digest: format!("sha256:{digest}{digest}{digest}{digest}{digest}abcd"),
            clamps: Vec::new(),
        }
    };
    let mut decisions = vec![
        decision(1, 412, "mistral-7b", None, 0, "initial scale", "knative"),
        decision(2, 410, "llama-3-8b", None, 1, "initial scale", "knative"),
        decision(
            3,
            320,
            "llama-3-8b",
            Some(1),
            4,
            "panic: 38.0 in flight over 6 s, target 10",
            "knative",
        ),
        decision(
            4,
            205,
            "whisper",
            Some(0),
            1,
            "a request waits and nothing is ready",
            "scale-to-zero",
        ),
        decision(
            5,
            124,
            "whisper",
            Some(1),
            0,
            "<script>alert('policy')</script>",
            "scale-to-zero",
        ),
        decision(6, 60, "llama-3-8b", Some(4), 3, "26.4 in flight over 60 s, target 10", "knative"),
        decision(
            7,
            4,
            "mistral-7b",
            Some(0),
            1,
            "a request waits and nothing is ready",
            "scale-to-zero",
        ),
    ];
    decisions[2].clamps.push("maximum: 5 → 4".into());
    let replica = |ordinal, phase, ago_s: u64, gpus: &[u32], in_flight| ReplicaStatus {
        revision: "1".into(),
        pool: "default".into(),
        ordinal,
        phase,
        since: at - ago_s * 1_000,
        reason: String::new(),
        node: Some("box".into()),
        gpus: gpus.to_vec(),
        pid: Some(41_000 + ordinal),
        port: Some(20_000 + ordinal as u16),
        in_flight,
    };
    let wave = |second: usize, of: usize| (second * of / 37) % (of + 1);
    let series = |make: &dyn Fn(usize) -> [u32; 4]| {
        let mut series = Series::default();
        for second in 0..SERIES_S {
            series.push(at - ((SERIES_S - 1 - second) as u64 * 1_000), make(second));
        }
        series
    };
    let service = |name: &str, numbers: [u32; 6], decision: &Decision| ServiceStatus {
        name: name.into(),
        desired: numbers[0],
        ready: numbers[1],
        starting: numbers[2],
        draining: numbers[3],
        min: 0,
        max: numbers[4],
        in_flight: numbers[5],
        targets: vec![TargetStatus {
            revision: "1".into(),
            role: "predictor".into(),
            pool: "default".into(),
            desired: numbers[0],
            ready: numbers[1],
            starting: numbers[2],
            draining: numbers[3],
            max: numbers[4],
            in_flight: numbers[5],
            decision: Some(decision.clone()),
            ..TargetStatus::default()
        }],
        ..ServiceStatus::default()
    };
    let mut llama = service("llama-3-8b", [3, 3, 0, 1, 4, 26], &decisions[5]);
    llama.replicas = vec![
        replica(0, ReplicaPhase::Ready, 402, &[0], 9),
        replica(1, ReplicaPhase::Ready, 301, &[1], 9),
        replica(2, ReplicaPhase::Ready, 299, &[2], 8),
        replica(3, ReplicaPhase::Draining, 60, &[3], 2),
    ];
    llama.series = series(&|second| match second {
        0..=190 => [0, 0, 0, 0],
        191..=279 => [1, u32::from(second > 203), 0, wave(second, 6) as u32],
        280..=299 => [4, 1, (second as u32 - 279) * 3, 10],
        300..=540 => [4, 4, 0, 24 + wave(second, 9) as u32],
        _ => [3, 3, 0, 22 + wave(second, 6) as u32],
    });
    let mut mistral = service("mistral-7b", [1, 0, 1, 0, 2, 0], &decisions[6]);
    (mistral.waiting, mistral.oldest_wait_ms, mistral.is_fake) = (12, 4_210, true);
    mistral.targets[0].waiting = 12;
    mistral.replicas = vec![ReplicaStatus {
        reason: "reads its weights".into(),
        ..replica(0, ReplicaPhase::Loading, 3, &[0], 0)
    }];
    mistral.replicas[0].node = Some("spare".into());
    mistral.series =
        series(&|second| if second > 595 { [1, 0, 3 * (second as u32 - 595), 0] } else { [0; 4] });
    let mut whisper = service("whisper", [0, 0, 0, 0, 1, 0], &decisions[4]);
    (whisper.is_evicted, whisper.failed) = (true, 2);
    whisper.pin = Some(Pin { replicas: 0, until: at + 5_400_000 });
    whisper.targets[0].failed = 2;
    whisper.targets[0].back_off_until = Some(at + 8_000);
    whisper.replicas = vec![ReplicaStatus {
        reason: "exit code 1: CUDA out of memory".into(),
        node: None,
        ..replica(7, ReplicaPhase::Failed, 12, &[], 0)
    }];
    whisper.series = series(&|second| match second {
        395..=475 => [1, u32::from(second > 407), 0, u32::from(second > 407)],
        _ => [0; 4],
    });
    let gpu = |index, class: &str, used_by: &[(&str, u32, f64)]| GpuStatus {
        index,
        class: class.into(),
        memory_bytes: 48 << 30,
        used_by: used_by
            .iter()
            .map(|&(service, ordinal, share)| GpuUse { service: service.into(), ordinal, share })
            .collect(),
    };
    let policy = |stage: &str, source: &str, digest: &str, kind| PolicyStatus {
        stage: stage.into(),
        source: source.into(),
        digest: format!("sha256:{digest}{digest}{digest}{digest}{digest}abcd"),
        kind,
        since: at - 412_000,
        health: Health::Healthy,
        failures: 0,
        last_failure: None,
        on_failure: "hold".into(),
        shadow: None,
    };
    let mut policies = vec![
        policy("knative", "builtin:knative", "9f2c41d07be6", PolicyKind::Scaling),
        policy("scale-to-zero", "policies/retention.wasm", "17ab90c2d4e5", PolicyKind::Scaling),
        policy("placement", "builtin:affinity", "c01dfe55a7b2", PolicyKind::Placement),
    ];
    policies[0].shadow = Some(ShadowStatus {
        source: "policies/surge.wasm".into(),
        digest: "sha256:5e5e11aa22bb33cc".into(),
        since: at - 200_000,
        compared: 100,
        differing: 7,
        last: Some("llama-3-8b: 5 instead of 3".into()),
    });
    (policies[1].health, policies[1].failures) = (Health::Failing, 2);
    policies[1].last_failure = Some("out of fuel after 110000 instructions".into());
    Status {
        at,
        started_at: at - 415_000,
        version: "0.1.0".into(),
        phase: RunPhase::Running,
        is_dry_run: true,
        services: vec![llama, mistral, whisper],
        nodes: vec![
            NodeStatus {
                name: "box".into(),
                gpus: (0..4)
                    .map(|index| gpu(index, "A40", &[("llama-3-8b", index, 1.0)]))
                    .collect(),
            },
            NodeStatus {
                name: "spare".into(),
                gpus: vec![
                    gpu(0, "RTX A5000", &[("mistral-7b", 0, 0.5)]),
                    gpu(1, "RTX A5000", &[]),
                ],
            },
        ],
        policies,
        decisions,
        swaps: vec![
            SwapStatus {
                at: at - 380_000,
                stage: "scale-to-zero".into(),
                from: "sha256:77aa00bb11cc22dd".into(),
                to: "sha256:17ab90c2d4e517ab".into(),
                outcome: SwapOutcome::Swapped,
                message: "policies/retention.wasm changed on disk".into(),
            },
            SwapStatus {
                at: at - 90_000,
                stage: "knative".into(),
                from: "sha256:9f2c41d07be69f2c".into(),
                to: "sha256:deadbeefdeadbeef".into(),
                outcome: SwapOutcome::Refused,
                message: "it imports wasi:cli/environment".into(),
            },
        ],
        journal: Some(JournalStatus {
            path: ".tidegate/journal".into(),
            bytes: 4_812_332,
            segments: 3,
            gaps: 1,
            error: None,
        }),
        totals: Totals {
            steps: 512,
            missed_ticks: 0,
            stages: vec![
                StageTotals { stage: "knative".into(), decided: 4, failed: 0 },
                StageTotals { stage: "scale-to-zero".into(), decided: 3, failed: 2 },
            ],
            clamps: vec![("maximum".into(), 1)],
            swaps: vec![(SwapOutcome::Swapped, 1), (SwapOutcome::Refused, 1)],
            step_seconds: vec![(0.001, 500), (0.01, 11)],
            step_seconds_sum: 0.41,
            cold_start_seconds: vec![(10.0, 2), (20.0, 3)],
            cold_starts: 5,
            cold_start_seconds_sum: 61.5,
            requests: vec![
                RequestTotals {
                    service: "llama-3-8b".into(),
                    served: 5_210,
                    ..RequestTotals::default()
                },
                RequestTotals { service: "mistral-7b".into(), ..RequestTotals::default() },
                RequestTotals {
                    service: "whisper".into(),
                    served: 31,
                    refused: 2,
                    ..RequestTotals::default()
                },
            ],
            gpu_seconds: vec![("A40".into(), 1_204.5), ("RTX A5000".into(), 3.0)],
            cost_usd: 0.43,
            replica_failures: 2,
        },
    }
}
