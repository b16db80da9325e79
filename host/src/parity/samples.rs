//! Sample sizes: of how many ready pods how many are scraped.

use super::compare::{Fields, Rows};
use super::error::ReadError;
use super::text::{Record, Text};
use crate::scrape::sample_size;

/// A file of sample sizes.
#[derive(Debug)]
pub struct SampleSizes {
    pub(super) path: String,
    cases: Vec<Case>,
}

#[derive(Debug)]
struct Case {
    line: u64,
    pods: u32,
    sample: u32,
}

impl SampleSizes {
    pub(super) fn read(text: &Text) -> Result<SampleSizes, ReadError> {
        let case = |record: Result<Record<'_>, ReadError>| {
            let mut record = record?;
            let (pods, sample) = (record.required("pods")?, record.required("sample")?);
            let line = record.line();
            record.end()?;
            Ok(Case { line, pods, sample })
        };
        let cases = text.records().map(case).collect::<Result<_, _>>()?;
        Ok(SampleSizes { path: text.path().to_owned(), cases })
    }

    /// Each size by itself, with a name for it.
    pub(super) fn split(self) -> impl Iterator<Item = (String, SampleSizes)> {
        let SampleSizes { path, cases } = self;
        cases.into_iter().map(move |case| {
            (
                format!("of {} pods", case.pods),
                SampleSizes { path: path.clone(), cases: vec![case] },
            )
        })
    }

    /// Holds every size to ours.
    pub(super) fn hold(&self) -> Rows {
        let mut rows = Rows::default();
        for case in &self.cases {
            let mut fields = Fields::default();
            fields.number("sample", f64::from(sample_size(case.pods)), f64::from(case.sample));
            let at = || (self.path.clone(), case.line, format!("{} pods", case.pods));
            rows.take(fields, at);
        }
        rows
    }
}
