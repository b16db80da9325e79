//! What people name as a side of a comparison, or as what a hunt tries: a profile, a policies file, components, or several of these
//! with commas between them. What a file is, its content says.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::check::{Kind, Source, kind_of};
use crate::definitions::policies::{PoliciesDefinition, PolicyRef};
use crate::engine::PLACEMENT;
use crate::policy::{Limits, builtin, load};

/// How much of a file is read to see what it is. Bytes.
const BEGINNING: u64 = 1 << 20;

/// What a name stands for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamedSide {
    /// A profile, by its name or its file.
    pub profile: Option<String>,
    /// A policies file.
    pub policies: Option<PathBuf>,
    /// Components, each to be put in the place of a stage.
    pub components: Vec<PolicyRef>,
}

/// A name that stands for nothing.
#[derive(Debug, thiserror::Error)]
pub enum SideError {
    /// Two of what there can be one of.
    #[error("{name} names {what} twice")]
    Twice {
        /// The name.
        name: String,
        /// Of what, as `a profile`.
        what: &'static str,
    },
    /// No such policy is built in.
    #[error("no policy {name} is built in")]
    NotBuiltIn {
        /// Its name.
        name: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A stage that the chain does not have.
    #[error("there is no stage {stage}")]
    NoStage {
        /// Its name.
        stage: String,
        /// Those that there are.
        known: Vec<String>,
    },
}

impl SideError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            SideError::Twice { .. } => Some(
                "a profile, a policies file and components may stand beside each other, the first two once each".to_owned(),
            ),
            SideError::NotBuiltIn { name } => {
                Some(match tidegate_settings::nearest(name, builtin::names()) {
                    Some(nearest) => format!("did you mean builtin:{nearest}?"),
                    None => {
                        let known: Vec<&str> = builtin::names().collect();
                        format!("there are {}", known.join(", "))
                    }
                })
            }
            SideError::Read { .. } => None,
            SideError::NoStage { known, .. } => {
                Some(format!("there are {} and {PLACEMENT}", known.join(", ")))
            }
        }
    }
}

impl NamedSide {
    /// What `name` stands for.
    ///
    /// # Errors
    ///
    /// When a part of it is neither, or there are two of what there can be one of.
    pub fn of(name: &str) -> Result<NamedSide, SideError> {
        let mut named = NamedSide::default();
        let twice = |what| SideError::Twice { name: name.to_owned(), what };
        for part in name.split(',').map(str::trim) {
            match kind(part)? {
                Part::Profile if named.profile.is_some() => return Err(twice("a profile")),
                Part::Policies if named.policies.is_some() => {
                    return Err(twice("a policies file"));
                }
                Part::Profile => named.profile = Some(part.to_owned()),
                Part::Policies => named.policies = Some(PathBuf::from(part)),
                Part::Component(policy) => named.components.push(policy),
            }
        }
        Ok(named)
    }
}

/// What a part of a name stands for.
enum Part {
    Profile,
    Policies,
    Component(PolicyRef),
}

/// What `part` of a name stands for, by its content.
fn kind(part: &str) -> Result<Part, SideError> {
    if let Some(name) = part.strip_prefix("builtin:") {
        if !builtin::names().any(|known| known == name) {
            return Err(SideError::NotBuiltIn { name: name.to_owned() });
        }
        return Ok(Part::Component(PolicyRef::Builtin(name.to_owned())));
    }
    let path = Path::new(part);
    if tidegate_settings::profile(part).is_some() || !path.exists() {
        // Where there is neither, who reads profiles says so, with the nearest name.
        return Ok(Part::Profile);
    }
    let mut bytes = Vec::new();
    std::fs::File::open(part)
        .and_then(|file| file.take(BEGINNING).read_to_end(&mut bytes))
        .map_err(|source| SideError::Read { path: part.to_owned(), source })?;
    let is_whole = (bytes.len() as u64) < BEGINNING;
    let source = Source { name: part.to_owned(), path: Some(path.to_owned()), bytes, is_whole };
    Ok(match kind_of(&source) {
        Ok(Kind::Component) => Part::Component(PolicyRef::File(path.to_owned())),
        Ok(Kind::Policies) => Part::Policies,
        // Who reads profiles says what is wrong with anything else.
        Ok(
            Kind::Profile
            | Kind::Services
            | Kind::Nodes
            | Kind::Models
            | Kind::Trace
            | Kind::Faults
            | Kind::Settings
            | Kind::Suite,
        )
        | Err(_) => Part::Profile,
    })
}

/// Puts a component in the place of a stage, whose name and settings stay.
///
/// # Errors
///
/// When the chain has no such stage.
pub fn put_in_place(
    chain: &mut PoliciesDefinition,
    policy: PolicyRef,
    stage: Option<&str>,
) -> Result<(), SideError> {
    if stage == Some(PLACEMENT) {
        chain.placement = policy;
        return Ok(());
    }
    let own = match &policy {
        PolicyRef::Builtin(name) => name.clone(),
        PolicyRef::File(path) => {
            path.file_stem().unwrap_or_default().to_string_lossy().replace('_', "-")
        }
    };
    let named = |name: &str| chain.scaling.iter().position(|stage| stage.name == name);
    let at = match stage {
        None if !scales(&policy, &chain.limits.all) => {
            chain.placement = policy;
            return Ok(());
        }
        None => named(&own).unwrap_or(0),
        Some(name) => named(name).ok_or_else(|| SideError::NoStage {
            stage: name.to_owned(),
            known: chain.scaling.iter().map(|stage| stage.name.clone()).collect(),
        })?,
    };
    chain.scaling[at].policy = policy;
    Ok(())
}

/// Whether a component scales. Of one that cannot be used, loading says why.
fn scales(policy: &PolicyRef, limits: &Limits) -> bool {
    let check = |bytes: &[u8]| load::scales(bytes, limits).unwrap_or(true);
    match policy {
        PolicyRef::Builtin(name) => builtin::builtin(name).is_none_or(check),
        PolicyRef::File(path) => load::read(path, limits).map_or(true, |bytes| check(&bytes)),
    }
}
