//! Tables of what was seen: a line of names, then a line a moment. In a file as CSV, or in the suite itself, where columns may be set
//! apart by spaces and `-` stands for no data.

use std::path::Path;

use crate::definitions::suite::Table;
use crate::time::Time;

/// A table as it was read; every row has a cell for each name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    /// Where it is, for messages.
    pub file: String,
    /// The names, `at` the first.
    pub names: Vec<String>,
    /// In order of time.
    pub rows: Vec<Row>,
}

/// A line of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Where it stands.
    pub line: u64,
    /// The moment.
    pub at: Time,
    /// What stands in it.
    pub cells: Vec<String>,
}

/// A table that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    /// The file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not as it must be.
    #[error("{file}:{line}: {what} is {found}, expected {expected}")]
    Fault {
        /// The file.
        file: String,
        /// The line.
        line: u64,
        /// Column or row.
        what: String,
        /// What stands there.
        found: String,
        /// What may.
        expected: String,
    },
}

impl Rows {
    /// Reads a table whose moments count from `start` where they are no dates. `suite` is where it stands if it is inline.
    ///
    /// # Errors
    ///
    /// When it cannot be read, rows have not as many cells as there are names, or times go back.
    pub(super) fn read(table: &Table, suite: &Path, start: Time) -> Result<Rows, TableError> {
        match table {
            Table::Inline { text, line } => {
                Rows::parse(text, &suite.display().to_string(), *line, start)
            }
            Table::File(path) => {
                let file = path.display().to_string();
                let text = std::fs::read_to_string(path)
                    .map_err(|source| TableError::Read { path: file.clone(), source })?;
                Rows::parse(&text, &file, 1, start)
            }
        }
    }

    fn parse(text: &str, file: &str, first: u64, start: Time) -> Result<Rows, TableError> {
        let fault = |line: u64, what: &str, found: String, expected: &str| TableError::Fault {
            file: file.to_owned(),
            line,
            what: what.to_owned(),
            found,
            expected: expected.to_owned(),
        };
        let mut lines = text
            .lines()
            .zip(first..)
            .map(|(line, number)| (line.split('#').next().unwrap_or_default().trim(), number))
            .filter(|(line, _)| !line.is_empty());
        let (head, head_line) = lines
            .next()
            .ok_or_else(|| fault(first, "the table", "empty".to_owned(), "a line of names"))?;
        let has_commas = head.contains(',');
        let cells = |line: &str| -> Vec<String> {
            match has_commas {
                true => line.split(',').map(|cell| cell.trim().to_owned()).collect(),
                false => line.split_whitespace().map(str::to_owned).collect(),
            }
        };
        let names = cells(head);
        if let Some(twice) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
            return Err(fault(
                head_line,
                "a column",
                format!("{} twice", twice.1),
                "each name once",
            ));
        }
        let at_column = names.iter().position(|name| name == "at").ok_or_else(|| {
            fault(head_line, "the line of names", head.to_owned(), "one with `at`, the time")
        })?;
        let mut rows: Vec<Row> = Vec::new();
        for (line, number) in lines {
            let cells = cells(line);
            if cells.len() != names.len() {
                let expected = format!("{}: {}", names.len(), names.join(", "));
                let found = format!("{} cells long", cells.len());
                return Err(fault(number, "the row", found, &expected));
            }
            let at = moment(&cells[at_column], start).ok_or_else(|| {
                let expected = "seconds, a duration (90s), a clock (h:mm or h:mm:ss) from the start, or a date with a time";
                fault(number, "at", cells[at_column].clone(), expected)
            })?;
            if let Some(last) = rows.last().filter(|last| last.at > at) {
                let expected =
                    format!("no earlier than the row before it, {}", last.cells[at_column]);
                return Err(fault(number, "at", cells[at_column].clone(), &expected));
            }
            rows.push(Row { line: number, at, cells });
        }
        if rows.is_empty() {
            return Err(fault(
                head_line,
                "the table",
                "a line of names only".to_owned(),
                "at least one row",
            ));
        }
        Ok(Rows { file: file.to_owned(), names, rows })
    }

    /// The position of a column.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// A fault in one of its rows.
    pub(super) fn fault(
        &self,
        row: &Row,
        what: &str,
        found: &str,
        expected: impl Into<String>,
    ) -> TableError {
        TableError::Fault {
            file: self.file.clone(),
            line: row.line,
            what: what.to_owned(),
            found: found.to_owned(),
            expected: expected.into(),
        }
    }

    /// A number of a row; NaN where there is none.
    ///
    /// # Errors
    ///
    /// When something else stands there.
    pub(super) fn number(&self, row: &Row, column: usize) -> Result<f64, TableError> {
        match row.cells[column].as_str() {
            "" | "-" | "–" | "NaN" | "nan" => Ok(f64::NAN),
            "true" | "yes" => Ok(1.0),
            "false" | "no" => Ok(0.0),
            text => match text.parse::<f64>() {
                // A zero has no sign: no policy is to tell two apart.
                Ok(number) if number.is_finite() => Ok(number + 0.0),
                Ok(_) | Err(_) => {
                    Err(self.fault(row, &self.names[column], text, "a number, or - for no data"))
                }
            },
        }
    }

    /// A count of a row; `None` where there is none.
    ///
    /// # Errors
    ///
    /// When something else stands there.
    pub(super) fn count(&self, row: &Row, column: usize) -> Result<Option<u32>, TableError> {
        let number = self.number(row, column)?;
        if number.is_nan() {
            return Ok(None);
        }
        if number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number) {
            return Ok(Some(number as u32));
        }
        Err(self.fault(row, &self.names[column], &row.cells[column], "a whole number"))
    }
}

fn moment(text: &str, start: Time) -> Option<Time> {
    let from_start = |seconds: f64| {
        (0.0..4e9).contains(&seconds).then(|| start + (seconds * 1e3).round() as u64)
    };
    if let Ok(seconds) = text.parse::<f64>() {
        return from_start(seconds);
    }
    if let Some(nanos) = tidegate_settings::parse_duration(text) {
        return from_start(nanos as f64 / 1e9);
    }
    let parts: Option<Vec<u32>> = text.split(':').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some([hours, minutes @ 0..60]) => {
            return from_start(f64::from(*hours) * 3_600.0 + f64::from(*minutes) * 60.0);
        }
        Some([hours, minutes @ 0..60, seconds @ 0..60]) => {
            let minutes = f64::from(*hours) * 60.0 + f64::from(*minutes);
            return from_start(minutes * 60.0 + f64::from(*seconds));
        }
        Some(_) | None => {}
    }
    Time::of_calendar(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Rows, TableError> {
        Rows::parse(text, "suite.yaml", 7, Time(1_000_000))
    }

    #[test]
    fn tables_are_read_with_commas_or_spaces_and_times_in_every_form() {
        let rows = read("at    proposal  # why\n\n0     1\n90s   -\n0:02  3\n0:02:01 4\n2024-01-01T00:00:00Z 5\n")
            .expect("it is in order");
        let found: Vec<_> = rows
            .rows
            .iter()
            .map(|row| (row.line, row.at.0, rows.number(row, 1).expect("a number").to_string()))
            .collect();
        let expected = [
            (9, 1_000_000, "1"),
            (10, 1_090_000, "NaN"),
            (11, 1_120_000, "3"),
            (12, 1_121_000, "4"),
            (13, 1_704_067_200_000, "5"),
        ];
        assert_eq!(found, expected.map(|(line, at, text)| (line, at, text.to_owned())));
        let rows = read("service, at, ready\na b, 1, \n").expect("it is in order");
        assert_eq!(rows.rows[0].cells, ["a b", "1", ""]);
        assert_eq!(rows.count(&rows.rows[0], 2).expect("none"), None);
    }

    #[test]
    fn faults_name_the_line_of_the_file_that_they_stand_in() {
        for (text, expected) in [
            ("\n", "suite.yaml:7: the table is empty, expected a line of names"),
            (
                "a b\n1 2\n",
                "suite.yaml:7: the line of names is a b, expected one with `at`, the time",
            ),
            ("at b b\n1 2 3\n", "suite.yaml:7: a column is b twice, expected each name once"),
            ("at b\n1\n", "suite.yaml:8: the row is 1 cells long, expected 2: at, b"),
            (
                "at b\n",
                "suite.yaml:7: the table is a line of names only, expected at least one row",
            ),
            (
                "at\nnoon\n",
                "suite.yaml:8: at is noon, expected seconds, a duration (90s), a clock (h:mm or h:mm:ss) from the start, or a date with a time",
            ),
            (
                "at\n0:61\n",
                "suite.yaml:8: at is 0:61, expected seconds, a duration (90s), a clock (h:mm or h:mm:ss) from the start, or a date with a time",
            ),
            ("at\n2\n1\n", "suite.yaml:9: at is 1, expected no earlier than the row before it, 2"),
        ] {
            assert_eq!(read(text).expect_err(text).to_string(), expected, "{text:?}");
        }
        let rows = read("at ready\n1 1.5\n").expect("it is in order");
        assert_eq!(
            rows.count(&rows.rows[0], 1).expect_err("half a replica").to_string(),
            "suite.yaml:8: ready is 1.5, expected a whole number"
        );
    }
}
