//! The command line: arguments, wiring, exit codes. It decides nothing, and it alone turns errors into prose.

mod args;
mod bench;
mod failure;
mod inputs;
mod output;
mod policies;
mod replay;
mod trace;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, Command, Document, Trace};
use output::Terminal;

/// Runs the command that the arguments of this process ask for.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::new(cli.color, cli.quiet);
    let done = match cli.command {
        Command::Replay(args) => replay::run(&args, &terminal),
        Command::Trace(Trace::Stat { traces, seed, output }) => {
            trace::stat(&traces, &seed, output, &terminal)
        }
        Command::Trace(Trace::Convert(args)) => trace::convert::run(&args, &terminal),
        Command::Trace(Trace::Synth(args)) => trace::synth::run(&args, &terminal),
        Command::Bench(args) => bench::run(&args, &terminal),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut script);
            terminal.print(&String::from_utf8_lossy(&script))
        }
        Command::Schema { document: Document::Replay } => terminal.print(&crate::report::schema()),
        Command::Compile => return crate::policy::compile_child(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal.say(&failure.render());
            ExitCode::from(failure.code())
        }
    }
}
