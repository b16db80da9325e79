//! `tidegate man` and `tidegate docs`: what the program says of itself, as manual pages and as pages of reference.

use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, ValueEnum};

use super::args::Cli;
use super::failure::{Exit, Failure};
use super::output::{Terminal, write_file};
use crate::{project, reference};

/// Arguments of `tidegate man`.
#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// Where to write a page for each command; only the program's own is printed if not given.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Arguments of `tidegate docs`.
#[derive(Debug, clap::Args)]
pub(super) struct Docs {
    /// The page to print.
    #[arg(value_enum, required_unless_present = "write")]
    page: Option<Page>,
    /// Write all pages into this folder instead, as cli.md and contract.md.
    #[arg(long, value_name = "DIR", conflicts_with = "page")]
    write: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Page {
    /// Commands and their arguments.
    Cli,
    /// What policies export: wit/policy.wit.
    Contract,
}

impl Page {
    const ALL: [Page; 2] = [Page::Cli, Page::Contract];

    fn file(self) -> &'static str {
        match self {
            Page::Cli => "cli.md",
            Page::Contract => "contract.md",
        }
    }

    fn text(self) -> String {
        match self {
            Page::Cli => reference::command_line(&Cli::command()),
            Page::Contract => {
                reference::contract(project::WIT).expect("a test makes this page of this contract")
            }
        }
    }
}

/// Prints or writes manual pages.
pub(super) fn man(args: &Man, terminal: &Terminal) -> Result<(), Failure> {
    let mut program = Cli::command();
    program.build();
    let Some(folder) = &args.folder else {
        return terminal.print(&page(&program));
    };
    make(folder)?;
    let mut open = vec![&program];
    let mut count = 0;
    while let Some(command) = open.pop() {
        // `tidegate-trace-stat` for `tidegate trace stat`, once the program is built.
        let name = command.get_display_name().unwrap_or("tidegate");
        write_file(&folder.join(format!("{name}.1")), &page(command))?;
        count += 1;
        let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
        open.extend(shown.filter(|one| one.get_name() != "help"));
    }
    terminal.remark(&format!("{count} manual pages: {}\n", folder.display()));
    Ok(())
}

/// Prints or writes pages of reference.
pub(super) fn docs(args: &Docs, terminal: &Terminal) -> Result<(), Failure> {
    if let Some(page) = args.page {
        return terminal.print(&page.text());
    }
    let Some(folder) = &args.write else { return Ok(()) };
    make(folder)?;
    for page in Page::ALL {
        let file = folder.join(page.file());
        write_file(&file, &page.text())?;
        terminal.remark(&format!("page: {}\n", file.display()));
    }
    Ok(())
}

fn page(command: &clap::Command) -> String {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).expect("memory takes what is written");
    String::from_utf8_lossy(&page).into_owned()
}

fn make(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| {
        Failure::new(Exit::Environment, format!("cannot make {}", folder.display()), &error)
    })
}
