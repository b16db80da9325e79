//! The command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(tidegate::policy::COMPILE_SUBCOMMAND) {
        return tidegate::policy::compile_child();
    }
    ExitCode::SUCCESS
}
