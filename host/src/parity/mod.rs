//! Holds Tidegate to what Knative's own code decided: recordings are read, played through the production path, and compared number
//! by number. It opens the files that it is told to and nothing else. `docs/parity.md` has the formats.

mod chain;
mod compare;
mod decisions;
mod end_to_end;
mod error;
mod found;
mod golden;
mod numbers;
mod play;
mod pods;
mod requests;
mod samples;
mod scenario;
mod settings;
mod text;
mod unique;

#[cfg(test)]
mod tests;

use serde::Serialize;

pub use chain::{HeldChain, Link, Make, make};
pub use compare::{FieldDifference, RowDifference};
pub use error::{PlayError, ReadError};
pub use found::read;
pub use golden::Golden;
pub use requests::RequestCases;
pub use samples::SampleSizes;
pub use scenario::{Mode, Scenario};
pub use settings::SettingsCases;

use compare::Rows;

/// A recording, read and in order.
#[derive(Debug)]
pub enum Recording {
    /// A load, and every decision about it.
    Scenario(Box<Scenario>, Box<Golden>),
    /// Settings, and what they come to.
    Settings(SettingsCases),
    /// Requests, and what was counted of them.
    Requests(RequestCases),
    /// Ready pods, and how many of them are scraped.
    Samples(SampleSizes),
}

/// What a recording is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A load, and every decision about it; pods as the scenario says.
    Open,
    /// The same; pods as decided.
    Closed,
    /// The same; with scale to zero.
    #[serde(rename = "e2e")]
    EndToEnd,
    /// Settings, and what they come to.
    Settings,
    /// Requests, and what was counted of them.
    RequestStats,
    /// Ready pods, and how many of them are scraped.
    SampleSizes,
}

impl Kind {
    /// The word for it in results.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Open => "open",
            Kind::Closed => "closed",
            Kind::EndToEnd => "e2e",
            Kind::Settings => "settings",
            Kind::RequestStats => "request-stats",
            Kind::SampleSizes => "sample-sizes",
        }
    }
}

/// What came of holding a recording to ours.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// What it is about.
    pub kind: Kind,
    /// The name in a scenario's header; the name of the file of other kinds.
    pub name: String,
    /// Its files, as they were named.
    pub files: Vec<String>,
    /// Rows that were compared; cases, where it has cases.
    pub rows: u64,
    /// Rows of them that differ. A scenario can also differ in its header, or between two rows, and then this counts that too.
    pub differing: u64,
    /// The first that does.
    pub first: Option<RowDifference>,
}

impl Recording {
    /// What it is about.
    pub fn kind(&self) -> Kind {
        match self {
            Recording::Scenario(scenario, _) => match scenario.mode {
                Mode::Open => Kind::Open,
                Mode::Closed => Kind::Closed,
                Mode::EndToEnd => Kind::EndToEnd,
            },
            Recording::Settings(_) => Kind::Settings,
            Recording::Requests(_) => Kind::RequestStats,
            Recording::Samples(_) => Kind::SampleSizes,
        }
    }

    /// The name in a scenario's header; the name of the file of other kinds.
    pub fn name(&self) -> &str {
        match self {
            Recording::Scenario(scenario, _) => &scenario.name,
            Recording::Settings(SettingsCases { path, .. })
            | Recording::Requests(RequestCases { path, .. })
            | Recording::Samples(SampleSizes { path, .. }) => {
                path.rsplit('/').next().unwrap_or(path)
            }
        }
    }

    /// Its files, as they were named.
    pub fn files(&self) -> Vec<String> {
        match self {
            Recording::Scenario(scenario, golden) => {
                vec![scenario.path.clone(), golden.path.clone()]
            }
            Recording::Settings(SettingsCases { path, .. })
            | Recording::Requests(RequestCases { path, .. })
            | Recording::Samples(SampleSizes { path, .. }) => vec![path.clone()],
        }
    }

    /// Its cases, each a recording of its own with a name; a scenario is a case itself.
    pub fn split(self) -> Vec<(String, Recording)> {
        match self {
            Recording::Scenario(scenario, golden) => {
                vec![(scenario.name.clone(), Recording::Scenario(scenario, golden))]
            }
            Recording::Settings(cases) => {
                cases.split().map(|(name, one)| (name, Recording::Settings(one))).collect()
            }
            Recording::Requests(cases) => {
                cases.split().map(|(name, one)| (name, Recording::Requests(one))).collect()
            }
            Recording::Samples(cases) => {
                cases.split().map(|(name, one)| (name, Recording::Samples(one))).collect()
            }
        }
    }

    /// Plays it, scenarios through `chain`, and holds every answer to the recorded one. A difference is a result, not an error.
    ///
    /// # Errors
    ///
    /// When a policy of the chain does not take the settings, gives no decision, or lacks an output that is compared.
    pub fn hold(&self, chain: &HeldChain) -> Result<Held, PlayError> {
        let Rows { compared, differing, first } = match self {
            Recording::Scenario(scenario, golden) => play::play(scenario, golden, chain)?,
            Recording::Settings(cases) => cases.hold(),
            Recording::Requests(cases) => cases.hold(),
            Recording::Samples(cases) => cases.hold(),
        };
        Ok(Held {
            kind: self.kind(),
            name: self.name().to_owned(),
            files: self.files(),
            rows: compared,
            differing,
            first,
        })
    }
}
