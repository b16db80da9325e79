//! Checks a trace to its end although rows of it are wrong: what stops every other reader is one fault among others here.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::fields::Place;
use super::layout::Layout;
use super::lines::Lines;
use super::{Trace, TraceError, offered, rates, requests};
use crate::seed::Seed;

impl Trace {
    /// Opens a file, or tells what is wrong with it: the first `most` of its faults.
    ///
    /// # Errors
    /// If anything in the file cannot be read; never empty.
    pub fn check(path: &Path, most: usize) -> Result<Trace, Vec<TraceError>> {
        let first = match Trace::open(path, &Seed::new("")) {
            Ok(trace) => return Ok(trace),
            Err(first) => first,
        };
        let mut faults = faults(path, most).unwrap_or_else(|error| vec![error]);
        // A fault of the whole file, as two rows for one minute, is none of a row.
        if faults.is_empty() {
            faults.push(first);
        }
        Err(faults)
    }
}

/// The faults of a file's rows; an error if it cannot be read row by row.
fn faults(path: &Path, most: usize) -> Result<Vec<TraceError>, TraceError> {
    let shown: Arc<str> = path.display().to_string().into();
    let mut lines = Lines::open(path, &shown)?;
    let layout = match lines.next()? {
        Some((_, header)) => Layout::of(&shown, header)?,
        None => return Err(TraceError::Empty { path: shown.to_string() }),
    };
    let mut faults = Vec::new();
    let mut next: Box<dyn FnMut() -> Result<bool, TraceError>> = match layout {
        Layout::Requests(columns) => {
            let mut rows = requests::Rows::new(&shown, lines, columns);
            let path = Arc::clone(&shown);
            Box::new(move || {
                let Some(row) = rows.next()? else { return Ok(false) };
                if let (Some(named), Some(name)) = (columns.service, row.service) {
                    Place { path: &path, line: row.line, column: named.column }.name(name)?;
                }
                Ok(true)
            })
        }
        Layout::Rates(columns) => {
            let mut rows = rates::Rows::new(&shown, lines, &columns);
            Box::new(move || rows.read_on())
        }
        Layout::Concurrency(columns) => {
            let mut rows = offered::Rows::new(&shown, lines, columns);
            let (mut in_minute, mut minute_us) = (BTreeSet::new(), None);
            Box::new(move || Ok(rows.checked(&mut in_minute, &mut minute_us)?.is_some()))
        }
    };
    while faults.len() < most {
        match next() {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                let is_last = !error.is_of_row();
                faults.push(error);
                if is_last {
                    break;
                }
            }
        }
    }
    Ok(faults)
}
