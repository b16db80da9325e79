//! `tidegate componentize`: a core module becomes a component.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::{Exit, Failure};
use super::output::Terminal;
use crate::policy::wrap;

/// The largest core module that is read, debug information included. What never ends, as a device, is read no further.
const LARGEST: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(super) struct Componentize {
    /// The core module that clang and wasm-ld left.
    module: PathBuf,
    /// Where the component goes; the module's name with `.component.wasm` at its end if not given.
    #[arg(short = 'O', long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Componentize, terminal: &Terminal) -> Result<(), Failure> {
    let shown = args.module.display();
    let mut module = Vec::new();
    File::open(&args.module)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut module))
        .map_err(|error| Failure::new(Exit::Input, format!("cannot read {shown}"), &error))?;
    if module.len() as u64 > LARGEST {
        let size = crate::policy::size(LARGEST);
        let what = format!("cannot read {shown}: it has more than {size}, which no policy needs");
        return Err(Failure::plain(Exit::Input, what));
    }
    let component = wrap::componentize(&module).map_err(|error| {
        let failure =
            Failure::new(Exit::Input, format!("cannot make a component of {shown}"), &error);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    let out = args.out.clone().unwrap_or_else(|| beside(&args.module));
    std::fs::write(&out, &component).map_err(|error| {
        Failure::new(Exit::Environment, format!("cannot write {}", out.display()), &error)
    })?;
    let size = crate::policy::size(component.len() as u64);
    terminal.print(&format!("{}: {size}\n", out.display()))
}

/// `policy.component.wasm` for `policy.wasm` and for `policy.core.wasm`.
fn beside(module: &Path) -> PathBuf {
    let name = module.file_stem().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".core").unwrap_or(&name);
    module.with_file_name(format!("{name}.component.wasm"))
}
