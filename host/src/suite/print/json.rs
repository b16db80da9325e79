//! A run as JSON; `docs/test-a-policy.md` defines the fields.

use serde_json::{Value, json};

use super::{Tally, Verdict, wrongs, wrongs_of_suite};
use crate::suite::pending::Pending;
use crate::suite::{CaseReport, Report, SnapshotState, diff};

/// The document of kind `TestReport`.
pub fn json(report: &Report) -> String {
    let tally = Tally::of(report);
    let suites: Vec<Value> = report
        .suites
        .iter()
        .map(|suite| {
            json!({
                "file": suite.file.display().to_string(),
                "cases": suite.cases.iter().map(case).collect::<Vec<_>>(),
                "skipped": suite.skipped,
                "policies": suite.policies,
                "orphans": suite.orphans.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
                "wrong": wrongs_of_suite(suite),
            })
        })
        .collect();
    let document = json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "TestReport",
        "passed": tally.passed,
        "new": tally.new,
        "changed": tally.changed,
        "failed": tally.failed,
        "trapped": tally.trapped,
        "broken": tally.broken,
        "checksFailed": tally.checks_failed,
        "orphans": tally.orphans,
        "accepted": tally.accepted,
        "tookS": report.took_s,
        "suites": suites,
    });
    serde_json::to_string_pretty(&document).expect("every key is text") + "\n"
}

fn case(case: &CaseReport) -> Value {
    let mut document = json!({
        "name": case.name,
        "line": case.line,
        "kind": case.kind,
        "verdict": Verdict::of(case).name(),
        "numbers": case.numbers,
        "wrong": wrongs(case),
        "warnings": case.warnings,
        "tookS": case.took_s,
    });
    if let SnapshotState::Changed { before, now, file } = &case.snapshot {
        document["snapshot"] = file.display().to_string().into();
        document["deltas"] = diff::deltas(&before.head.info, &now.head.info)
            .iter()
            .map(|delta| json!({ "name": delta.name, "before": delta.before, "now": delta.now }))
            .collect();
    }
    document
}

/// What waits for a decision, as a list.
pub fn pending_json(pending: &[Pending]) -> String {
    let one = |one: &Pending| {
        json!({
            "suite": one.suite.display().to_string(),
            "case": one.case,
            "snapshot": one.file.display().to_string(),
            "isNew": one.before.is_none(),
        })
    };
    let list: Vec<Value> = pending.iter().map(one).collect();
    serde_json::to_string_pretty(&list).expect("every key is text") + "\n"
}
