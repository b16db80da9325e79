//! Azure Functions, 2019: a row for each function of a day, with a count for each of its 1,440 minutes.

use std::path::Path;

use super::table::split;
use super::{ConvertError, Options, shown};
use crate::trace::lines::{Content, Lines};
use crate::trace::write::Table;

const APP: &str = "HashApp";

/// Adds the counts of a file, by application or by the column that is asked for. Gives the number of rows.
pub(super) fn read(
    path: &Path,
    content: Content,
    options: &Options,
    table: &mut Table,
) -> Result<u64, ConvertError> {
    let shown = shown(path);
    let mut lines = Lines::over(content, &shown.as_str().into());
    let Some((_, header)) = lines.next()? else {
        return Err(ConvertError::Nothing { path: shown });
    };
    let header = String::from_utf8_lossy(header).into_owned();
    let names = split(&header);
    let named = options.fields.service.as_ref().map_or(APP, |field| &field.path);
    let Some(service_at) = names.iter().position(|name| name == named) else {
        let hint = "expected the column whose values are services".to_owned();
        return Err(ConvertError::MissingColumn { path: shown, missing: named.to_owned(), hint });
    };
    let minutes: Vec<Option<usize>> = names
        .iter()
        .map(|name| name.parse::<usize>().ok().and_then(|minute| minute.checked_sub(1)))
        .collect();
    let mut rows = 0;
    while let Some((line, text)) = lines.next()? {
        let text = String::from_utf8_lossy(text);
        let fields = split(&text);
        let wrong = |expected, found: &str| ConvertError::Line {
            path: shown.clone(),
            line,
            expected,
            found: crate::trace::fields::quoted(found.as_bytes()),
        };
        if fields.len() != names.len() {
            return Err(wrong("as many fields as the first line has", &text));
        }
        rows += 1;
        let service = options.service.as_deref().unwrap_or(&fields[service_at]);
        for (minute, field) in minutes.iter().zip(&fields) {
            let Some(minute) = *minute else { continue };
            let count: u32 = field.trim().parse().map_err(|_| wrong("a count", field))?;
            if count > 0 {
                table.add(service, minute, f64::from(count));
            }
        }
    }
    Ok(rows)
}
