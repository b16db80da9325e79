//! Outcomes to print: a small one written by hand, and a large one from a crude model of load and scaling. The model is only there
//! to give text and plots something of the right shape; the numbers mean nothing.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::ledger::{
    ChangeNote, ClassOutcome, FailureNote, Outcome, PolicyNote, Requests, Series, ServiceOutcome,
    Setup, Summary, Sums, Waits,
};

fn change(at_s: f64, from: Option<u32>, to: u32, ready: u32, reason: &str) -> ChangeNote {
    ChangeNote {
        pool: None,
        at_s,
        from,
        to,
        ready,
        waiting: 0,
        in_panic: false,
        reason: reason.into(),
        clamps: Vec::new(),
    }
}

pub(super) fn setup(duration_s: f64) -> Setup {
    Setup {
        version: "0.1.0".into(),
        simulator: 1,
        seed: "tide".into(),
        profile: "gpu".into(),
        tick_ms: 2_000,
        start_ms: 1_704_067_200_000,
        duration_s,
        traces: vec!["code.csv.gz".into(), "longtail.csv.gz".into()],
        policies: vec![
            PolicyNote {
                stage: "knative".into(),
                digest: format!("sha256:{}", "3f2a91bc".repeat(8)),
            },
            PolicyNote {
                stage: "scale-to-zero".into(),
                digest: format!("sha256:{}", "9e0c1d77".repeat(8)),
            },
            PolicyNote { stage: "placement".into(), digest: "native:affinity".into() },
        ],
        nodes: 6,
        gpus: 40,
    }
}

/// Two services: one that panics, is held back by its maximum and goes down step by step, and one that sleeps and wakes.
pub(super) fn small() -> Outcome {
    let mut changes = vec![
        change(0.0, None, 1, 0, "1 wanted"),
        ChangeNote {
            waiting: 41,
            in_panic: true,
            clamps: vec!["maximum: 12 → 10".into()],
            ..change(62.0, Some(1), 10, 1, "panic: 80.2 in flight over 6 s wants 12, 1 ready")
        },
    ];
    for i in 0..6 {
        let reason = format!("scale-down delay: {} were wanted within 300 s, now 3", 9 - i);
        changes.push(change(362.0 + 2.0 * f64::from(i), Some(10 - i), 9 - i, 10 - i, &reason));
    }
    let code = ServiceOutcome {
        name: "code".into(),
        model: "llama-3.1-8b".into(),
        changes,
        series: Series {
            step_s: 60.0,
            demand: vec![2.0, 80.2, 40.0, 6.0, 2.5, 2.0, 2.0, 1.0],
            waiting: vec![2, 72, 12, 0, 0, 0, 0, 0],
            desired: vec![1, 10, 10, 10, 10, 10, 4, 4],
            ready: vec![1, 1, 10, 10, 10, 10, 4, 4],
            wait_s: vec![14.2, 31.4, 22.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            cost: vec![0.02, 0.2, 0.4, 0.6, 0.8, 1.0, 1.1, 1.2],
        },
    };
    let sleepy = ServiceOutcome {
        name: "sleepy".into(),
        model: "default".into(),
        changes: vec![
            change(0.0, None, 1, 0, "1 wanted"),
            change(
                182.0,
                Some(1),
                0,
                1,
                "inactive, and the gateway is in the path: the last replica may go",
            ),
            ChangeNote {
                waiting: 1,
                ..change(301.25, Some(0), 1, 0, "1 waits at zero: activation scale 1")
            },
        ],
        series: Series {
            step_s: 60.0,
            demand: vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.1, 0.0],
            waiting: vec![0, 0, 0, 0, 0, 1, 0, 0],
            desired: vec![1, 1, 1, 0, 0, 1, 1, 1],
            ready: vec![0, 1, 1, 0, 0, 0, 1, 1],
            wait_s: vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 38.1, 0.0],
            cost: vec![0.02, 0.04, 0.06, 0.06, 0.06, 0.06, 0.08, 0.1],
        },
    };
    let code_sum = Summary {
        requests: Requests {
            arrived: 1_440,
            served: 1_431,
            waited: 201,
            expired: 6,
            failed: 0,
            unfinished: 3,
        },
        wait_s: Waits { p50: 0.0, p95: 12.4, p99: 28.0, max: 31.4 },
        cold_starts: 10,
        replica_minutes: 61,
        gpu_minutes: 61,
        cost: 1.2,
        max_replicas: 10,
        panics: 1,
    };
    let sleepy_sum = Summary {
        requests: Requests { arrived: 3, served: 3, waited: 1, ..Requests::default() },
        wait_s: Waits { p50: 0.0, p95: 38.1, p99: 38.1, max: 38.1 },
        cold_starts: 2,
        replica_minutes: 6,
        gpu_minutes: 6,
        cost: 0.1,
        max_replicas: 1,
        panics: 0,
    };
    let whole = Summary {
        max_replicas: 11,
        wait_s: Waits { max: 38.1, ..code_sum.wait_s.clone() },
        ..super::table::together(&[("code", &code_sum), ("sleepy", &sleepy_sum)])
    };
    Outcome {
        api_version: "tidegate.dev/v1alpha1".into(),
        kind: "Replay".into(),
        setup: setup(480.0),
        summary: Sums {
            whole,
            services: BTreeMap::from([("code".into(), code_sum), ("sleepy".into(), sleepy_sum)]),
        },
        services: vec![code, sleepy],
        classes: vec![
            ClassOutcome {
                class: "A40".into(),
                gpus: 32,
                step_s: 60.0,
                used: vec![2, 11, 11, 10, 10, 11, 5, 5],
            },
            ClassOutcome { class: "H100".into(), gpus: 8, step_s: 60.0, used: vec![0; 8] },
        ],
        swaps: Vec::new(),
        failures: vec![FailureNote {
            at_s: 120.0,
            stage: "knative".into(),
            services: vec!["code".into(), "sleepy".into()],
            message: "ran out of fuel after 110,000 of 110,000 units".into(),
            instead: "hold".into(),
            times: 4,
        }],
        warnings: vec![
            "model `llama-3.1-8b-chat` is not in the catalogue: `default` stands for it".into(),
        ],
    }
}

/// `services` services over `seconds`, plotted in `steps` steps: the first with bursts over a steady load for half of the time,
/// the others asleep for most of it.
pub(super) fn large(services: u32, seconds: u32, steps: u32) -> Outcome {
    let mut outcome = Outcome { setup: setup(f64::from(seconds)), failures: Vec::new(), ..small() };
    outcome.summary = Sums::default();
    outcome.services.clear();
    let step_s = f64::from(seconds) / f64::from(steps);
    let mut used = vec![0u32; steps as usize];
    for number in 0..services {
        let (service, sum) = modelled(number, seconds, steps, step_s);
        for (used, ready) in used.iter_mut().zip(&service.series.desired) {
            *used += ready;
        }
        outcome.summary.services.insert(service.name.clone(), sum);
        outcome.services.push(service);
    }
    let sums: Vec<(&str, &Summary)> =
        outcome.summary.services.iter().map(|(name, sum)| (name.as_str(), sum)).collect();
    outcome.summary.whole = super::table::together(&sums);
    let share = |of: u32| used.iter().map(|&gpus| gpus * of / 10).collect::<Vec<u32>>();
    let class = |class: &str, gpus, used| ClassOutcome { class: class.into(), gpus, step_s, used };
    outcome.classes =
        vec![class("A40", 24, share(6)), class("H100", 8, share(3)), class("L40S", 8, share(1))];
    outcome
}

fn modelled(number: u32, seconds: u32, steps: u32, step_s: f64) -> (ServiceOutcome, Summary) {
    const TICK_S: u32 = 2;
    let mut dice = ChaCha8Rng::seed_from_u64(u64::from(number));
    let mut roll = move || dice.next_u32() as f64 / f64::from(u32::MAX);
    let name = if number == 0 { "code".to_owned() } else { format!("longtail-m{number:02}") };
    let mut service = ServiceOutcome {
        name,
        model: "llama-3.1-8b".into(),
        changes: Vec::new(),
        series: Series { step_s, ..Series::default() },
    };
    let mut sum = Summary::default();
    let (mut base, mut queue, mut flying) = (0.0f64, 0.0f64, 0.0f64);
    let (mut desired, mut idle_s, mut ready_at) = (1u32, 0u32, vec![40u32]);
    let (mut stable, mut panic_until) = (0.0f64, 0u32);
    service.changes.push(change(0.0, None, 1, 0, "1 wanted"));
    let mut held = Vec::new();
    for tick in 0..seconds / TICK_S {
        let now = tick * TICK_S;
        let is_busy = if number == 0 { now < seconds / 2 } else { base > 0.0 };
        let rate = if number > 0 {
            if roll() < 0.002 {
                base = if base > 0.0 { 0.0 } else { 0.4 }
            }
            base
        } else if !is_busy {
            0.0
        } else if roll() < 0.01 {
            20.0 + 50.0 * roll()
        } else {
            2.0 + roll()
        };
        let arrivals = (rate * f64::from(TICK_S) + roll()).floor();
        let ready = ready_at.iter().filter(|&&at| at <= now).count() as u32;
        queue += arrivals;
        let room = (f64::from(ready) * 8.0 - flying).max(0.0);
        let taken = queue.min(room);
        queue -= taken;
        flying = (flying + taken) * 0.8;
        if flying < 0.5 {
            flying = 0.0
        }
        let demand = queue + flying;
        stable += (demand - stable) / 30.0;
        idle_s = if demand > 0.0 { 0 } else { idle_s + TICK_S };
        let wanted = (demand / 5.6).ceil() as u32;
        let before = desired;
        let mut reason = String::new();
        let mut clamps = Vec::new();
        if desired == 0 && queue > 0.0 {
            desired = 1;
            reason = "1 waits at zero: activation scale 1".into();
        } else if wanted >= 2 * ready.max(1) && wanted > desired {
            if panic_until < now {
                sum.panics += 1
            }
            panic_until = now + 60;
            desired = wanted.min(24);
            if wanted > 24 {
                clamps.push(format!("max: {wanted} → 24"))
            }
            reason = format!("panic: {demand:.1} in flight over 6 s wants {wanted}, {ready} ready");
        } else if idle_s > 120 && desired == 1 {
            desired = 0;
            reason = "inactive, and the gateway is in the path: the last replica may go".into();
        } else if desired > 1
            && now > panic_until
            && tick % 8 == 0
            && (stable / 5.6).ceil() < f64::from(desired)
        {
            desired -= 1;
            let now = (stable / 5.6).ceil();
            reason = format!("scale-down delay: {desired} were wanted within 300 s, now {now}");
        }
        if desired != before {
            service.changes.push(ChangeNote {
                waiting: queue as u32,
                in_panic: now < panic_until,
                clamps,
                ..change(f64::from(now), Some(before), desired, ready, &reason)
            });
            for _ in before..desired {
                ready_at.push(now + 25 + (20.0 * roll()) as u32);
                sum.cold_starts += 1;
            }
            ready_at.truncate(desired as usize);
        }
        sum.requests.arrived += arrivals as u64;
        sum.requests.waited += if queue > 0.0 { arrivals as u64 } else { 0 };
        sum.max_replicas = sum.max_replicas.max(desired);
        sum.cost += f64::from(desired) * f64::from(TICK_S) * 1.9 / 3600.0;
        held.push((demand, queue as u32, desired, ready, queue / (rate + 1.0), sum.cost));
    }
    sum.requests.served = sum.requests.arrived;
    sum.replica_minutes = (sum.cost / 1.9 * 60.0) as u64;
    sum.gpu_minutes = sum.replica_minutes;
    for step in 0..steps as usize {
        let part =
            &held[step * held.len() / steps as usize..(step + 1) * held.len() / steps as usize];
        let series = &mut service.series;
        let last = part.last().expect("a step is at least a tick");
        series.demand.push(part.iter().map(|tick| tick.0).sum::<f64>() / part.len() as f64);
        series.waiting.push(part.iter().map(|tick| tick.1).max().unwrap_or(0));
        series.desired.push(last.2);
        series.ready.push(last.3);
        series.wait_s.push(part.iter().map(|tick| tick.4).fold(0.0, f64::max));
        series.cost.push(last.5);
    }
    let waits = &service.series.wait_s;
    let most = waits.iter().copied().fold(0.0, f64::max);
    sum.wait_s = Waits { p50: 0.0, p95: most / 4.0, p99: most / 2.0, max: most };
    (service, sum)
}
