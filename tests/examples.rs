//! The suites of the policies in `policies/examples`, with the components that the build left: what a user who copies one gets.

use std::path::Path;
use std::process::Command;

/// Copies a folder's files, and those of its folder `snapshots`.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("an entry");
        let is_folder = entry.file_type().expect("it has a type").is_dir();
        if !is_folder {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("it is copied");
        } else if entry.file_name() == "snapshots" {
            copy(&entry.path(), &to.join("snapshots"));
        }
    }
}

/// Runs the suite of an example as CI would: nothing is written, orphans fail.
fn keeps_its_suite(name: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/examples").join(name);
    copy(&example, folder.path());
    let guest = Path::new(env!("TIDEGATE_GUESTS")).join(format!("{name}.wasm"));
    let component = folder.path().join(format!("{}.wasm", name.replace('-', "_")));
    std::fs::copy(guest, component).expect("it was built");
    let done = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", folder.path().join("cache"))
        .args(["test", "--check"])
        .output()
        .expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
}

#[test]
fn spot_first_keeps_its_suite() {
    keeps_its_suite("spot-first");
}

#[test]
fn tenant_budget_keeps_its_suite() {
    keeps_its_suite("tenant-budget");
}

#[test]
fn token_rate_keeps_its_suite() {
    keeps_its_suite("token-rate");
}

#[test]
fn warm_pool_keeps_its_suite() {
    keeps_its_suite("warm-pool");
}
