//! Builds the policies in `policies/` as components, for `policy::builtin` to embed and for the tests to load. They are a
//! workspace of their own, for another target, so this calls cargo again, with a target folder that the outer cargo does not
//! lock and that `build`, `test` and `clippy` share.

#[path = "build/wrapper.rs"]
mod wrapper;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[path = "src/project/guest.rs"]
mod guest;

use guest::TARGET;

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
    for source in
        ["sdk", "settings", "knative", "scale-to-zero", "affinity", "examples", "templates"]
    {
        println!("cargo::rerun-if-changed={}", policies.join(source).display());
    }
    for source in ["policies/Cargo.toml", "policies/Cargo.lock", "wit", "fixtures/hostile/guest"] {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    for source in ["build.rs", "build"] {
        println!("cargo::rerun-if-changed={source}");
    }
    wrapper::write(&root.join("wit"), &out)?;
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
    let here = Path::new(".");
    let stds = guest::count_stds(set("RUSTC").as_ref(), here)
        .map_err(|error| format!("cannot ask rustc for its libraries: {error}"))?;
    match stds {
        0 => Err(format!(
            "the policies need Rust's std for {TARGET}, which is not installed: run `make setup`"
        )),
        _ => Ok(()),
    }
}

fn compile(policies: &Path, folder: &Path, root: &Path) -> Result<(), String> {
    let mut cargo = guest::cargo_build(set("CARGO").as_ref(), policies, &[(root, "/tidegate")]);
    cargo
        .args(["--locked", "--quiet", "--target-dir"])
        .arg(folder)
        .args(GUESTS.iter().flat_map(|(package, _)| ["--package", package]))
        .env("CARGO_BUILD_BUILD_DIR", folder);
    let done = cargo.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    eprint!("{}", String::from_utf8_lossy(&done.stderr));
    Err("the policies in policies/ do not build: see cargo's words below".to_owned())
}

fn file_of(package: &str) -> String {
    format!("{}.wasm", package.replace('-', "_"))
}

/// A variable that cargo sets for every build script.
#[expect(clippy::disallowed_methods, reason = "a build script's arguments are variables")]
fn set(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
