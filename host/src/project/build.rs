//! Making a component of a project: cargo with the right target, linker and flags, and what is missing named before cargo stumbles
//! over it. What is in C is left to `c.rs`.

use std::ffi::OsString;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::c;
use super::guest::{self, LINKER, TARGET};
use crate::definitions::policies::{PoliciesDefinition, PolicyRef};
use crate::policy::wrap::WrapError;

/// The programs that build, and where they leave what they build.
#[derive(Clone, Debug)]
pub struct Tools {
    /// `cargo`, or a path of it.
    pub cargo: OsString,
    /// `rustc`, or a path of it: the one that cargo calls.
    pub rustc: OsString,
    /// `clang`, or a path of it, for policies in C.
    pub clang: OsString,
    /// Cargo's target folder, where it is not the project's own.
    pub target: Option<PathBuf>,
    /// Say nothing but warnings and errors.
    pub is_quiet: bool,
}

/// A project that does not become a component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder is no project.
    #[error("{folder} has neither Cargo.toml nor a C file")]
    NoProject {
        /// The folder.
        folder: PathBuf,
    },
    /// A tool is not there.
    #[error("cannot run {tool}")]
    NoTool {
        /// Its name.
        tool: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Rust cannot build for the target of policies.
    #[error("this Rust has no std for {TARGET}, which policies are built for")]
    NoStd {
        /// The toolchain's folder.
        sysroot: PathBuf,
    },
    /// It has two, and takes neither.
    #[error("this Rust has {count} stds for {TARGET}, and builds with neither")]
    SeveralStds {
        /// How many.
        count: usize,
        /// The toolchain's folder.
        sysroot: PathBuf,
    },
    /// The linker does not come with this Rust.
    #[error("this Rust has no {LINKER}, which makes a module a component")]
    NoLinker,
    /// Cargo has said what is wrong.
    #[error("cargo could not build it: see above")]
    Cargo,
    /// The package is no library that leaves a component.
    #[error("cargo left no component: {manifest} builds no `cdylib`")]
    NoComponent {
        /// The manifest.
        manifest: PathBuf,
    },
    /// The folder has more than one policy.
    #[error("cargo left {} components: {}", packages.len(), packages.join(", "))]
    Several {
        /// Their packages.
        packages: Vec<String>,
    },
    /// A policy in C is one file.
    #[error("there are {} C files: {}", files.len(), files.join(", "))]
    SeveralSources {
        /// Their names.
        files: Vec<String>,
    },
    /// What builds C is not there.
    #[error("cannot run {tool}")]
    NoCTool {
        /// Its name.
        tool: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// This clang cannot build for Wasm.
    #[error("{tool} does not build for wasm32")]
    NoWasmTarget {
        /// Its name.
        tool: String,
    },
    /// Clang has said what is wrong.
    #[error("clang could not build it: see above")]
    Clang,
    /// What clang left does not become a component.
    #[error("cannot make a component of the module")]
    Wrap {
        /// Why.
        source: WrapError,
    },
    /// What was left cannot be read, or what is needed cannot be written.
    #[error("cannot use {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl BuildError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            BuildError::NoProject { .. } => {
                "name the folder of a project, as `tidegate new` makes one".to_owned()
            }
            BuildError::SeveralSources { .. } => {
                "name a folder with one of them; include the others as headers".to_owned()
            }
            BuildError::NoCTool { .. } => {
                "install clang and lld: `apt install clang lld`, or `brew install llvm lld`"
                    .to_owned()
            }
            BuildError::NoWasmTarget { .. } => {
                "install one that does and name it with CLANG; on macOS `brew install llvm lld`"
                    .to_owned()
            }
            BuildError::Wrap { source } => return source.hint().map(|hint| hint.to_string()),
            BuildError::NoTool { .. } => {
                "install Rust from https://rustup.rs, and see that its programs are on the PATH"
                    .to_owned()
            }
            BuildError::NoStd { sysroot } if is_of_rustup(sysroot) => format!(
                "run `rustup target add {TARGET}`\n\
                 where rustup cannot fetch, `scripts/wasm-std` of Tidegate's repository builds it; not both, for two do not work"
            ),
            BuildError::NoStd { .. } => format!(
                "install Rust from https://rustup.rs and run `rustup target add {TARGET}`, or install your\n\
                 distribution's std for that target (on Debian libstd-rust-dev-wasm32)"
            ),
            BuildError::SeveralStds { sysroot, .. } => format!(
                "one came from rustup and one was built: remove all in {}\n\
                 and install one again, with `rustup target remove {TARGET}` and `rustup target add {TARGET}`",
                sysroot.join("lib/rustlib").join(TARGET).join("lib").display()
            ),
            BuildError::NoLinker => format!(
                "install Rust from https://rustup.rs, which has it, or `cargo install {LINKER}`"
            ),
            BuildError::NoComponent { .. } => {
                "add to it: [lib] crate-type = [\"cdylib\", \"rlib\"]".to_owned()
            }
            BuildError::Several { .. } => "name the folder of one of them".to_owned(),
            BuildError::Cargo | BuildError::Clang | BuildError::Read { .. } => return None,
        };
        Some(hint)
    }
}

/// Whether a toolchain is one of rustup's.
fn is_of_rustup(sysroot: &Path) -> bool {
    sysroot.parent().and_then(Path::file_name).is_some_and(|name| name == "toolchains")
}

/// A component as it was built.
#[derive(Debug)]
pub struct Built {
    /// The package.
    pub package: String,
    /// The file in cargo's target folder, or where cargo would have put it.
    pub file: PathBuf,
    /// Its bytes.
    pub component: Vec<u8>,
}

/// Builds the project in `folder`. What cargo says goes to stderr.
///
/// # Errors
///
/// When something is missing, or cargo fails.
pub fn build(folder: &Path, tools: &Tools) -> Result<Built, BuildError> {
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        let sources = c::sources(folder);
        if !sources.is_empty() {
            return c::build(folder, &sources, tools);
        }
        return Err(BuildError::NoProject { folder: folder.to_owned() });
    }
    let read = |path: &Path, source| BuildError::Read { path: path.to_owned(), source };
    // As cargo sees it: panic messages have whole paths.
    let folder = &folder.canonicalize().map_err(|error| read(folder, error))?;
    let manifest = folder.join("Cargo.toml");
    check_std(folder, tools)?;

    let mut cargo = guest::cargo_build(&tools.cargo, folder, &[(folder, "/policy")]);
    cargo.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    if tools.is_quiet {
        cargo.arg("--quiet");
    }
    if let Some(target) = &tools.target {
        cargo.arg("--target-dir").arg(target);
    }
    let no_cargo = |source| no_tool(&tools.cargo, source);
    let mut child = cargo.spawn().map_err(no_cargo)?;
    let told = child.stdout.take().expect("its output is a pipe");
    let mut left: Vec<(String, PathBuf)> = Vec::new();
    for line in std::io::BufReader::new(told).lines() {
        let line = line.map_err(no_cargo)?;
        left.extend(component_in(&line, &manifest));
    }
    if !child.wait().map_err(no_cargo)?.success() {
        let lacks_linker = sysroot(folder, tools).is_ok_and(|sysroot| !has_linker(&sysroot));
        return Err(if lacks_linker { BuildError::NoLinker } else { BuildError::Cargo });
    }
    match left.as_slice() {
        [] => Err(BuildError::NoComponent { manifest }),
        [(package, file)] => {
            let component = std::fs::read(file).map_err(|error| read(file, error))?;
            Ok(Built { package: package.clone(), file: file.clone(), component })
        }
        several => {
            let packages = several.iter().map(|(package, _)| package.clone()).collect();
            Err(BuildError::Several { packages })
        }
    }
}

/// Where a component of `project` belongs: where its policies file expects one of that name, or else beside that.
pub fn place_of(project: &Path, built: &Path) -> PathBuf {
    let name = built.file_name().unwrap_or_default();
    let chain = PoliciesDefinition::read(&project.join("policies.yaml"));
    let named = chain.ok().and_then(|chain| {
        let stages = chain.scaling.into_iter().map(|stage| stage.policy);
        stages.chain([chain.placement]).find_map(|policy| match policy {
            PolicyRef::File(path) => (path.file_name() == Some(name)).then_some(path),
            PolicyRef::Builtin(_) => None,
        })
    });
    named.unwrap_or_else(|| project.join(name))
}

fn no_tool(tool: &OsString, source: std::io::Error) -> BuildError {
    BuildError::NoTool { tool: tool.to_string_lossy().into_owned(), source }
}

fn check_std(folder: &Path, tools: &Tools) -> Result<(), BuildError> {
    let no_rustc = |source| no_tool(&tools.rustc, source);
    match guest::count_stds(&tools.rustc, folder).map_err(no_rustc)? {
        1 => Ok(()),
        0 => Err(BuildError::NoStd { sysroot: sysroot(folder, tools)? }),
        count => Err(BuildError::SeveralStds { count, sysroot: sysroot(folder, tools)? }),
    }
}

fn sysroot(folder: &Path, tools: &Tools) -> Result<PathBuf, BuildError> {
    let asked = Command::new(&tools.rustc)
        .current_dir(folder)
        .args(["--print", "sysroot"])
        .output()
        .map_err(|source| no_tool(&tools.rustc, source))?;
    Ok(PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim()))
}

/// Whether the linker is in the toolchain or on the path.
fn has_linker(sysroot: &Path) -> bool {
    let of_hosts = std::fs::read_dir(sysroot.join("lib/rustlib")).into_iter().flatten().flatten();
    let of_path = std::env::var_os("PATH").unwrap_or_default();
    let in_toolchain = of_hosts.map(|host| host.path().join("bin"));
    let mut folders = in_toolchain.chain(std::env::split_paths(&of_path));
    folders.any(|folder| folder.join(LINKER).is_file())
}

/// The component that a message of cargo tells of, with its package, if it is one of this manifest or of its workspace's members.
fn component_in(line: &str, manifest: &Path) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let kinds = message["target"]["kind"].as_array()?;
    let is_component = message["reason"] == "compiler-artifact"
        && kinds.iter().any(|kind| kind == "cdylib")
        && Path::new(message["manifest_path"].as_str()?).starts_with(manifest.parent()?);
    let files = message["filenames"].as_array()?.iter().filter_map(serde_json::Value::as_str);
    let mut components = files.map(PathBuf::from).filter(|file| is_wasm(file));
    let file = components.next().filter(|_| is_component)?;
    Some((message["target"]["name"].as_str()?.to_owned(), file))
}

fn is_wasm(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "wasm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_goes_where_the_policies_file_expects_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |policies: &str| {
            std::fs::write(folder.path().join("policies.yaml"), policies).expect("it is written");
            let place = place_of(folder.path(), Path::new("target/deep/surge.wasm"));
            place.strip_prefix(folder.path()).expect("below").display().to_string()
        };
        let head = "apiVersion: tidegate.dev/v1alpha1\nkind: Policies\nscaling:\n";
        assert_eq!(place(&format!("{head}- policy: wasm/surge.wasm\n")), "wasm/surge.wasm");
        assert_eq!(place(&format!("{head}- policy: builtin:knative\n")), "surge.wasm");
        assert_eq!(
            place(&format!(
                "{head}- policy: builtin:knative\nplacement: {{policy: p/surge.wasm}}\n"
            )),
            "p/surge.wasm"
        );
        assert_eq!(place("no policies file"), "surge.wasm");
    }

    #[test]
    fn what_is_missing_is_told_with_what_to_do() {
        let rustup = PathBuf::from("/home/x/.rustup/toolchains/1.95.0-x86_64-unknown-linux-gnu");
        let hint = |error: BuildError| error.hint().expect("it has one");
        let of_rustup = hint(BuildError::NoStd { sysroot: rustup });
        assert!(of_rustup.starts_with("run `rustup target add wasm32-unknown-unknown`"));
        let of_system = hint(BuildError::NoStd { sysroot: "/usr".into() });
        assert!(of_system.starts_with("install Rust from"), "{of_system}");
    }
}
