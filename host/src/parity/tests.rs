//! What is said of recordings that are out of order, and that differences are found where they are.

use std::path::Path;

use super::*;

const SCENARIO: &str = r#"{"kind":"scenario","name":"idle","mode":"open","configmap":{},"annotations":{},"container_concurrency":0,"reachability":"","duration_s":2}
{"t_s":0,"concurrency":0,"ready_pods":1}
{"t_s":1,"concurrency":0,"ready_pods":1}
{"t_s":2,"concurrency":0,"ready_pods":1}
"#;

const GOLDEN: &str = r#"{"kind":"golden","name":"idle","mode":"open","epoch_s":946684800,"resolved":{"metric":"concurrency","aggregation":"linear","total_value":100,"target_value":70,"stable_window_s":60,"panic_window_s":6,"panic_threshold":2,"max_scale_up_rate":1000,"max_scale_down_rate":2,"scale_down_delay_s":0,"target_burst_capacity":211,"activator_capacity":100,"activation_scale":0,"initial_scale":1,"min_scale":0,"max_scale":0,"reachable":true,"enable_scale_to_zero":true,"scale_to_zero_grace_period_s":30,"scale_to_zero_retention_s":0}}
{"t_s":2,"valid":true,"desired":0,"ebc":-111,"panic":false,"max_panic":0,"stable":0,"panic_avg":0,"ready":1}
"#;

const REQUESTS: &str = r#"{"id":"a","desc":"half a second","until_ms":1000,"events":[[250,"in"],[750,"out"]],"queue_proxy":[[1000,0.5,0,1,0]],"activator":[[250,1,1],[1000,0,0]]}"#;

const SETTINGS: &str = r#"{"id":"a","configmap":{"stable-window":"5s"},"annotations":{},"container_concurrency":0,"reachability":"","ready_pods":1,"config_error":{"keys":["stable-window"],"reason":"out_of_range"},"annotation_errors":[],"resolved":null}"#;

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        std::fs::write(folder.join(name), content).expect("it is written");
    }
}

/// Recordings of a folder with these files, or all that is wrong with them, `DIR` being that folder.
fn recordings(files: &[(&str, &str)]) -> Result<Vec<Recording>, String> {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), files);
    read(&[folder.path().to_owned()], |_| {}).map_err(|faults| {
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        told.join("\n").replace(&folder.path().display().to_string(), "DIR")
    })
}

/// The first row that differs, with its fields.
fn difference(files: &[(&str, &str)]) -> String {
    let recordings = recordings(files).expect("they are in order");
    let held = recordings[0].hold(&HeldChain::native()).expect("it plays");
    let Some(first) = held.first else { return format!("equal in {} rows", held.rows) };
    let fields =
        first.fields.iter().map(|one| format!("{} {} {}", one.field, one.ours, one.theirs));
    let fields: Vec<String> = fields.collect();
    format!(
        "{} of {}, line {}, {}: {}",
        held.differing,
        held.rows,
        first.line,
        first.at,
        fields.join(", ")
    )
}

#[test]
fn every_fault_names_file_line_and_field() {
    let scenario = |from: &str, to: &str| SCENARIO.replacen(from, to, 1);
    let golden = |from: &str, to: &str| GOLDEN.replacen(from, to, 1);
    for (one, other, expected) in [
        (
            scenario(r#""t_s":1,"#, r#""t_s":1,,"#),
            GOLDEN.to_owned(),
            "DIR/s.jsonl:3: expected a JSON object, found none: it breaks off at column 10",
        ),
        (
            scenario(r#"{"t_s":1,"concurrency":0,"ready_pods":1}"#, "[1]"),
            GOLDEN.to_owned(),
            "DIR/s.jsonl:3: expected a JSON object, found [1]",
        ),
        (
            scenario(r#""t_s":1,"concurrency":0,"ready_pods":1"#, r#""t_s":1,"concurrency":0"#),
            GOLDEN.to_owned(),
            "DIR/s.jsonl:3: ready_pods is missing, expected a whole number from 0 to 4294967295",
        ),
        (
            scenario(r#""concurrency":0"#, r#""concurency":0"#),
            GOLDEN.to_owned(),
            "DIR/s.jsonl:2: no such field: concurency; did you mean concurrency?",
        ),
        (
            scenario(r#""t_s":1"#, r#""t_s":4"#),
            GOLDEN.to_owned(),
            "DIR/s.jsonl:3: t_s is 4, expected 1: a line for each second, from 0 on",
        ),
        (
            scenario(r#""mode":"open""#, r#""mode":"ajar""#),
            GOLDEN.to_owned(),
            r#"DIR/s.jsonl:1: mode is "ajar", expected one of "open", "closed", "e2e""#,
        ),
        (
            scenario(r#""duration_s":2"#, r#""duration_s":9"#),
            GOLDEN.to_owned(),
            "DIR/s.jsonl:1: duration_s is 9, expected the last of its 3 seconds, from 0 on",
        ),
        (
            scenario(r#""duration_s":2"#, r#""duration_s":2,"updates":[{"t_s":1},7]"#),
            GOLDEN.to_owned(),
            "DIR/s.jsonl:1: updates[1] is 7, expected an object",
        ),
        (
            SCENARIO.to_owned(),
            golden(r#""desired":0"#, r#""desired":"none""#),
            r#"DIR/g.jsonl:2: desired is "none", expected a number"#,
        ),
        (
            SCENARIO.to_owned(),
            golden(r#""target_value":70,"#, ""),
            "DIR/g.jsonl:1: resolved.target_value is missing, expected a number",
        ),
        (
            SCENARIO.to_owned(),
            golden(r#","stable":0"#, ""),
            "DIR/g.jsonl:2: stable is missing, expected a number, or null for no data",
        ),
        (
            SCENARIO.to_owned(),
            golden(r#""mode":"open""#, r#""mode":"closed""#)
                .replace("}\n", ",\"pods\":1}\n")
                .replacen(",\"pods\":1", "", 1),
            r#"DIR/g.jsonl:1: mode is "closed", expected "open", as DIR/s.jsonl has it"#,
        ),
        (
            SCENARIO.to_owned(),
            GOLDEN.lines().next().expect("a header").to_owned(),
            "DIR/g.jsonl holds a header alone, expected a row for each decision behind the header",
        ),
    ] {
        let told = recordings(&[("s.jsonl", &one), ("g.jsonl", &other)]).expect_err(expected);
        assert_eq!(told, expected);
    }
}

#[test]
fn files_are_known_by_content_and_paired_by_name_within_a_folder() {
    for (files, expected) in [
        (
            vec![("s.jsonl", SCENARIO)],
            "DIR/s.jsonl: no golden file in its folder has the name idle, and one alone says nothing",
        ),
        (
            vec![("g.jsonl", GOLDEN)],
            "DIR/g.jsonl: no scenario file in its folder has the name idle, and one alone says nothing",
        ),
        (
            vec![("a.jsonl", SCENARIO), ("b.jsonl", SCENARIO), ("g.jsonl", GOLDEN)],
            "DIR/b.jsonl: its name idle is that of DIR/a.jsonl too, and only one can be meant",
        ),
        (
            vec![("x.jsonl", "{\"t_s\":1}\n")],
            "DIR/x.jsonl:1: this is no recording that is known: expected the first line of a scenario or a golden file, a settings case, a request-stat case or a sample size",
        ),
        (
            vec![("x.jsonl", "{\"kind\":\"silver\"}")],
            r#"DIR/x.jsonl:1: kind is "silver", expected one of "scenario", "golden""#,
        ),
        (
            vec![("x.jsonl", "\n\n")],
            "DIR/x.jsonl holds no line, expected a line for each thing that was recorded",
        ),
        (
            vec![("README.md", "nothing of this is read")],
            "DIR holds no recordings, expected files that end in .jsonl or .jsonl.gz",
        ),
    ] {
        assert_eq!(recordings(&files).expect_err(expected), expected);
    }
    let found = recordings(&[
        ("1.jsonl", "{\"pods\":4,\"sample\":4}"),
        ("2.jsonl", REQUESTS),
        ("3.jsonl", GOLDEN),
        ("4.jsonl", SETTINGS),
        ("5.jsonl", SCENARIO),
        ("notes.txt", "not read"),
    ])
    .expect("they are in order");
    let kinds: Vec<Kind> = found.iter().map(Recording::kind).collect();
    assert_eq!(kinds, [Kind::Open, Kind::SampleSizes, Kind::RequestStats, Kind::Settings]);
    for recording in found {
        assert_eq!(recording.hold(&HeldChain::native()).expect("it plays").differing, 0);
    }
}

#[test]
fn two_folders_may_use_a_name_each() {
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    for folder in &folders {
        write(folder.path(), &[("s.jsonl", SCENARIO), ("g.jsonl", GOLDEN)]);
    }
    let paths = folders.each_ref().map(|folder| folder.path().to_owned());
    assert_eq!(read(&paths, |_| {}).expect("they are in order").len(), 2);
    let crossed = [paths[0].join("s.jsonl"), paths[1].join("g.jsonl")];
    assert_eq!(read(&crossed, |_| {}).expect_err("they are of two folders").len(), 2);
}

#[test]
fn a_changed_number_is_found_in_its_row_and_field() {
    let equal = [("s.jsonl", SCENARIO), ("g.jsonl", GOLDEN)];
    assert_eq!(difference(&equal), "equal in 1 rows");
    for (from, to, expected) in [
        (r#""desired":0"#, r#""desired":1"#, "1 of 1, line 2, 2 s: desired 0 1"),
        (r#""ebc":-111"#, r#""ebc":-111.5"#, "1 of 1, line 2, 2 s: ebc -111 -111.5"),
        (r#""valid":true"#, r#""valid":false"#, "1 of 1, line 2, 2 s: valid true false"),
        (
            r#""panic":false,"max_panic":0"#,
            r#""panic":true,"max_panic":2"#,
            "1 of 1, line 2, 2 s: panic false true, max_panic 0 2",
        ),
        (r#""stable":0"#, r#""stable":1e-7"#, "1 of 1, line 2, 2 s: stable 0 1e-7"),
        (r#""stable":0"#, r#""stable":null"#, "1 of 1, line 2, 2 s: stable 0 null"),
        (r#""ready":1"#, r#""ready":2"#, "1 of 1, line 2, 2 s: ready 1 2"),
        (
            r#""target_value":70"#,
            r#""target_value":70.1"#,
            "1 of 1, line 1, the header: target_value 70 70.1",
        ),
        (r#""t_s":2"#, r#""t_s":4"#, r#"2 of 0, line 1, 2 s: decision "a decision" "no row""#),
    ] {
        let golden = GOLDEN.replacen(from, to, 1);
        assert_eq!(difference(&[("s.jsonl", SCENARIO), ("g.jsonl", &golden)]), expected);
    }
}

#[test]
fn an_extra_decision_has_a_row_of_its_own_and_stats_of_pods_do_not_poke() {
    let scenario =
        SCENARIO.replace(r#""t_s":1,"concurrency":0"#, r#""t_s":1,"poke":true,"concurrency":300"#);
    let poke = r#"{"t_s":1,"poke":true,"valid":true,"desired":3,"ebc":-411,"panic":true,"max_panic":3,"stable":150,"panic_avg":150,"ready":1}"#;
    let regular = r#"{"t_s":2,"valid":true,"desired":3,"ebc":-211,"panic":true,"max_panic":3,"stable":100,"panic_avg":100,"ready":1}"#;
    let header = GOLDEN.lines().next().expect("a header");
    let both = format!("{header}\n{}\n{regular}\n", poke.replace("-411", "-261"));
    assert_eq!(difference(&[("s.jsonl", &scenario), ("g.jsonl", &both)]), "equal in 2 rows");
    let wrong = format!("{header}\n{poke}\n{regular}\n");
    assert_eq!(
        difference(&[("s.jsonl", &scenario), ("g.jsonl", &wrong)]),
        "1 of 2, line 2, poke at 1 s: ebc -261 -411"
    );
    // Without the poke nothing is decided at second 1, although there is load and nothing was wanted.
    let quiet = scenario.replace(r#""poke":true,"#, "");
    let alone = format!("{header}\n{regular}\n");
    let told = difference(&[("s.jsonl", &quiet), ("g.jsonl", &alone)]);
    assert_eq!(told, "1 of 1, line 2, 2 s: desired 2 3, max_panic 2 3");
}

#[test]
fn cases_that_differ_say_both_sides() {
    for (file, from, to, expected) in [
        (
            SETTINGS,
            "out_of_range",
            "too_small",
            r#"1 of 1, line 1, case a: config_error "refused: stable-window out_of_range" "refused: stable-window too_small""#,
        ),
        (
            SETTINGS,
            r#""stable-window":"5s""#,
            "",
            r#"1 of 1, line 1, case a: config_error "accepted" "refused: stable-window out_of_range""#,
        ),
        (
            REQUESTS,
            "[[1000,0.5,0,1,0]]",
            "[[1000,0.5,0,2,0]]",
            "1 of 1, line 1, case a, half a second: queue_proxy[0] count 1 2",
        ),
        (
            REQUESTS,
            "[1000,0,0]]",
            "[1000,0,0],[2000,0,0]]",
            "1 of 1, line 1, case a, half a second: activator reports 2 3",
        ),
        (r#"{"pods":10,"sample":7}"#, "7", "8", "1 of 1, line 1, 10 pods: sample 7 8"),
    ] {
        assert!(difference(&[("x.jsonl", file)]).starts_with("equal"));
        assert_eq!(difference(&[("x.jsonl", &file.replacen(from, to, 1))]), expected);
    }
    let ends_first = REQUESTS.replace(r#"[[250,"in"],[750,"out"]]"#, r#"[[250,"out"]]"#);
    let told = recordings(&[("x.jsonl", &ends_first)]).expect_err("nothing began");
    assert!(told.contains("events[0]") && told.contains("none ends that did not begin"), "{told}");
}
