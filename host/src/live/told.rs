//! What a live run tells whoever watches its diagnostics.

use serde::Serialize;

use crate::time::Time;

/// How much a person should care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// It went as planned.
    Info,
    /// Somebody may want to look.
    Warning,
    /// Something does not work.
    Error,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// When. Unix milliseconds.
    pub at: Time,
    /// How much it matters.
    pub weight: Weight,
    /// The service that it is about; empty: all of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// What happened.
    pub text: String,
}

/// Who is told. Called from the control loop: it must not wait.
pub type Listener = Box<dyn FnMut(Told) + Send>;
