//! The command line: arguments, wiring, exit codes. It decides nothing, and it alone turns errors into prose.

mod args;
mod bench;
mod build;
mod check;
mod compare;
mod componentize;
mod docs;
mod failure;
mod fake_model;
mod fuzz;
mod inputs;
mod inspect;
mod journal;
mod logs;
mod new;
mod output;
mod parity;
mod policies;
mod profile;
mod replay;
mod review;
mod suites;
mod test;
mod top;
mod trace;
mod up;
mod why;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, Command, Document, Trace};
use output::Terminal;

/// Runs the command that the arguments of this process ask for.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::new(cli.color, cli.quiet);
    let done = match cli.command {
        Command::New(args) => new::run(&args, &terminal),
        Command::Build(args) => build::run(&args, &terminal),
        Command::Inspect(args) => inspect::run(&args, &terminal),
        Command::Up(args) => up::run(&args, &terminal),
        Command::Replay(args) => replay::run(&args, &terminal),
        Command::Compare(args) => compare::run(&args, &terminal),
        Command::Why(args) => why::run(&args, &terminal),
        Command::Trace(Trace::Stat { traces, seed, output }) => {
            trace::stat(&traces, &seed, output, &terminal)
        }
        Command::Test(args) => test::run(&args, &terminal),
        Command::Review(args) => review::review(&args, &terminal),
        Command::Accept(args) => review::accept(&args, &terminal),
        Command::Reject(args) => review::reject(&args, &terminal),
        Command::Pending(args) => review::pending(&args, &terminal),
        Command::Fuzz(args) => fuzz::run(&args, &terminal),
        Command::Parity(args) => parity::run(&args, &terminal),
        Command::Trace(Trace::Convert(args)) => trace::convert::run(&args, &terminal),
        Command::Trace(Trace::Export(args)) => trace::export::run(&args, &terminal),
        Command::Trace(Trace::Synth(args)) => trace::synth::run(&args, &terminal),
        Command::Trace(Trace::Play(args)) => trace::play::run(&args, &terminal),
        Command::Logs(args) => logs::run(&args, &terminal),
        Command::Bench(args) => bench::run(&args, &terminal),
        Command::Componentize(args) => componentize::run(&args, &terminal),
        Command::FakeModel(args) => fake_model::run(&args, &terminal),
        Command::Top(args) => top::run(&args, &terminal),
        Command::Man(args) => docs::man(&args, &terminal),
        Command::Docs(args) => docs::docs(&args, &terminal),
        Command::Check(args) => check::run(&args, &terminal),
        Command::Profile(args) => profile::run(&args, &terminal),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut script);
            terminal.print(&String::from_utf8_lossy(&script))
        }
        Command::Schema { document: Document::Replay } => terminal.print(&crate::report::schema()),
        Command::Compile => return crate::policy::compile_child(),
        Command::Exec { parent, command } => {
            return crate::backend::local::process::exec(parent, &command);
        }
        Command::Reap => return crate::backend::local::process::reap(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal.say(&failure.render());
            ExitCode::from(failure.code())
        }
    }
}
