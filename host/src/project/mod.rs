//! A policy as a project of its own: what `tidegate new` writes, and how `tidegate build` makes a component of it. Everything that a
//! project needs of this repository is part of the program, so it works without network and outside any checkout.

pub mod build;
mod c;
mod guest;
mod vendor;

use std::path::{Path, PathBuf};

pub(crate) use vendor::WIT;

/// What a project begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// The first stage of a chain, by itself.
    Scale,
    /// A stage behind others.
    Stage,
    /// A choice of nodes.
    Placement,
    /// A stage that knows what usually comes.
    Forecast,
}

impl Template {
    /// All of them, in the order in which they are told.
    pub const ALL: [Template; 4] =
        [Template::Scale, Template::Stage, Template::Placement, Template::Forecast];

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Template::Scale => "scale",
            Template::Stage => "stage",
            Template::Placement => "placement",
            Template::Forecast => "forecast",
        }
    }

    /// What it does, for a list of them; no full stop.
    pub fn purpose(self) -> &'static str {
        match self {
            Template::Scale => "Scales by concurrency, alone in front of scale-to-zero",
            Template::Stage => "Keeps spare replicas on top of what the stages before it want",
            Template::Placement => "Places replicas on the cheapest node that will do",
            Template::Forecast => "Starts replicas before the load that usually comes at this time",
        }
    }

    /// Its source and its tests.
    fn sources(self) -> [&'static str; 2] {
        match self {
            Template::Scale => [
                include_str!("../../../policies/templates/scale/src/lib.rs"),
                include_str!("../../../policies/templates/scale/src/tests.rs"),
            ],
            Template::Stage => [
                include_str!("../../../policies/templates/stage/src/lib.rs"),
                include_str!("../../../policies/templates/stage/src/tests.rs"),
            ],
            Template::Placement => [
                include_str!("../../../policies/templates/placement/src/lib.rs"),
                include_str!("../../../policies/templates/placement/src/tests.rs"),
            ],
            Template::Forecast => [
                include_str!("../../../policies/templates/forecast/src/lib.rs"),
                include_str!("../../../policies/templates/forecast/src/tests.rs"),
            ],
        }
    }

    /// Its chain, with `{file}` for the component.
    fn policies(self) -> &'static str {
        match self {
            Template::Scale => include_str!("../../../policies/templates/scale/policies.yaml"),
            Template::Stage => include_str!("../../../policies/templates/stage/policies.yaml"),
            Template::Placement => {
                include_str!("../../../policies/templates/placement/policies.yaml")
            }
            Template::Forecast => {
                include_str!("../../../policies/templates/forecast/policies.yaml")
            }
        }
    }

    /// Its suite, and the name and text of that one's snapshot.
    fn suite(self) -> [&'static str; 3] {
        match self {
            Template::Scale => [
                include_str!("../../../policies/templates/scale/suite.yaml"),
                "a-burst",
                include_str!("../../../policies/templates/scale/snapshots/a-burst.snap"),
            ],
            Template::Stage => [
                include_str!("../../../policies/templates/stage/suite.yaml"),
                "a-burst",
                include_str!("../../../policies/templates/stage/snapshots/a-burst.snap"),
            ],
            Template::Placement => [
                include_str!("../../../policies/templates/placement/suite.yaml"),
                "a-burst",
                include_str!("../../../policies/templates/placement/snapshots/a-burst.snap"),
            ],
            Template::Forecast => [
                include_str!("../../../policies/templates/forecast/suite.yaml"),
                "three-days",
                include_str!("../../../policies/templates/forecast/snapshots/three-days.snap"),
            ],
        }
    }

    /// Some load that shows what it does.
    fn load(self) -> &'static str {
        match self {
            Template::Scale | Template::Stage | Template::Placement => {
                include_str!("../../../policies/templates/burst.csv")
            }
            Template::Forecast => include_str!("../../../policies/templates/forecast/load.csv"),
        }
    }
}

/// A project that is not begun.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// The name will not do.
    #[error("`{name}` is no name for a policy: {why}")]
    Name {
        /// What was given.
        name: String,
        /// What a name is.
        why: &'static str,
    },
    /// Something is there.
    #[error("{path} is there already and not an empty folder")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A file or folder could not be written.
    #[error("cannot write {path}")]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The longest name of a project: a Kubernetes label.
const LONGEST_NAME: usize = 63;

/// The project that would be begun at `folder`: paths below it, and contents. It is called like the folder.
///
/// # Errors
///
/// When that is no name for a policy.
pub fn files(folder: &Path, template: Template) -> Result<Vec<(String, String)>, NewError> {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_else(|| folder.display().to_string());
    check_name(&name)?;
    let of = |table, key| vendor::of_workspace(table, key).expect("the workspace sets it");
    let rust_version = of("workspace.package", "rust-version");
    let fill = |text: &str| {
        text.replace("{name}", &name)
            .replace("{file}", &component_file(&name))
            .replace("{purpose}", template.purpose())
            .replace("{version}", env!("CARGO_PKG_VERSION"))
            .replace("{rust}", rust_version.trim_matches('"'))
            .replace("{edition}", of("workspace.package", "edition"))
            .replace("{rust-version}", rust_version)
            .replace("{serde}", of("workspace.dependencies", "serde"))
    };
    let [source, tests] = template.sources();
    let [suite, case, snapshot] = template.suite();
    // Only names: its crate is called that in this repository.
    let named = |text: &str| text.replace(&format!("template-{}", template.name()), &name);
    let own = [
        ("Cargo.toml", fill(include_str!("files/Cargo.toml.txt"))),
        ("Cargo.lock", vendor::lock(&name)),
        (".cargo/config.toml", fill(include_str!("files/config.toml.txt"))),
        (".gitignore", "/target\n*.wasm\n*.snap.new\n".to_owned()),
        ("README.md", fill(include_str!("files/README.md.txt"))),
        ("policies.yaml", fill(template.policies())),
        ("services.yaml", include_str!("../../../policies/templates/services.yaml").to_owned()),
        ("load.csv", template.load().to_owned()),
        ("suite.yaml", suite.to_owned()),
        ("src/lib.rs", named(source)),
        ("src/tests.rs", named(tests)),
    ];
    let own = own.into_iter().map(|(path, text)| (path.to_owned(), text));
    // Its reasons are those of the tests: nothing in it has the policy's name.
    let snapshot = (format!("snapshots/{case}.snap"), snapshot.to_owned());
    Ok(own.chain([snapshot]).chain(vendor::files()).collect())
}

/// Begins a project at `folder`, which must be empty or not there at all.
///
/// # Errors
///
/// When it is not, when its name will not do, or when something cannot be written.
pub fn begin(folder: &Path, template: Template) -> Result<(), NewError> {
    let files = files(folder, template)?;
    let write = |path: &Path, source| NewError::Write { path: path.to_owned(), source };
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            if entries.count() > 0 {
                return Err(NewError::NotEmpty { path: folder.to_owned() });
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(NewError::NotEmpty { path: folder.to_owned() });
        }
        Err(error) => return Err(write(folder, error)),
    }
    for (path, text) in files {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|error| write(parent, error))?;
        std::fs::write(&path, text).map_err(|error| write(&path, error))?;
    }
    Ok(())
}

/// The component that cargo makes of a package.
pub fn component_file(package: &str) -> String {
    format!("{}.wasm", package.replace('-', "_"))
}

fn check_name(name: &str) -> Result<(), NewError> {
    let why = if name.is_empty() || name.len() > LONGEST_NAME {
        "expected 1 to 63 letters"
    } else if !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        || !name.starts_with(|first: char| first.is_ascii_lowercase())
        || name.ends_with('-')
    {
        "expected lower-case letters, digits and `-`, a letter first, as in `night-shift`"
    } else if RESERVED.contains(&name) {
        "Rust means something else by it"
    } else if vendor::is_locked(name) {
        "a package that policies are built from has it"
    } else {
        return Ok(());
    };
    Err(NewError::Name { name: name.to_owned(), why })
}

/// What cargo or Rust would not take, or would take for something else, among names of lower-case letters.
const RESERVED: [&str; 46] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_cargo_kubernetes_and_file_systems_take() {
        for good in ["surge", "night-shift", "p99", "a"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in
            ["", "Surge", "9lives", "-a", "a-", "a_b", "a b", "über", "match", "core", "serde"]
        {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name(&"a".repeat(64)).is_err());
    }

    #[test]
    fn nothing_is_left_to_fill_in_and_nothing_names_the_template() {
        for template in Template::ALL {
            for (path, text) in files(Path::new("some/surge"), template).expect("a good name") {
                if path.starts_with("vendor") {
                    continue;
                }
                assert!(!text.contains("template-"), "{path}");
                for left in ["{name}", "{file}", "{purpose}", "{version}", "{rust", "{serde}"] {
                    assert!(!text.contains(left), "{path}: {left}");
                }
            }
        }
    }
}
