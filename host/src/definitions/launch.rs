//! The process that is a replica of a service: what runs, with which environment, on which port, and how one sees that it serves.
//! It knows nothing of files (`launches` reads them) and nothing of how processes are started.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What to run for a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program and its arguments, as written; never empty. `$(NAME)` stands for a variable, as in Kubernetes.
    pub command: Vec<String>,
    /// Variables, in the order in which they are written; a value may refer to earlier ones.
    pub env: Vec<(String, String)>,
    /// Where it runs; `None`: where the host does.
    pub folder: Option<PathBuf>,
    /// Where it listens.
    pub port: Port,
    /// Asked until it answers well once, before the others are asked.
    pub startup: Option<Probe>,
    /// What says that it takes requests.
    pub ready: Probe,
    /// What says that it still works; one that does not is ended.
    pub alive: Option<Probe>,
    /// How long it may take to end after it was asked to. Milliseconds.
    pub grace_ms: u64,
}

/// Where a replica listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Where the host says: in the variable `PORT`.
    Given,
    /// Where it insists on; so only one of them can run on a machine.
    Fixed(u16),
}

/// How a replica is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub way: Way,
    /// Another port than the one that it serves on.
    pub port: Option<u16>,
    /// How long after its start it is asked first. Milliseconds.
    pub initial_delay_ms: u64,
    /// How long from one time to the next. Milliseconds; `None`: nobody said, so while it starts it is asked often.
    pub period_ms: Option<u64>,
    /// How long an answer may take. Milliseconds.
    pub timeout_ms: u64,
    /// How many times in a row it may fail. At least 1.
    pub failures: u32,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A GET whose status must be at least 200 and below 400.
    Http {
        /// The path, from `/`.
        path: String,
        /// Further headers.
        headers: Vec<(String, String)>,
    },
    /// A connection that is accepted.
    Tcp,
}

/// How long a process may take to end where nobody says: Kubernetes' default.
pub const GRACE_MS: u64 = 30_000;
/// How long from one time to the next where nobody says: Kubernetes' default.
pub const PERIOD_MS: u64 = 10_000;

impl Default for Probe {
    /// A connection on the port of the service, with Kubernetes' patience.
    fn default() -> Probe {
        let (initial_delay_ms, timeout_ms, failures) = (0, 1_000, 3);
        Probe { way: Way::Tcp, port: None, initial_delay_ms, period_ms: None, timeout_ms, failures }
    }
}

/// A command line and variables in which nothing is left to replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The program, as a path or a name to look for.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables beside those that every process inherits.
    pub env: BTreeMap<String, String>,
}

impl Launch {
    /// The command line for a replica to which the host gives these variables. They win over those of the file.
    pub fn command_line(&self, given: &[(String, String)]) -> CommandLine {
        let mut env: BTreeMap<String, String> = given.iter().cloned().collect();
        for (name, value) in &self.env {
            let value = expand(value, |name| env.get(name).map(String::as_str));
            env.insert(name.clone(), value);
        }
        env.extend(given.iter().cloned());
        let mut words =
            self.command.iter().map(|word| expand(word, |name| env.get(name).map(String::as_str)));
        let program = words.next().unwrap_or_default();
        let args = words.collect();
        CommandLine { program, args, env }
    }
}

/// `text` with `$(NAME)` replaced by what `value_of` knows, by Kubernetes' rules: what is not known stays as it is, and `$$(NAME)` is
/// `$(NAME)`.
///
/// ```
/// # use tidegate::definitions::launch::expand;
/// let value_of = |name: &str| (name == "PORT").then_some("8000");
/// assert_eq!(expand("--port=$(PORT) $(HOST) $$(PORT) $PORT", value_of), "--port=8000 $(HOST) $(PORT) $PORT");
/// ```
pub fn expand<'v>(text: &str, value_of: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) =
            rest.strip_prefix("$(").and_then(|inner| inner.split_once(')'))
        {
            match value_of(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.push_str(&rest[..rest.len() - after.len()]),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = &rest[1..];
        }
    }
    expanded + rest
}

/// The names that `text` refers to as `$(NAME)`.
pub(super) fn references(text: &str) -> Vec<String> {
    let names = std::cell::RefCell::new(Vec::new());
    expand(text, |name| {
        names.borrow_mut().push(name.to_owned());
        None
    });
    names.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_as_kubernetes_does() {
        let value_of = |name: &str| match name {
            "A" => Some("1"),
            "EMPTY" => Some(""),
            "NESTED" => Some("$(A)"),
            _ => None,
        };
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "1"),
            ("x$(A)y$(A)z", "x1y1z"),
            ("$(EMPTY)", ""),
            ("$(NESTED)", "$(A)"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$(A", "$(A"),
            ("$A ${A} $", "$A ${A} $"),
            ("$((A))", "$((A))"),
            ("ä$(A)ö", "ä1ö"),
        ] {
            assert_eq!(expand(text, value_of), expected, "{text}");
        }
    }

    #[test]
    fn a_value_sees_only_earlier_ones_and_what_the_host_gives_wins() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let launch = Launch {
            command: ["serve", "$(URL)", "$(LATER)"].map(str::to_owned).to_vec(),
            env: vec![
                pair("EARLY", "$(LATER)"),
                pair("LATER", "2"),
                pair("URL", "http://localhost:$(PORT)/$(LATER)"),
                pair("GPU", "mine"),
            ],
            folder: None,
            port: Port::Given,
            startup: None,
            ready: Probe::default(),
            alive: None,
            grace_ms: GRACE_MS,
        };
        let line = launch.command_line(&[pair("PORT", "8000"), pair("GPU", "0")]);
        assert_eq!(
            (line.program.as_str(), line.args.join(" ")),
            ("serve", "http://localhost:8000/2 2".into())
        );
        assert_eq!((line.env["EARLY"].as_str(), line.env["GPU"].as_str()), ("$(LATER)", "0"));
    }
}
