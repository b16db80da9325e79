use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::trace::{Item, Work};

const MINUTE_US: u64 = 60_000_000;

fn synth(text: &str) -> Synth {
    serde_saphyr::from_str(text).unwrap()
}

fn items(synth: &Synth, seed: &str) -> Vec<Item> {
    synth.load(&Seed::new(seed)).items.map(Result::unwrap).collect()
}

/// Arrivals of one service in each of the windows of `step`.
fn counts(shape: &str, length: &str, step: &str, seed: &str) -> Vec<u64> {
    let load = ServiceLoad::of(shape.parse().unwrap());
    let length: Span = length.parse().unwrap();
    let step_us = step.parse::<Span>().unwrap().us();
    let synth = Synth::new(length, BTreeMap::from([("chat".to_owned(), load)])).unwrap();
    let mut counts = vec![0; length.us().div_ceil(step_us) as usize];
    for item in items(&synth, seed) {
        counts[(item.at_us() / step_us) as usize] += 1;
    }
    counts
}

#[test]
fn every_shape_has_the_rates_that_it_says() {
    let minutes = [0, 1, 5, 10, 15, 20, 30, 60, 120].map(|minute| minute * MINUTE_US);
    let mut table = String::new();
    for shape in [
        "constant:2",
        "steps:1m=1,10m=5,20m=0",
        "ramp:from=1,to=11,at=10m,over=10m",
        "sinus:mean=10,amplitude=20,period=20m",
        "bursts:height=40,period=10m,width=2m",
        "flash:at=5m,peak=64,rise=10m,hold=5m,decay=10m",
        "diurnal:low=1,high=9,peak-at=0s",
        "on-off:rate=3,on=10m,off=50m",
        "constant:2+on-off:rate=3,on=10m,off=50m,at=5m",
    ] {
        let parsed: Shape = shape.parse().unwrap();
        let rates = minutes.map(|at_us| format!("{:.1}", parsed.rate_at(at_us)));
        table.push_str(&format!("{shape}\n    {}\n", rates.join(" ")));
    }
    assert_snapshot!(table, @r"
    constant:2
        2.0 2.0 2.0 2.0 2.0 2.0 2.0 2.0 2.0
    steps:1m=1,10m=5,20m=0
        0.0 1.0 1.0 5.0 5.0 0.0 0.0 0.0 0.0
    ramp:from=1,to=11,at=10m,over=10m
        1.0 1.0 1.0 1.0 6.0 11.0 11.0 11.0 11.0
    sinus:mean=10,amplitude=20,period=20m
        10.0 16.2 30.0 10.0 0.0 10.0 10.0 10.0 10.0
    bursts:height=40,period=10m,width=2m
        40.0 40.0 0.0 40.0 0.0 40.0 40.0 40.0 40.0
    flash:at=5m,peak=64,rise=10m,hold=5m,decay=10m
        0.0 0.0 0.0 32.0 64.0 64.0 32.0 4.0 0.1
    diurnal:low=1,high=9,peak-at=0s
        9.0 9.0 9.0 9.0 9.0 9.0 9.0 8.9 8.5
    on-off:rate=3,on=10m,off=50m
        3.0 3.0 3.0 0.0 0.0 0.0 0.0 3.0 3.0
    constant:2+on-off:rate=3,on=10m,off=50m,at=5m
        2.0 2.0 5.0 5.0 2.0 2.0 2.0 2.0 2.0
    ");
}

#[test]
fn weekends_have_their_factor_and_midnight_belongs_to_the_new_day() {
    let shape: Shape = "diurnal:low=8,high=8,weekend=0.5,starts=4d".parse().unwrap();
    let day_us = 86_400_000_000;
    let rates = [0, day_us - 1, day_us, 3 * day_us - 1, 3 * day_us].map(|us| shape.rate_at(us));
    assert_eq!(rates, [8.0, 8.0, 4.0, 4.0, 8.0]);
}

/// A Poisson count of mean m has deviation √m; five of them are a bound that one seed in three million breaks.
#[test]
fn as_many_arrive_as_the_shape_says() {
    for (shape, length, expected) in [
        ("constant:5", "1h", 18_000.0),
        ("steps:0s=1,10m=5,20m=0", "1h", 3_600.0),
        ("ramp:from=0,to=10,over=1h", "1h", 18_000.0),
        ("sinus:mean=5,amplitude=5,period=7m", "70m", 21_000.0),
        ("bursts:height=40,period=10m,width=30s", "1h", 7_200.0),
        // A straight line of 1 min, a peak of 1 min, and a tail of decay/ln 2.
        (
            "flash:at=10m,peak=60,rise=1m,hold=1m,decay=1m",
            "1h",
            3600.0 * (1.5 + 1.0 / std::f64::consts::LN_2),
        ),
        ("diurnal:low=0.1,high=0.5,weekend=0.5", "7d", 0.3 * 86_400.0 * 6.0),
        ("on-off:rate=3,on=10m,off=50m", "10h", 18_000.0),
        ("constant:2+on-off:rate=3,on=10m,off=50m", "10h", 90_000.0),
    ] {
        let count: u64 = counts(shape, length, length, "tide").iter().sum();
        let off = (count as f64 - expected) / f64::sqrt(expected);
        assert!(off.abs() < 5.0, "{shape}: {count}, expected {expected}");
    }
}

#[test]
fn poisson_counts_vary_as_much_as_their_mean_and_even_ones_do_not() {
    let counts = counts("constant:20", "1h", "1s", "tide");
    let mean = counts.iter().sum::<u64>() as f64 / 3_600.0;
    let variance = counts
        .iter()
        .map(|n| {
            let off = *n as f64 - mean;
            off * off
        })
        .sum::<f64>()
        / 3_600.0;
    // The dispersion of 3,600 Poisson counts has deviation √(2/3600), 0.024.
    assert!((variance / mean - 1.0).abs() < 0.12, "{variance} / {mean}");

    let even = synth("{for: 3s, services: {a: {shape: 'constant:2', arrivals: even}}}");
    let at_us: Vec<u64> = items(&even, "tide").iter().map(Item::at_us).collect();
    assert_eq!(at_us, [250_000, 750_000, 1_250_000, 1_750_000, 2_250_000, 2_750_000]);
}

#[test]
fn a_service_a_part_or_a_length_of_prompts_moves_no_other_arrival() {
    let alone = synth("{for: 1h, services: {chat: {shape: 'constant:1'}}}");
    let more = synth(
        "{for: 2h, services: {a: {shape: 'constant:3'}, chat: {shape: 'constant:1+bursts:height=9,period=10m,width=1m', prompt: 7}}}",
    );
    let of_chat = |synth: &Synth, service: u32| -> Vec<u64> {
        let items = items(synth, "tide");
        items.iter().filter(|item| item.service() == service).map(Item::at_us).collect()
    };
    let (alone, more) = (of_chat(&alone, 0), of_chat(&more, 1));
    assert!(alone.len() > 3_000);
    assert!(alone.iter().all(|at_us| more.contains(at_us)));
}

#[test]
fn requests_ask_for_what_the_description_says() {
    let text = "
for: 2s
services:
  calls: { shape: 'constant:1', arrivals: even, duration: 2s }
  chat: { shape: 'constant:1', arrivals: even, prompt: 512, output: { p50: 100, p99: 100 } }
";
    let asks: Vec<(u32, Work)> = items(&synth(text), "tide")
        .into_iter()
        .map(|item| match item {
            Item::Arrival { service, work, .. } => (service, work),
            Item::Offered { .. } => panic!("nothing is offered"),
        })
        .collect();
    let (run, read) = (Work::Duration(2_000_000), Work::Tokens { prompt: 512, output: 100 });
    assert_eq!(asks, [(0, run), (1, read), (0, run), (1, read)]);
}

#[test]
fn parts_may_be_written_out() {
    let short =
        "{for: 1h, services: {a: {shape: 'constant:2+bursts:height=4,period=10m,width=30s'}}}";
    let long = "
for: 60m
services:
  a:
    shape:
      - constant: { rate: 2 }
      - bursts: { height: 4, period: 10m, width: 30s }
";
    let steps = "{for: 1h, services: {a: {shape: {steps: {0: 1, 10m: 5}}}}}";
    assert_eq!(synth(short), synth(long));
    assert_eq!(synth(steps).services()["a"].shape.to_string(), "steps:0s=1,10m=5");
    let text = serde_json::to_string(&synth(long)).unwrap();
    assert_snapshot!(text, @r#"{"for":"1h","services":{"a":{"shape":"constant:2+bursts:height=4,period=10m,width=30s"}}}"#);
    assert_eq!(serde_json::from_str::<Synth>(&text).unwrap(), synth(short));
}

#[test]
fn what_is_wrong_is_told() {
    let mut told = String::new();
    for shape in [
        "constant",
        "constnat:2",
        "tide",
        "bursts:heigth=4",
        "bursts:height=4,period=10m",
        "bursts:height=4,period=10m,width=11m",
        "bursts:height=4,period=10,width=1m",
        "ramp:1",
        "sinus:mean=1,mean=2",
        "constant:-1",
        "constant:inf",
        "steps",
        "diurnal:low=1,high=2,peak-at=25h",
        "",
    ] {
        let error = shape.parse::<Shape>().unwrap_err();
        told.push_str(&format!("{shape}\n    {error}\n"));
    }
    for text in [
        "{for: 60, services: {a: {shape: 'constant:2'}}}",
        "{for: 1h, services: {}}",
        "{for: 0s, services: {a: {shape: 'constant:2'}}}",
        "{for: 1h, services: {'a,b': {shape: 'constant:2'}}}",
        "{for: 1h, services: {a: {shape: 'constnat:2'}}}",
        "{for: 1h, services: {a: {shape: 'constant:2', prompt: 7, duration: 2s}}}",
        "{for: 1h, services: {a: {shape: 'constant:2', promt: 7}}}",
        "{for: 1h, services: {a: {shape: []}}}",
    ] {
        let error = serde_saphyr::from_str::<Synth>(text).unwrap_err().to_string();
        told.push_str(&format!("{text}\n    {}\n", error.lines().next().unwrap_or_default()));
    }
    assert_snapshot!(told, @r#"
    constant
        constant: missing field `rate`
    constnat:2
        there is no shape `constnat`; did you mean constant?
    tide
        there is no shape `tide`; expected constant, steps, ramp, sinus, bursts, flash, diurnal, on-off
    bursts:heigth=4
        bursts: unknown field `heigth`, expected one of `height`, `period`, `width`, `at`
    bursts:height=4,period=10m
        bursts: missing field `width`
    bursts:height=4,period=10m,width=11m
        bursts: width is 11m, expected no more than the period
    bursts:height=4,period=10,width=1m
        bursts: expected a duration such as 90s, 1h30m or 7d, up to 100 years, found `10`
    ramp:1
        ramp: `1` has no value; expected a field and its value, as height=40
    sinus:mean=1,mean=2
        sinus: `mean` is given twice
    constant:-1
        constant: rate is -1, expected 0 to 1000000 requests/s
    constant:inf
        constant: invalid type: string "inf", expected f64
    steps
        steps: steps is none, expected a moment and its rate, as 10m=5
    diurnal:low=1,high=2,peak-at=25h
        diurnal: peak-at is 1d1h, expected a time of day, 0s to 24h

        there is no shape ``; expected constant, steps, ramp, sinus, bursts, flash, diurnal, on-off
    {for: 60, services: {a: {shape: 'constant:2'}}}
        error: line 1 column 7: expected a duration such as 90s, 1h30m or 7d, up to 100 years, found `60`
    {for: 1h, services: {}}
        the load has no services
    {for: 0s, services: {a: {shape: 'constant:2'}}}
        the load has no length
    {for: 1h, services: {'a,b': {shape: 'constant:2'}}}
        `a,b` is no name of a service; expected text without commas, line breaks and spaces at its ends
    {for: 1h, services: {a: {shape: 'constnat:2'}}}
        error: line 1 column 33: there is no shape `constnat`; did you mean constant?
    {for: 1h, services: {a: {shape: 'constant:2', prompt: 7, duration: 2s}}}
        service a: tokens and a duration are given; expected one of them, as each would say what a request asks for
    {for: 1h, services: {a: {shape: 'constant:2', promt: 7}}}
        error: line 1 column 47: unknown field `promt`, expected one of shape, arrivals, prompt, output, duration
    {for: 1h, services: {a: {shape: []}}}
        error: line 1 column 33: a shape has no part; expected at least one, as constant:2
    "#);
}

fn part() -> impl Strategy<Value = Part> {
    let rate = || (0u32..10_000).prop_map(|hundredths| f64::from(hundredths) / 100.0);
    let span = || (1u64..10_000_000).prop_map(|ms| Span::of_us(ms * 1_000));
    prop_oneof![
        rate().prop_map(|rate| Part::Constant { rate }),
        prop::collection::btree_map(span(), rate(), 1..5).prop_map(Part::Steps),
        (rate(), rate(), span(), span()).prop_map(|(from, to, at, over)| Part::Ramp {
            from,
            to,
            at,
            over
        }),
        (rate(), rate(), span(), span()).prop_map(|(mean, amplitude, period, at)| Part::Sinus {
            mean,
            amplitude,
            period,
            at
        }),
        (rate(), span(), span(), span()).prop_map(|(height, one, other, at)| Part::Bursts {
            height,
            period: one.max(other),
            width: one.min(other),
            at
        }),
        (rate(), span(), span(), span(), span()).prop_map(|(peak, at, rise, hold, decay)| {
            Part::Flash { at, peak, rise, hold, decay }
        }),
        (rate(), rate(), rate(), span()).prop_map(|(low, high, weekend, starts)| Part::Diurnal {
            low,
            high,
            peak_at: Span::of_s(9 * 3600),
            weekend,
            starts
        }),
        (rate(), span(), span(), span()).prop_map(|(rate, on, off, at)| Part::OnOff {
            rate,
            on,
            off,
            at
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(parts in prop::collection::vec(part(), 1..4)) {
        let shape = Shape::of(parts).unwrap();
        prop_assert_eq!(&shape.to_string().parse::<Shape>().unwrap(), &shape);
    }

    #[test]
    fn a_stretch_ends_after_it_began_and_is_even_where_it_has_no_curve(
        part in part(), at_us in 0u64..20_000_000_000,
    ) {
        let until_us = part.even_until(at_us);
        prop_assert!(until_us > at_us);
        if matches!(part, Part::Constant { .. } | Part::Steps(_) | Part::Bursts { .. } | Part::OnOff { .. }) {
            let later_us = until_us.min(30_000_000_000) - 1;
            prop_assert_eq!(part.rate_at(at_us), part.rate_at(later_us.max(at_us)));
        }
    }

    #[test]
    fn arrivals_are_in_order_within_the_load_and_the_same_each_time(
        one in part(), other in part(), seed in "[a-z]{1,8}",
    ) {
        let services = [("a", one), ("b", other)].map(|(name, part)| {
            (name.to_owned(), ServiceLoad::of(Shape::of(vec![part]).unwrap()))
        });
        let synth = Synth::new(Span::of_s(120), services.into()).unwrap();
        let first = items(&synth, &seed);
        prop_assert!(first.is_sorted_by_key(Item::at_us));
        prop_assert!(first.last().is_none_or(|last| last.at_us() < synth.length().us()));
        prop_assert_eq!(items(&synth, &seed), first);
    }
}

#[test]
fn far_more_requests_than_anybody_replays_are_refused() {
    let synth = |length: &str, shape: &str| {
        let text = format!(r#"{{"for": "{length}", "services": {{"a": {{"shape": "{shape}"}}}}}}"#);
        serde_json::from_str::<Synth>(&text).map_err(|error| error.to_string())
    };
    assert!(synth("1d", "constant:2000").is_ok() && synth("100y", "constant:1").is_err());
    let told = synth("30d", "constant:100").expect_err("a slip of the finger");
    assert!(
        told.starts_with("about 259200000 requests are asked for, expected at most 200000000"),
        "{told}"
    );
}
