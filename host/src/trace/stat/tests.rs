use std::path::{Path, PathBuf};

use insta::assert_snapshot;

use super::*;
use crate::trace::Trace;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/traces").join(name)
}

fn stat(name: &str, window_s: Option<u64>) -> Stat {
    let window_us = window_s.map(|window_s| window_s * SECOND_US);
    over(&[fixture(name)], &Seed::new("tide"), window_us).unwrap()
}

/// The figures that were published with the traces, which another program had made. Three traces were cut at a whole minute;
/// the others end with the second of their last request.
#[test]
fn figures_are_those_that_were_published_with_the_traces() {
    let mut table = String::new();
    for (name, window_s) in [
        ("aibrix-8min-up-down.csv.gz", None),
        ("azure-functions-2021-sample.csv", Some(21 * 60)),
        ("azure-llm-2023-code.csv.gz", Some(35 * 60)),
        ("mooncake-synthetic.csv.gz", None),
        ("servegen-deepseek-r1-24h.csv.gz", Some(24 * 3600)),
        ("servegen-longtail-7d.csv.gz", Some(7 * 24 * 3600)),
    ] {
        let stat = stat(name, window_s);
        let requests = stat.requests.unwrap();
        let tokens = |quantiles: Option<Quantiles>| match quantiles {
            Some(Quantiles { p50, p99 }) => format!("{p50} / {p99}"),
            None => "-".to_owned(),
        };
        table.push_str(&format!(
            "| {} | {:.2} | {:.3} | {} | {:.2} | {:.2} | {:.2} | {} | {} |\n",
            requests.count,
            stat.window_s / 3600.0,
            requests.mean_rps,
            requests.peak_rps_1s,
            requests.peak_rps_60s,
            requests.dispersion_1s,
            requests.dispersion_60s,
            tokens(requests.prompt_tokens),
            tokens(requests.output_tokens),
        ));
    }
    // requests, hours, mean rps, peak rps (1 s), peak rps (60 s), IoD 1 s, IoD 60 s, prompt p50 / p99, output p50 / p99
    assert_eq!(
        table,
        "\
| 2026 | 0.13 | 4.443 | 24 | 9.22 | 4.54 | 129.20 | 263 / 789 | 34 / 559 |
| 199 | 0.35 | 0.158 | 22 | 0.70 | 8.32 | 9.70 | - | - |
| 6621 | 0.58 | 3.153 | 67 | 10.53 | 13.25 | 157.94 | 1463 / 7436 | 13 / 251 |
| 1925 | 0.14 | 3.767 | 12 | 4.12 | 1.03 | 4.70 | 3616 / 56635 | 156 / 776 |
| 103620 | 24.00 | 1.199 | 48 | 8.73 | 3.73 | 110.27 | 379 / 4588 | 501 / 2694 |
| 131332 | 168.00 | 0.217 | 69 | 18.40 | 10.29 | 337.47 | 552 / 10923 | 28 / 1585 |
"
    );
}

#[test]
fn what_is_said_of_the_services_is_what_was_published() {
    let longtail = stat("servegen-longtail-7d.csv.gz", None);
    assert_eq!(longtail.services, 26);
    let requests: u64 = longtail.top.iter().map(|service| service.requests).sum();
    assert_eq!(requests + longtail.rest.requests, 131_332);
    assert_eq!((longtail.top[0].requests, longtail.rest.services), (17_834, 6));

    let functions = stat("azure-functions-2019-concurrency.csv.gz", None);
    assert!(functions.requests.is_none());
    let offered = functions.offered.unwrap();
    assert_eq!((functions.services, offered.peak, offered.mean.round()), (60, 37.0, 17.0));
}

#[test]
fn a_load_reads_well() {
    assert_snapshot!(stat("azure-llm-2023-code.csv.gz", Some(2100)).render(80), @r"
    window         35m
    requests       6,621
    rate           3.15 requests/s mean, 67 in the busiest second, 10.5 over the busiest minute
    dispersion     13.25 of seconds, 157.94 of minutes (1 is Poisson)
    prompt tokens  1,463 median, 7,436 p99
    output tokens  13 median, 251 p99

    requests/s, the highest mean over 4s in each column
    59 ┤                               █
       ┤                    ▂          █
       ┤       ▁▃           █          █
       ┤       ██           █▆▃        █ ▄     ▃ ▅▁▁     ▄ ██     ▁  ▃█    ▃   ▃ ▂
     0 ┤▃▄    ▄██▆▄▅▄ ▃▄  ▄▁███▇▆     ▆███    ▂█▅███▆ ▆ ▆█▅██▆▅  ▅█▆ ██▇▆▆ █▅▂▄█▆█▇█
        0                                                                        35m

    between arrivals           prompt tokens              output tokens
    ▁    █▆                                    ▅██         ▆█
    █    ██▁                                 ▁████▆▂▁      ███▁
    █▇▆▄▇███▃▁▁▁▁▁▁▁           ▁▁▁▁▁▁▁▂▃▅▅▇▆▇████████     █████▆▅▃▂▂▁▁▁▁ ▁
    1ms           3m           2                  10k     5          2,154
    ");
    assert_snapshot!(stat("servegen-longtail-7d.csv.gz", None).render(80), @r"
    window         7d
    requests       131,332, 26 services
    rate           0.217 requests/s mean, 69 in the busiest second, 18.4 over the busiest minute
    dispersion     10.29 of seconds, 337.47 of minutes (1 is Poisson)
    prompt tokens  552 median, 10,923 p99
    output tokens  28 median, 1,585 p99

    requests/s, the highest mean over 17m 4s in each column
    11.2 ┤        ▁                      █
         ┤        █                   ▁  █
         ┤    ▅▄  █                   █  █
         ┤   ███  █                   █  █                                     █  ▂▇
       0 ┤▁▁▁███▂██▁▁▁▁▅▁▂▃▁▁▂▁   ▁▁▂▂█▄▁█ ▁▁▁▁▁ ▁▁▁   ▁▁▁▁▁  ▂  ▁▁▁▁▁▁▂▁▁  ▁▁▂█▄███
          0                                                                       7d

    between arrivals           prompt tokens              output tokens
      ▂██▂                          █                      █      █
    ▆▂████▇▄▃                     ▃▆█▄ ▂                  ▅█▁     █  ▃▄▄▅▅
    █████████▄▁▁▁▁▁▁▁▁         ▁▁▁████▇█▃▁▁▁              ███▅▄▆▇▂████████▄▄▄▂▁▁▁▁
    1ms             5d         7        100k              1                    10k

    service            requests  longest gap  over time                      busiest
    m-large-c26          17,834        4d 6h  ▁█·················▁········▂   1.62/s
    m-small-c24          15,935        5d 2h  ······▂····················▆█  0.552/s
    m-large-c70          14,965       3d 19h  ············█···············▁   1.39/s
    m-mid-c39            10,252        2d 3h  ·█▅···▁▁··▁▂········▁······▂·  0.661/s
    m-large-c154          9,263        1.16s  ···█·························   1.13/s
    m-mid-c98             8,859      16h 42m  ▁▇▆█▁▄▆▇▃▁██▅▁▁·▁··▁▁▁▁▂▂·▅▇▄  0.068/s
    m-large-c160          8,278       7h 30m  ·█·▁·························  0.889/s
    m-mid-c29             7,654       2d 12h  ··▁█·▁▁▁··▂▁▁·········▁▂··▁▄▄  0.259/s
    m-large-c106          7,571       1m 17s  ···········█·················  0.924/s
    m-mid-c50             6,098       4d 23h  ·▆▆▆▇▆█▁···················▁·  0.104/s
    m-large-c46           5,456      30m 29s  ····························█  0.666/s
    m-large-c155          5,098      20h 41m  ·▄▄█·▁▄█▁·█▄▃▂··▅·▁·▄·▁▁▅···▁  0.079/s
    m-large-c135          4,640        3.46s  ···························█·  0.527/s
    m-large-c111          4,000           1d  ·█···▇···▁·▁·▃▁···▁··▁▁···▁▁▁  0.195/s
    m-large-c50           1,802      14h 40m  ························█··██  0.073/s
    m-large-c130          1,094        2d 1h  ·█·▅·▁▂▁··▂·······▂········▂▂  0.044/s
    m-mid-c76               900       1d 22h  ··▁····█··█▁·······▁·········  0.045/s
    m-large-c96             686          48s  ····························█  0.084/s
    m-large-c84             500       2d 16h  ·▃▅▅··▅▄·▂█····▂··········▆▄▆  0.009/s
    m-large-c33             114       9h 53m  ···█▄▆▅······················  0.005/s
    6 services more         333
    each to its own scale; busiest is its highest mean over 2h 17m
    ");
    assert_snapshot!(stat("azure-functions-2019-concurrency.csv.gz", None).render(60), @r"
    window         1d
    in flight      17.4 mean, 37 at most, 60 services

    in flight, the highest mean over 2m 8s in each column
    27.5 ┤▃   ▁             ▃ ▅▁     ▁ ▂ ▁   ▂█   ▂  ▂ ▁     ▁
         ┤█▄█▅█▄▆▃▃█▆▆▃█▇█▇▅████▇▆█▇▆█▇█▇██▅███▅███▆▇█▅█▅▄▇▅▂█▆▄
         ┤██████████████████████████████████████████████████████
         ┤██████████████████████████████████████████████████████
       0 ┤██████████████████████████████████████████████████████
          0                                                   1d

    service          mean in flight  peak  over time
    app000                     1.01     2  ▇▇████▇█▇▇▇▇▇▇▇▇▇▇▇▇▇
    app002                     1.00     3  █████████████████████
    app005                     1.00     1  █████████████████████
    app007                     1.00     1  █████████████████████
    app014                     1.00     1  █████████████████████
    app025                     1.00     1  █████████████████████
    app010                     1.00     1  █████████████████████
    app009                     1.00     1  █████████████████████
    app057                     0.93     3  ▆▆▆▆▆▆▆█▆▆▆▆▆▆▆▆▆▆▆▆▆
    app015                     0.92     1  █████████████████████
    app020                     0.90     3  ▅▅▇▆▆▆▅▅▅▅▇▇▇▇▇▇▇███▇
    app027                     0.79     1  ▇▇▇▇█▇████▇▇███▇▇█▇▇▇
    app024                     0.78     1  ██████▇█▇▇███████████
    app012                     0.53     1  ▃▂▂▂▃██████████▅▄▃▄▃▂
    app032                     0.50     1  █████████████████████
    app019                     0.47     1  ▄▄▃▅▅█▆█▇▇▇█▇▅▆▅▇▁▂▃▂
    app004                     0.36     2  ▁▁▁▁▁▁▁▁▁▁▁▁▃▄▄▄▃▂▂▆█
    app037                     0.33     1  █████████████████████
    app059                     0.33     2  ██▆▇▆██▆▆▇▆▆█▇▆██▆▇▆▆
    app042                     0.25     1  ▆▆▆▆▆▆▆▆▆▆█▆▆▆▆▅▆▆▆▆▆
    40 services more
    each to its own scale
    ");
    assert_snapshot!(stat("azure-functions-2021-sample.csv", None).render(40), @r"
    window         20m 1s
    requests       199, 31 services
    rate           0.166 requests/s mean, 22 in the busiest second, 0.700 over the busiest minute
    dispersion     8.31 of seconds, 9.70 of minutes (1 is Poisson)
    duration       219 ms median, 194,060 ms p99

    requests/s, the highest mean over 2s in each column
    11.5 ┤█
         ┤█                ▄
         ┤█       ▄        █       ▇
         ┤█     ▁ █        █       █       ▆
       0 ┤█▄▂▆▂▇█▂█▂▆▄▂▇▂▇▂█▄▂▆▂▄▇▂█▂▄▂▄▇ ▆█
          0                           20m 1s

    between arrivals     duration
                 ▁█          ▁█      █
                 ██▇▇      ▃ ██  ▁   █▇ ▇
    ▆ ▃▁  ▁      ████▃   ▁ █▁██▄▆█▄▄▃██▇█
    1ms            11m   2ms           7m

    service            requests  longest gap  over time  busiest
    fn024                    32      10m 13s  █···█···      1/s
    fn025                    32          49s  ████████  0.062/s
    fn015                    21           1m  ████████  0.062/s
    fn006                    16       2m 15s  ████████  0.062/s
    fn009                    16       2m 15s  ████████  0.062/s
    fn022                    10           2m  ████████  0.062/s
    fn005                     7           3m  ██████·█  0.062/s
    fn027                     6        3m 1s  ·█████·█  0.062/s
    fn000                     5           5m  ██·█·█·█  0.062/s
    fn003                     5           5m  ██·█·█·█  0.062/s
    fn004                     5           5m  ██·█·█·█  0.062/s
    fn008                     5           5m  ██·█·█·█  0.062/s
    fn007                     4        5m 1s  ██·█·█··  0.062/s
    fn010                     4           5m  ██·█·█··  0.062/s
    fn012                     4           5m  ██·█·█··  0.062/s
    fn013                     4           5m  ██·█·█··  0.062/s
    fn002                     3           1m  █·······  0.062/s
    fn023                     3       1m 14s  █·······  0.062/s
    fn016                     2          10m  █··█····  0.062/s
    fn017                     2          10m  █··█····  0.062/s
    11 services more          13
    each to its own scale; busiest is its highest mean over 16s
    ");
}

#[test]
fn the_demo_is_a_busy_service_and_one_that_is_left_alone_three_times() {
    let paths = ["azure-llm-2023-code.csv.gz", "longtail-demo.csv.gz"].map(fixture);
    assert_snapshot!(of(&paths, &Seed::new("tide")).unwrap().render(80), @r"
    window         4h
    requests       7,602, 2 services
    rate           0.529 requests/s mean, 67 in the busiest second, 10.9 over the busiest minute
    dispersion     14.42 of seconds, 288.60 of minutes (1 is Poisson)
    prompt tokens  1,385 median, 7,436 p99
    output tokens  15 median, 398 p99

    requests/s, the highest mean over 16s in each column
    26.2 ┤    █
         ┤  ▃ █
         ┤ ▆█▅█ ▃█▁
         ┤ ████▅███▂▆
       0 ┤▅██████████             ▁ ▁▁▃▂▃               ▂▂▂▂                  ▁▁▁▁▁▁
          0                                                                       4h

    between arrivals           prompt tokens              output tokens
    ▁    █▇                                    ▃█▂         ▆█
    █    ██▂                                 ▂▆███▂        ███▁
    █▇▇▅████▅▃▃▂▁▁▁▁▁  ▁       ▁▁▁▁▁▁▁▂▃▄▄▅▅███████▇▇     █████▇▇█▅▃▃▂▁▁ ▁
    1ms               1h       2                  10k     5          2,154

    service                requests  longest gap  over time                  busiest
    azure-llm-2023-code       6,621       2m 54s  ▅█▆▆·····················   6.76/s
    m-large-c155                981        1h 1m  ▄▅▂·····▁█▇····▇█······▁▁  0.641/s
    each to its own scale; busiest is its highest mean over 2m 8s
    ");
}

#[test]
fn the_demos_second_service_is_idle_long_enough_to_go_to_zero_three_times() {
    // Stable window, scale-down delay and retention of the `gpu` profile, and a margin.
    const IDLE_US: u64 = (180 + 60 + 1800 + 120) * SECOND_US;
    let trace = Trace::open(&fixture("longtail-demo.csv.gz"), &Seed::new("tide")).unwrap();
    let at_us: Vec<u64> = trace.items().map(|item| item.unwrap().at_us()).collect();
    let idle = at_us.windows(2).filter(|pair| pair[1] - pair[0] >= IDLE_US);
    assert_eq!((trace.services(), idle.count()), (&["m-large-c155".to_owned()][..], 3));
}

#[test]
fn a_window_that_ends_before_the_trace_is_refused() {
    let path = [fixture("aibrix-8min-up-down.csv.gz")];
    let error = over(&path, &Seed::new("tide"), Some(60 * SECOND_US)).unwrap_err();
    assert_snapshot!(error, @"the window of 60 s is shorter than the trace, which ends at 456 s");
}

#[test]
fn quantiles_lie_on_the_line_between_neighbours() {
    let of = |values: &[u64], percent| {
        let mut histogram = Histogram::new(5).unwrap();
        for &value in values {
            histogram.record(value).unwrap();
        }
        quantile(&histogram, percent)
    };
    for (values, percent, expected) in [
        (&[7][..], 50, 7),
        (&[7], 99, 7),
        (&[0, 10], 50, 5),
        (&[0, 10], 99, 9),
        (&[1, 2, 4], 50, 2),
        (&[4, 4, 4, 5], 50, 4),
        (&[0, 0, 100, 100], 50, 50),
        (&[0, 262_143], 99, 259_521),
    ] {
        assert_eq!(of(values, percent), expected, "{values:?} at {percent}");
    }
}

#[test]
fn the_document_keeps_its_names() {
    let document = serde_json::to_value(stat("aibrix-8min-up-down.csv.gz", None)).unwrap();
    let back: Stat = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(serde_json::to_value(back).unwrap(), document);
    let names = |value: &serde_json::Value| {
        value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
    };
    let lists = [&document, &document["requests"], &document["top"][0]].map(names);
    assert_snapshot!(lists.join("\n"), @r"
    apiVersion kind offered requests rest services top traces windowS
    areExpected count dispersion1s dispersion60s durationBars durationMs gapsS meanRps outputBars outputTokens peakRps1s peakRps60s promptBars promptTokens rate
    curve longestGapS meanOffered name peakOffered requests
    ");
    assert!(schemars::schema_for!(Stat).get("properties").is_some());
}
