//! Builds the policies in `policies/` as components, for `policy::builtin` to embed and for the tests to load. They are a
//! workspace of their own, for another target, so this calls cargo again, with a target folder that the outer cargo does not
//! lock and that `build`, `test` and `clippy` share.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const TARGET: &str = "wasm32-unknown-unknown";

/// Crates, and the names of their components. The first three are embedded; tests load the others.
const GUESTS: [(&str, &str); 9] = [
    ("tidegate-knative", "knative"),
    ("tidegate-scale-to-zero", "scale-to-zero"),
    ("tidegate-affinity", "affinity"),
    ("office-hours", "office-hours"),
    ("spot-first", "spot-first"),
    ("tenant-budget", "tenant-budget"),
    ("token-rate", "token-rate"),
    ("warm-pool", "warm-pool"),
    ("hostile-guest", "hostile"),
];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let out = PathBuf::from(set("OUT_DIR"));
    let root = PathBuf::from(set("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the host is a folder of the repository")
        .to_owned();
    let policies = root.join("policies");
    for source in ["sdk", "settings", "knative", "scale-to-zero", "affinity", "examples"] {
        println!("cargo::rerun-if-changed={}", policies.join(source).display());
    }
    for source in ["policies/Cargo.toml", "policies/Cargo.lock", "wit", "fixtures/hostile/guest"] {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    check_std()?;

    // OUT_DIR is `<profile's folder>/build/<package>-<hash>/out`, and the hash differs between commands.
    let folder = out.ancestors().nth(3).unwrap_or(&out).join("guests");
    compile(&policies, &folder, &root)?;
    for (package, name) in GUESTS {
        let built = folder.join(TARGET).join("release").join(file_of(package));
        let kept = out.join(format!("{name}.wasm"));
        std::fs::copy(&built, &kept)
            .map_err(|error| format!("cannot copy the component {}: {error}", built.display()))?;
    }
    println!("cargo::rustc-env=TIDEGATE_GUESTS={}", out.display());
    Ok(())
}

/// Says what to do if there is no std for the guests; cargo alone would say that it cannot find the crate `core`.
fn check_std() -> Result<(), String> {
    let asked = Command::new(set("RUSTC"))
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("cannot ask rustc for its libraries: {error}"))?;
    let folder = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
    let has_std = std::fs::read_dir(&folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    });
    if has_std {
        return Ok(());
    }
    Err(format!(
        "the policies need Rust's std for {TARGET}, which is not installed: run `make setup`"
    ))
}

fn compile(policies: &Path, folder: &Path, root: &Path) -> Result<(), String> {
    let mut cargo = Command::new(set("CARGO"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_the_outer_build) {
            cargo.env_remove(name);
        }
    }
    // Panic messages name source files; with these prefixes a component is the same wherever it is built.
    let mut flags = vec![format!("--remap-path-prefix={}=/tidegate", root.display())];
    if let Some(home) = cargo_home() {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    cargo
        .current_dir(policies)
        .args(["build", "--release", "--locked", "--quiet", "--target", TARGET, "--target-dir"])
        .arg(folder)
        .args(GUESTS.iter().flat_map(|(package, _)| ["--package", package]))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-component-ld")
        .env("CARGO_BUILD_BUILD_DIR", folder)
        // Empty, not absent: a configuration file may name a wrapper too.
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "");
    let done = cargo.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    eprint!("{}", String::from_utf8_lossy(&done.stderr));
    Err("the policies in policies/ do not build: see cargo's words below".to_owned())
}

/// Whether a variable says how the host is built, which is not how its guests are.
fn is_of_the_outer_build(name: &str) -> bool {
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

fn file_of(package: &str) -> String {
    format!("{}.wasm", package.replace('-', "_"))
}

fn cargo_home() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
}

/// A variable that cargo sets for every build script.
#[expect(clippy::disallowed_methods, reason = "a build script's arguments are variables")]
fn set(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
