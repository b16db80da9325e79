//! By what a request finds its service: host, path, and the model that it names.

use super::field::{At, Notes};

/// What leads to a service. What is absent excludes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The host, in lower case and without a port.
    pub host: Option<String>,
    /// What the path begins with: `/` and at least one part, without a slash at its end.
    pub path_prefix: Option<String>,
    /// What the field `model` of a request may be; the service's name where nobody says.
    pub model_names: Vec<String>,
}

const HOST: &str = "a host without a port, as chat.example.com";
const PREFIX: &str = "a path of plain parts, as /chat";
const MODELS: &str = "names of models, none of them empty";

/// A host. Notes what is wrong with it.
pub(super) fn host(at: &At<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let text = at.scalar(notes)?.to_ascii_lowercase();
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_host = text.len() <= 253 && text.split('.').all(is_label);
    if !is_host {
        at.refuse(notes, HOST);
    }
    is_host.then_some(text)
}

/// A prefix of paths. Notes what is wrong with it.
pub(super) fn path_prefix(at: &At<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let text = at.scalar(notes)?;
    let trimmed = text.strip_suffix('/').unwrap_or(text);
    let is_part = |part: &str| {
        !["", ".", ".."].contains(&part)
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&b))
    };
    let is_prefix = trimmed.strip_prefix('/').is_some_and(|parts| parts.split('/').all(is_part));
    if !is_prefix {
        at.refuse(notes, PREFIX);
    }
    is_prefix.then(|| trimmed.to_owned())
}

/// Names of models: a list, or a text with commas. Notes what is wrong with them.
pub(super) fn model_names(at: &At<'_>, notes: &mut Notes<'_>) -> Vec<String> {
    let names: Vec<String> = if at.is_list() {
        let items = at.items(notes);
        items.iter().filter_map(|at| at.scalar(notes)).map(str::to_owned).collect()
    } else {
        let text = at.scalar(notes).unwrap_or_default();
        text.split(',').map(|name| name.trim().to_owned()).collect()
    };
    if names.is_empty() || names.iter().any(String::is_empty) {
        at.refuse(notes, MODELS);
    }
    names
}
