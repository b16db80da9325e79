//! Asks one policy with inputs as they stand in a table, a row a decision: no simulator, no engine, no windows. What the policy
//! remembers goes from row to row.

use std::collections::BTreeMap;

use super::contract::name_of;
use super::decided::{Decided, Decision};
use super::table::{Rows, TableError};
use crate::policy::wire::{Batch, Births, Causes, Input, Source, States};
use crate::policy::{BindError, CallError, ScalingPolicy};

/// A policy that cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// A table is not in order.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The policy refuses the settings.
    #[error("the policy does not accept the settings")]
    Bind(#[from] BindError),
    /// It cannot make a first state.
    #[error("the policy cannot make a first state")]
    Init(#[from] CallError),
}

/// Columns that are no inputs.
const OWN: [&str; 4] = ["at", "service", "cause", "wanted"];
const CAUSES: [(&str, Causes); 5] = [
    ("created", Causes::CREATED),
    ("tick", Causes::TICK),
    ("poke", Causes::POKE),
    ("change", Causes::CHANGE),
    ("timer", Causes::TIMER),
];
/// Facts that are texts.
const TEXTS: [&str; 2] = ["role", "pool"];

/// What the policy remembers of a service.
#[derive(Default)]
struct Remembered {
    state: Vec<u8>,
    is_born: bool,
}

/// Asks `policy`, bound to `document`, about every row. Rows of one moment are one batch.
///
/// # Errors
///
/// When it refuses the document, a required input is missing, or a cell is not what it must be.
pub(super) fn ask(
    policy: &mut dyn ScalingPolicy,
    document: &str,
    rows: &Rows,
) -> Result<Decided, AskError> {
    let program = policy.bind(document)?;
    let sources = sources(&program.inputs, rows)?;
    let service = rows.column("service");
    let cause = rows.column("cause");
    let wanted = rows.column("wanted");
    let first_causes = program.causes & (Causes::CREATED | Causes::TICK | Causes::CHANGE);
    let later_causes = program.causes & (Causes::TICK | Causes::CHANGE | Causes::TIMER);
    let mut memory: BTreeMap<String, Remembered> = BTreeMap::new();
    let mut decided = Decided {
        columns: rows
            .names
            .iter()
            .filter(|name| *name != "at" && *name != "wanted")
            .cloned()
            .collect(),
        outputs: program.outputs.clone(),
        decisions: Vec::new(),
        mismatches: Vec::new(),
        failures: Vec::new(),
        warnings: program
            .warnings
            .iter()
            .map(|fault| match fault.path.as_str() {
                "" => fault.message.clone(),
                path => format!("{path}: {}", fault.message),
            })
            .collect(),
    };
    for together in rows.rows.chunk_by(|one, other| one.at == other.at) {
        let at = together[0].at;
        let n = together.len();
        let mut batch = Batch {
            at_ms: at.0,
            causes_of: Vec::with_capacity(n),
            params: vec![program.params.clone()],
            params_of: vec![0; n],
            groups: (0..n as u32).collect(),
            states: States { bytes: Vec::new(), ends: Vec::new() },
            inputs: vec![f64::NAN; n * program.inputs.len()],
            words: Vec::new(),
        };
        let name =
            |row: &super::table::Row| service.map_or(String::new(), |at| row.cells[at].clone());
        for (i, row) in together.iter().enumerate() {
            if together[..i].iter().any(|other| name(other) == name(row)) {
                return Err(rows
                    .fault(
                        row,
                        "at",
                        &row.cells[rows.column("at").unwrap_or(0)],
                        "one row a service and moment",
                    )
                    .into());
            }
            for (column, source) in sources.iter().enumerate() {
                let Some(from) = *source else { continue };
                let is_text = TEXTS.contains(&rows.names[from].as_str());
                batch.inputs[column * n + i] = if is_text {
                    batch.words.push(row.cells[from].clone());
                    (batch.words.len() - 1) as f64
                } else {
                    rows.number(row, from)?
                };
            }
            let remembered = memory.entry(name(row)).or_default();
            let is_first = !remembered.is_born;
            if is_first {
                let ready = program
                    .inputs
                    .iter()
                    .position(|input| name_of(&input.source) == "ready-replicas");
                let ready = ready.map_or(f64::NAN, |column| batch.inputs[column * n + i]);
                let born = Births {
                    at_ms: at.0,
                    params: batch.params.clone(),
                    params_of: vec![0],
                    ready: vec![ready],
                };
                remembered.state = policy.init(&born)?.bytes;
                remembered.is_born = true;
            }
            batch.causes_of.push(match cause {
                Some(column) => causes(rows, row, column)?,
                None if is_first => first_causes,
                None => later_causes,
            });
            batch.states.bytes.extend_from_slice(&remembered.state);
            batch.states.ends.push(batch.states.bytes.len() as u32);
        }
        let answer = policy.decide(&batch, program.outputs.len());
        let reasons = policy.explain(&batch);
        for (i, row) in together.iter().enumerate() {
            let cells = rows.names.iter().zip(&row.cells);
            let cells = cells.filter(|(name, _)| *name != "at" && *name != "wanted");
            let mut decision = Decision {
                at,
                service: name(row),
                cells: cells.map(|(_, cell)| cell.clone()).collect(),
                ..Decision::default()
            };
            if let Some((_, error)) = answer.failed.iter().find(|(at, _)| *at as usize == i) {
                decision.failure = Some(error.message.clone());
                decided.failures.push((error.kind, error.message.clone()));
            } else {
                let decisions = &answer.decisions;
                let start = if i == 0 { 0 } else { decisions.states.ends[i - 1] as usize };
                let end = decisions.states.ends[i] as usize;
                let remembered = memory.entry(name(row)).or_default();
                remembered.state = decisions.states.bytes[start..end].to_vec();
                decision.wanted = decisions.apply[i].then(|| decisions.wanted[i]);
                decision.next_at_ms = decisions.next_at_ms[i];
                decision.outputs = (0..program.outputs.len())
                    .map(|column| decisions.outputs[column * n + i])
                    .collect();
                decision.reason = match &reasons {
                    Ok(told) => told[i].reason.clone(),
                    Err(error) => format!("it cannot tell why: {error}"),
                };
            }
            if let Some(column) = wanted
                && let Some(told) = mismatch(rows, row, column, &decision)?
            {
                decided.mismatches.push(told);
            }
            decided.decisions.push(decision);
        }
    }
    Ok(decided)
}

/// For each input, the column that has it: named `signal/60s` for one window, or `signal` for all windows over it.
fn sources(inputs: &[Input], rows: &Rows) -> Result<Vec<Option<usize>>, TableError> {
    let exact = |input: &Input| match &input.source {
        Source::Window(window) => format!("{}/{}s", window.signal, window.span_s),
        Source::Fact(name) | Source::Output(name) => name.clone(),
    };
    let head = &rows.rows[0];
    let found: Vec<Option<usize>> = inputs
        .iter()
        .map(|input| rows.column(&exact(input)).or_else(|| rows.column(&name_of(&input.source))))
        .collect();
    let known: Vec<String> =
        inputs.iter().flat_map(|input| [exact(input), name_of(&input.source)]).collect();
    let known = || known.iter().map(String::as_str).chain(OWN);
    for (position, name) in rows.names.iter().enumerate() {
        if OWN.contains(&name.as_str())
            || found.contains(&Some(position))
            || known().any(|one| one == name)
        {
            continue;
        }
        let expected = match tidegate_settings::nearest(name, known()) {
            Some(nearest) => nearest.to_owned(),
            None => {
                let mut all: Vec<&str> = known().collect();
                all.sort_unstable();
                all.dedup();
                format!("an input of the policy or one of its own columns: {}", all.join(", "))
            }
        };
        return Err(rows.fault(head, "a column", name, expected));
    }
    for (input, column) in inputs.iter().zip(&found) {
        if input.required && column.is_none() {
            let found = format!("without {}", exact(input));
            return Err(rows.fault(
                head,
                "the table",
                &found,
                "a column for it: the policy requires it",
            ));
        }
    }
    Ok(found)
}

fn causes(rows: &Rows, row: &super::table::Row, column: usize) -> Result<Causes, TableError> {
    let mut causes = Causes::empty();
    for word in row.cells[column].split('+').filter(|word| !word.is_empty() && *word != "-") {
        let known = CAUSES.iter().find(|(name, _)| *name == word);
        let (_, cause) = known.ok_or_else(|| {
            rows.fault(
                row,
                "cause",
                word,
                "created, tick, poke, change or timer, or several with + between them",
            )
        })?;
        causes |= *cause;
    }
    Ok(causes)
}

/// What is wrong with a decision where the table says what was wanted.
fn mismatch(
    rows: &Rows,
    row: &super::table::Row,
    column: usize,
    decision: &Decision,
) -> Result<Option<String>, TableError> {
    let expected = match row.cells[column].as_str() {
        "" | "-" => return Ok(None),
        "hold" => None,
        _ => rows.count(row, column).map_err(|_| {
            rows.fault(
                row,
                "wanted",
                &row.cells[column],
                "a whole number, hold, or - where it is of no matter",
            )
        })?,
    };
    let told = |wanted: Option<u32>| wanted.map_or("hold".to_owned(), |wanted| wanted.to_string());
    if decision.failure.is_none() && decision.wanted == expected {
        return Ok(None);
    }
    let found = match &decision.failure {
        Some(message) => format!("it failed: {message}"),
        None if decision.reason.is_empty() => told(decision.wanted),
        None => format!("{} ({})", told(decision.wanted), decision.reason),
    };
    let at = rows.column("at").map_or("", |at| row.cells[at].as_str());
    let place = format!("{}:{}: at {at}", rows.file, row.line);
    Ok(Some(format!("{place}: wanted {}, decided {found}", told(expected))))
}
