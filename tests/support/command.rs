//! The program as users type it: where it runs, and what of this process's environment reaches it.
#![expect(unreachable_pub, reason = "a module of several tests")]

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a command line in `folder`; machine code is kept below `cache`.
pub fn tidegate(folder: &Path, cache: &Path, line: &[impl AsRef<OsStr>]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(folder)
        .env("XDG_CACHE_HOME", cache)
        .env_remove("CI")
        .env_remove("NO_COLOR")
        .args(line)
        .output()
        .expect("it starts")
}

/// What it wrote.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it writes text")
}
