//! What a check came to as SARIF 2.1.0, which code-scanning pages read.

use serde_json::{Value, json};

use super::kind::Kind;
use super::{Checked, Finding, Report, Severity};

/// The report as a SARIF log.
pub fn sarif(report: &Report) -> String {
    let results: Vec<Value> = report
        .files
        .iter()
        .flat_map(|file| file.findings.iter().map(|finding| result(file, finding)))
        .collect();
    let notifications: Vec<Value> = report
        .unchecked
        .iter()
        .map(|file| {
            json!({
                "level": "error",
                "message": { "text": file.message },
                "locations": [{ "physicalLocation": { "artifactLocation": { "uri": uri(&file.file) } } }],
            })
        })
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "tidegate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": Kind::IN_TURN.map(|kind| json!({
                    "id": kind.word(),
                    "shortDescription": { "text": kind.about() },
                })),
            } },
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": report.unchecked.is_empty(),
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    });
    serde_json::to_string_pretty(&log).expect("every key is text") + "\n"
}

fn result(file: &Checked, finding: &Finding) -> Value {
    let mut place = json!({ "artifactLocation": { "uri": uri(&file.file) } });
    if let Some(line) = finding.line {
        place["region"] = json!({ "startLine": line });
        if let Some(column) = finding.column {
            place["region"]["startColumn"] = column.into();
        }
    }
    let mut location = json!({ "physicalLocation": place });
    if !finding.path.is_empty() {
        location["logicalLocations"] = json!([{ "fullyQualifiedName": finding.path }]);
    }
    let text = match &finding.hint {
        Some(hint) => format!("{}; {hint}", finding.message),
        None => finding.message.clone(),
    };
    let rule = Kind::IN_TURN.iter().position(|kind| *kind == file.kind);
    json!({
        "ruleId": file.kind.word(),
        "ruleIndex": rule,
        "level": match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "message": { "text": text },
        "locations": [location],
    })
}

/// A path as a reference in a URI: what may not stand there is written in per cent.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
