//! Making a component of a policy in C: one file, and the header that it includes, of which this program has a copy. `policies/sdk-c/build`
//! does the same by hand.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::build::{BuildError, Built, Tools};
use crate::policy::wrap;

/// What a policy in C includes, as it was when this program was built.
const HEADER: &str = include_str!("../../../policies/sdk-c/tidegate.h");
const HEADER_NAME: &str = "tidegate.h";
const LINKER: &str = "wasm-ld";

/// No libc and no entry; the stack lies below everything else, so that too deep a recursion leaves memory and traps.
const FLAGS: [&str; 14] = [
    "--target=wasm32",
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-nostdlib",
    "-mbulk-memory",
    "-ffp-contract=off",
    "-Wl,--no-entry",
    "-Wl,--stack-first",
    "-Wl,-z,stack-size=65536",
    "-Wl,--fatal-warnings",
];

/// The C files of a folder, sorted.
pub(super) fn sources(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_c = |file: &PathBuf| file.extension().is_some_and(|ending| ending == "c");
    let mut sources: Vec<PathBuf> = files.filter(is_c).collect();
    sources.sort();
    sources
}

/// Builds the one C file of a folder. What clang says goes to stderr.
pub(super) fn build(
    folder: &Path,
    sources: &[PathBuf],
    tools: &Tools,
) -> Result<Built, BuildError> {
    let [source] = sources else {
        let name =
            |file: &PathBuf| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Err(BuildError::SeveralSources { files: sources.iter().map(name).collect() });
    };
    let package = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    check_tools(tools)?;
    let place = tools.target.clone().unwrap_or_else(|| folder.join("target")).join("c");
    let read = |path: &Path, source| BuildError::Read { path: path.to_owned(), source };
    let include = match folder.join(HEADER_NAME).is_file() {
        true => folder.to_owned(),
        false => {
            let include = place.join("include");
            let header = include.join(HEADER_NAME);
            std::fs::create_dir_all(&include)
                .and_then(|()| std::fs::write(&header, HEADER))
                .map_err(|error| read(&header, error))?;
            include
        }
    };
    std::fs::create_dir_all(&place).map_err(|error| read(&place, error))?;
    let core = place.join(format!("{package}.core.wasm"));
    let done = Command::new(&tools.clang)
        .args(FLAGS)
        .arg("-I")
        .arg(include)
        .arg(source)
        .arg("-o")
        .arg(&core)
        // Results alone go to stdout.
        .stdout(Stdio::null())
        .status()
        .map_err(|source| no_clang(&tools.clang, source))?;
    if !done.success() {
        return Err(BuildError::Clang);
    }
    let module = std::fs::read(&core).map_err(|error| read(&core, error))?;
    let component = wrap::componentize(&module).map_err(|source| BuildError::Wrap { source })?;
    Ok(Built { package: package.clone(), file: place.join(format!("{package}.wasm")), component })
}

fn check_tools(tools: &Tools) -> Result<(), BuildError> {
    let asked = Command::new(&tools.clang)
        .arg("--print-targets")
        .output()
        .map_err(|source| no_clang(&tools.clang, source))?;
    if !String::from_utf8_lossy(&asked.stdout).contains("wasm32") {
        return Err(BuildError::NoWasmTarget { tool: tools.clang.to_string_lossy().into_owned() });
    }
    Command::new(LINKER)
        .arg("--version")
        .output()
        .map(drop)
        .map_err(|source| BuildError::NoCTool { tool: LINKER.to_owned(), source })
}

fn no_clang(clang: &OsString, source: std::io::Error) -> BuildError {
    BuildError::NoCTool { tool: clang.to_string_lossy().into_owned(), source }
}
