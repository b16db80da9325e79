//! How a policy becomes a component: target, linker, flags, and an environment without those of another build. `host/build.rs` builds
//! the policies of this repository by it and `tidegate build` an author's, so it knows nothing but std.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What policies are built for: nothing of a system is there that they could import.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
/// What makes the module a component. It comes with Rust.
pub(crate) const LINKER: &str = "wasm-component-ld";

/// A `cargo build` of components in `folder`. Panic messages name source files; `remapped` prefixes are written otherwise there, so
/// that a component is the same wherever it is built. Cargo's home always is one of them.
pub(crate) fn cargo_build(cargo: &OsStr, folder: &Path, remapped: &[(&Path, &str)]) -> Command {
    let mut command = Command::new(cargo);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_another_build) {
            command.env_remove(name);
        }
    }
    let flag = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let mut flags: Vec<String> = remapped.iter().map(|(from, to)| flag(from, to)).collect();
    flags.extend(cargo_home().map(|home| flag(&home, "/cargo")));
    command
        .current_dir(folder)
        .args(["build", "--release", "--target", TARGET])
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", LINKER)
        // Empty, not absent: a configuration file may name a wrapper too.
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "");
    command
}

/// How many stds for the target a toolchain has, as the `rustc` that runs in `folder` sees it. One is right; with two of them
/// nothing builds (E0464).
pub(crate) fn count_stds(rustc: &OsStr, folder: &Path) -> std::io::Result<usize> {
    let asked = Command::new(rustc)
        .current_dir(folder)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
    let Ok(entries) = std::fs::read_dir(&libraries) else { return Ok(0) };
    let is_std = |name: &str| name.starts_with("libstd-") && name.ends_with(".rlib");
    Ok(entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_std)).count())
}

/// Whether a variable says how something else is built: the host, or whatever runs this program.
fn is_of_another_build(name: &str) -> bool {
    const PREFIXES: [&str; 6] = [
        "CARGO_BUILD_",
        "CARGO_CFG_",
        "CARGO_FEATURE_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
    ];
    const NAMES: [&str; 10] = [
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_PRIMARY_PACKAGE",
        "CLIPPY_ARGS",
        "HOST",
        "OUT_DIR",
        "PROFILE",
        "RUSTFLAGS",
        "TARGET",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&name)
}

fn cargo_home() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
}
