//! Pages of reference in Markdown: of the command line, from its definition, and of the contract, from `wit/policy.wit`. What they say
//! is said there; here is how it is laid out.

mod command;
mod contract;

pub use command::command_line;
pub use contract::{ContractError, contract};

/// A text as a cell of a table: on one line, and without what would end the cell.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
