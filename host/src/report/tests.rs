//! What people see, reviewed as text, and what a hostile policy or trace must not be able to do to it.

use std::collections::BTreeSet;

use insta::assert_snapshot;

use super::*;
use crate::ledger::Sums;

/// A panic that the maximum holds back, a policy that fails, a
/// service that sleeps and wakes, and a staircase down.
#[test]
fn a_timeline_tells_changes_and_reasons_a_line_each() {
    assert_snapshot!(timeline(&sample::small(), Style::PLAIN, None), @r"
         at  service  ready  waiting   desired   mode   reason
    0:00:00  code         0                 1           1 wanted
    0:00:00  sleepy       0                 1           1 wanted
    0:01:02  code         1       41    1 → 10   panic  80.2 in flight over 6 s wants 12, 1 ready
                                                        [maximum: 12 → 10]
    0:02:00  code +1                             fault  policy knative failed, 4 times in a row: ran out
                                                        of fuel after 110,000 of 110,000 units; instead:
                                                        hold
    0:03:02  sleepy       1             1 → 0           inactive, and the gateway is in the path: the
                                                        last replica may go
    0:05:01  sleepy       0        1    0 → 1           1 waits at zero: activation scale 1
    0:06:02  code        10            10 → 4           in 6 steps until 0:06:12: scale-down delay: 4
                                                        were wanted within 300 s, now 3
    ");
}

#[test]
fn a_summary_tells_what_became_of_the_requests_what_it_took_and_how_it_was_set_up() {
    assert_snapshot!(summary(&sample::small(), Style::PLAIN), @r"
    requests  arrived  served  waited  expired  failed  unfinished    wait, s: p50   p95   p99   max
    code        1,440   1,431     201        6       0           3               0  12.4  28.0  31.4
    sleepy          3       3       1        0       0           0               0  38.1  38.1  38.1
    ────────────────────────────────────────────────────────────────────────────────────────────────
    together    1,443   1,434     202        6       0           3               0  12.4  28.0  38.1

    capacity  cold starts  replica-minutes  GPU-minutes   cost  most replicas  panics
    code               10               61           61  $1.20             10       1
    sleepy              2                6            6  $0.10              1       0
    ─────────────────────────────────────────────────────────────────────────────────
    together           12               67           67  $1.30             11       1

    over time             0:00                                                              0:08  most
    code       in flight  ▁▁▁▁▁▁▁▁▁█████████▄▄▄▄▄▄▄▄▄▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  80.2
               ready      ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁███████████████████████████████████▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄  10
    sleepy     in flight  ············································█████████▂▂▂▂▂▂▂▂▂········  0.5
               ready      ·········██████████████████··························█████████████████  1

    replayed  code.csv.gz, longtail.csv.gz from 2024-01-01 00:00 UTC on, 0:08:00 long
    set-up    profile gpu, a tick every 2 s, seed tide, 6 nodes with 40 GPUs
    policies  knative 3f2a91bc, scale-to-zero 9e0c1d77, placement native:affinity
    made by   tidegate 0.1.0, simulator model 1
    warning   model `llama-3.1-8b-chat` is not in the catalogue: `default` stands for it
    failure   knative at 0:02:00: ran out of fuel after 110,000 of 110,000 units; instead: hold (4
              times)
    ");
}

#[test]
fn many_services_are_a_dozen_rows_and_a_sum() {
    let text = summary(&sample::large(26, 3_600, 60), Style::PLAIN);
    let names =
        text.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split("  ").next());
    let names: Vec<&str> = names.collect();
    assert_eq!(names.len(), 1 + 12 + 1 + 1 + 1, "{text}");
    assert_eq!((names[1], names[13], names[15]), ("code", "14 others", "together"));
}

#[test]
fn a_long_timeline_is_cut_to_what_tells_most_and_says_so() {
    let outcome = sample::large(26, 86_400, 100);
    let all = timeline(&outcome, Style { colour: false, width: 500 }, None);
    let cut = timeline(&outcome, Style { colour: false, width: 500 }, Some(40));
    let left_out = all.lines().count() - 1 - 40;
    let mut lines: Vec<&str> = cut.lines().collect();
    let last = lines.pop().expect("a timeline has lines");
    assert!(
        last.starts_with(&format!("and {} lines more", numbers::grouped(left_out as u64))),
        "{last}"
    );
    assert_eq!(lines.len(), 1 + 40);
    assert!(lines.iter().all(|line| all.contains(line)), "what is kept stands as it was");
    for service in &outcome.services {
        assert!(cut.contains(&service.name), "the largest change of {} is kept", service.name);
    }
}

#[test]
fn lines_streamed_one_by_one_are_those_of_the_timeline() {
    let mut outcome = sample::small();
    outcome.failures.clear();
    outcome.services.remove(1);
    outcome.services[0].changes.truncate(2);
    let service = &outcome.services[0];
    let columns = Columns::new([service.name.as_str()], outcome.setup.duration_s, Style::PLAIN);
    let mut streamed = columns.head();
    for change in &service.changes {
        streamed += &columns.line(&service.name, change);
    }
    assert_eq!(streamed, timeline(&outcome, Style::PLAIN, None));
}

#[test]
fn colour_adds_escape_codes_and_nothing_else() {
    let coloured = Style { colour: true, ..Style::PLAIN };
    for outcome in [sample::small(), sample::large(26, 3_600, 60)] {
        for (with, without) in [
            (timeline(&outcome, coloured, Some(30)), timeline(&outcome, Style::PLAIN, Some(30))),
            (summary(&outcome, coloured), summary(&outcome, Style::PLAIN)),
        ] {
            assert!(with.contains('\u{1b}'));
            let mut parts = with.split('\u{1b}');
            let mut stripped = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                stripped += part.split_once('m').expect("a code ends in m").1;
            }
            assert_eq!(stripped, without);
        }
    }
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for width in [80, 100, 120] {
        for outcome in [sample::small(), sample::large(3, 7_200, 60)] {
            let style = Style { colour: false, width };
            for line in timeline(&outcome, style, None).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
}

/// The outcome with every text in it replaced: names, reasons, messages, keys.
fn with_every_text(text: &str) -> Outcome {
    fn replace(value: &mut serde_json::Value, text: &str) {
        match value {
            serde_json::Value::String(old) => *old = format!("{text}{old}"),
            serde_json::Value::Array(values) => {
                values.iter_mut().for_each(|value| replace(value, text))
            }
            serde_json::Value::Object(fields) => {
                fields.values_mut().for_each(|value| replace(value, text))
            }
            serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {
            }
        }
    }
    let mut value = serde_json::to_value(sample::small()).expect("an outcome is JSON");
    replace(&mut value, text);
    let mut outcome: Outcome = serde_json::from_value(value).expect("only texts changed");
    let services = std::mem::take(&mut outcome.summary.services);
    outcome.summary = Sums {
        services: services.into_iter().map(|(name, sum)| (format!("{text}{name}"), sum)).collect(),
        ..outcome.summary
    };
    outcome
}

#[test]
fn text_from_outside_is_never_markup_nor_a_terminals_command() {
    let hostile = "\u{1b}]0;x\u{7}\r</title></style>\"'><script>alert(1)</script>&\u{202e}\u{ffff}";
    let outcome = with_every_text(hostile);
    let page = page(&outcome);
    assert_well_formed(&page);
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    for text in [timeline(&outcome, Style::PLAIN, None), summary(&outcome, Style::PLAIN), page] {
        let bad = text.chars().find(|&c| (c.is_control() && c != '\n') || c == '\u{202e}');
        assert_eq!(bad, None, "{text}");
    }
}

#[test]
fn a_page_is_well_formed_and_refers_to_nothing_outside() {
    for outcome in [sample::small(), sample::large(5, 7_200, 300)] {
        let page = page(&outcome);
        let ids = assert_well_formed(&page);
        for outside in ["http:", "https:", "src=", "url(", "@import", "<link", "<script", "<iframe"]
        {
            assert!(!page.contains(outside), "{outside}");
        }
        let targets: Vec<&str> =
            page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(targets.len() > outcome.services.len());
        for target in targets {
            let id = target.strip_prefix('#').expect("links stay on the page");
            assert!(ids.contains(id), "{id}");
        }
    }
}

#[test]
fn an_outcome_without_anything_is_told_too() {
    let mut nothing = sample::small();
    nothing.services.clear();
    nothing.classes.clear();
    nothing.failures.clear();
    nothing.warnings.clear();
    nothing.summary = Sums::default();
    nothing.setup = crate::ledger::Setup {
        duration_s: 0.0,
        traces: Vec::new(),
        policies: Vec::new(),
        ..nothing.setup
    };
    let mut silent = sample::small();
    for service in &mut silent.services {
        service.series = crate::ledger::Series::default();
        service.changes.clear();
    }
    for outcome in [nothing, silent] {
        let page = page(&outcome);
        assert_well_formed(&page);
        assert!(!page.contains("NaN") && !page.contains("inf%"));
        assert!(summary(&outcome, Style::PLAIN).contains("replayed"));
        assert!(timeline(&outcome, Style::PLAIN, None).contains("reason"));
    }
}

#[test]
fn a_week_of_26_services_stays_a_page_that_can_be_sent() {
    let page = page(&sample::large(26, 604_800, 5_040));
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
}

#[test]
fn json_reads_back_as_the_outcome() {
    let outcome = sample::small();
    let text = json(&outcome);
    assert_eq!(serde_json::from_str::<Outcome>(&text).expect("own JSON"), outcome);
    let kept = ["\"apiVersion\"", "\"kind\"", "\"setup\"", "\"summary\"", "\"services\": ["];
    let at: Vec<Option<usize>> = kept.iter().map(|key| text.find(key)).collect();
    assert!(at.is_sorted() && at[0].is_some(), "keys keep their order: {at:?}");
}

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/replay.schema.json");

#[test]
fn the_published_schema_is_what_the_program_makes() {
    let published = std::fs::read_to_string(SCHEMA).unwrap_or_default();
    assert!(
        published == schema(),
        "docs/replay.schema.json is out of date; `cargo test --release publish_the_schema -- --ignored` writes it anew"
    );
}

#[test]
#[ignore = "writes docs/replay.schema.json"]
fn publish_the_schema() {
    std::fs::write(SCHEMA, schema()).expect("docs can be written");
}

#[test]
fn every_field_of_the_document_is_defined_in_the_documentation() {
    fn fields(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        let Some(object) = value.as_object() else { return };
        if let Some(properties) = object.get("properties").and_then(|p| p.as_object()) {
            found.extend(properties.keys().cloned());
        }
        object.values().for_each(|value| fields(value, found));
    }
    let docs = include_str!("../../../docs/replay.md");
    let mut names = BTreeSet::new();
    fields(&serde_json::from_str(&schema()).expect("a schema is JSON"), &mut names);
    assert!(names.len() > 40, "{names:?}");
    let is_defined = |name: &String| {
        [format!("`{name}`"), format!(".{name}`")].iter().any(|written| docs.contains(written))
    };
    let missing: Vec<&String> = names.iter().filter(|name| !is_defined(name)).collect();
    assert!(missing.is_empty(), "docs/replay.md says nothing of {missing:?}");
}

/// Fails unless every element is closed in order, every attribute quoted, and every `&` the start of an entity. Gives all ids.
fn assert_well_formed(page: &str) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("a document type");
    while let Some(start) = rest.find('<') {
        assert_entities(&rest[..start]);
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in order");
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag.trim_end_matches('/'), ""));
        if !tag.ends_with('/') {
            open.push(name);
        }
        let mut attributes = attributes.trim_end_matches('/').trim();
        while !attributes.is_empty() {
            let Some((key, value)) = attributes.split_once('=') else {
                assert_eq!((name, attributes), ("details", "open"), "{tag}");
                break;
            };
            let (value, more) =
                value.strip_prefix('"').and_then(|value| value.split_once('"')).expect(tag);
            assert!(!key.starts_with("on") && !value.contains('<'), "{tag}");
            assert_entities(value);
            if key == "id" {
                assert!(ids.insert(value.to_owned()), "{value} twice");
            }
            attributes = more.trim_start();
        }
    }
    assert!(open.is_empty(), "{open:?}");
    ids
}

fn assert_entities(text: &str) {
    for entity in text.split('&').skip(1) {
        let name = entity.split(';').next().unwrap_or_default();
        assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "&{entity}");
    }
}

#[test]
#[ignore = "prints samples, and writes pages to the temporary folder, for a person to look at"]
fn look() {
    let style = Style { colour: true, width: 110 };
    let folder = std::env::temp_dir().join("tidegate-look");
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    for (name, outcome) in [
        ("small", sample::small()),
        ("demo", sample::large(2, 4_320, 720)),
        ("week", sample::large(26, 604_800, 5_040)),
    ] {
        println!("{}", timeline(&outcome, style, Some(LINES)));
        println!("{}", summary(&outcome, style));
        let path = folder.join(format!("{name}.html"));
        std::fs::write(&path, page(&outcome)).expect("a temporary file");
        println!("{}", path.display());
    }
}
