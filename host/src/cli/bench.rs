//! `tidegate bench`.

use super::args::{self, Output};
use super::failure::{Exit, Failure};
use super::output::Terminal;
use super::policies;
use crate::bench::Measured;
use crate::policy::Limits;

/// Measures, and prints what came of it.
pub(super) fn run(args: &args::Bench, terminal: &Terminal) -> Result<(), Failure> {
    let sandbox = policies::sandbox_without_cache(Limits::default())?;
    let bar = terminal.progress(None);
    let measured = Measured::take(&sandbox, &mut |what| bar.set_message(what.to_owned())).map_err(
        |error| Failure::new(Exit::Policy, "cannot measure the built-in policies", &*error),
    )?;
    bar.finish_and_clear();
    terminal.print(&match args.output {
        Output::Text => measured.render(),
        Output::Json => serde_json::to_string_pretty(&measured).expect("every key is text") + "\n",
    })
}
