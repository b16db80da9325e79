//! The contract as a page. What is read is not all of WIT but how `wit/policy.wit` is written: a declaration or a field a line, words
//! above it. A line that is something else is an error, so nothing is left out in silence.

use std::fmt::Write as _;

use super::cell;

/// A line that the page could not tell of.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: `{text}` is not written as the contract is")]
pub struct ContractError {
    /// Which, from 1.
    pub line: usize,
    /// What stands there.
    pub text: String,
}

/// What the lines that are being read are inside of.
enum Inside {
    /// The file.
    Package,
    /// An interface or a world.
    Block,
    /// A type with a line for each of its parts.
    Type,
}

/// The page of a contract.
///
/// # Errors
///
/// When a line of it is not written as those of `wit/policy.wit` are.
pub fn contract(wit: &str) -> Result<String, ContractError> {
    let mut text = String::from(
        "# The contract of policies\n\nGenerated from `wit/policy.wit` by `tidegate docs`. \
         [Names of inputs and outputs](../signals.md) are a page of their own.\n",
    );
    let mut inside = Inside::Package;
    let mut words: Vec<&str> = Vec::new();
    for (number, line) in wit.lines().enumerate() {
        let line = line.trim();
        let fails = || ContractError { line: number + 1, text: line.to_owned() };
        if let Some(word) = line.strip_prefix("///") {
            words.push(word.strip_prefix(' ').unwrap_or(word));
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let said = std::mem::take(&mut words);
        let prose = || paragraphs(&said);
        match inside {
            Inside::Package => {
                if let Some(package) = line.strip_prefix("package ") {
                    let package = package.strip_suffix(';').ok_or_else(fails)?;
                    let _ = write!(text, "\nPackage `{package}`.\n\n{}", prose());
                } else if let Some((kind, name)) = block(line) {
                    let _ = write!(text, "\n## {kind} `{name}`\n\n{}", prose());
                    inside = Inside::Block;
                } else {
                    return Err(fails());
                }
            }
            Inside::Block if line == "}" => inside = Inside::Package,
            Inside::Block => {
                if let Some((kind, name)) = block(line) {
                    let _ = write!(text, "\n### {kind} `{name}`\n\n{}", prose());
                    let of_type = if kind == "record" { " Type |" } else { "" };
                    let rule = if kind == "record" { " --- |" } else { "" };
                    let _ =
                        write!(text, "\n| {} |{of_type} What |\n| --- |{rule} --- |\n", part(kind));
                    inside = Inside::Type;
                } else if let Some(of) = line.strip_suffix(';') {
                    if let Some((name, signature)) = of.split_once(": func") {
                        let _ = write!(
                            text,
                            "\n### function `{name}`\n\n`func{signature}`\n\n{}",
                            prose()
                        );
                    } else if let Some(exported) = of.strip_prefix("export ") {
                        let _ = write!(text, "\nExports `{exported}`.\n");
                    } else if let Some((from, names)) =
                        of.strip_prefix("use ").and_then(|used| used.split_once(".{"))
                    {
                        let names = names.strip_suffix('}').ok_or_else(fails)?;
                        let _ = write!(text, "\nUses {} of `{from}`.\n", quoted(names));
                    } else {
                        return Err(fails());
                    }
                } else {
                    return Err(fails());
                }
            }
            Inside::Type if line == "}" => inside = Inside::Block,
            Inside::Type => {
                let entry = line.strip_suffix(',').ok_or_else(fails)?;
                let told = cell(&said.join(" "));
                let _ = match entry.split_once(": ") {
                    Some((name, kind)) => {
                        writeln!(text, "| `{}` | `{kind}` | {told} |", name.trim_start_matches('%'))
                    }
                    None => writeln!(text, "| `{entry}` | {told} |"),
                };
            }
        }
    }
    Ok(text)
}

/// `interface scaling {` as its kind and its name.
fn block(line: &str) -> Option<(&str, &str)> {
    let (kind, name) = line.strip_suffix(" {")?.split_once(' ')?;
    let kinds = ["interface", "world", "record", "enum", "flags", "variant"];
    (kinds.contains(&kind) && !name.contains(' ')).then_some((kind, name))
}

/// What a line of such a type is called.
fn part(kind: &str) -> &'static str {
    match kind {
        "record" => "Field",
        "flags" => "Flag",
        _ => "Case",
    }
}

fn quoted(names: &str) -> String {
    names.split(',').map(|name| format!("`{}`", name.trim())).collect::<Vec<_>>().join(", ")
}

/// Words with a blank line between paragraphs, as they are written.
fn paragraphs(words: &[&str]) -> String {
    words.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_of_the_contract_is_told() {
        let page = contract(
            "/// What it is.\npackage a:b@0.1.0;\n\n/// Decides.\ninterface c {\n    use d.{e, f};\n\n    /// A | b.\n    \
             record g {\n        /// One\n        /// line.\n        h: list<u8>,\n    }\n    /// Which.\n    enum i {\n        \
             /// This.\n        j,\n    }\n    /// Does.\n    k: func(%from: g) -> i;\n}\n\nworld l {\n    export c;\n}\n",
        );
        insta::assert_snapshot!(page.expect("it is in order"), @r"
        # The contract of policies

        Generated from `wit/policy.wit` by `tidegate docs`. [Names of inputs and outputs](../signals.md) are a page of their own.

        Package `a:b@0.1.0`.

        What it is.

        ## interface `c`

        Decides.

        Uses `e`, `f` of `d`.

        ### record `g`

        A | b.

        | Field | Type | What |
        | --- | --- | --- |
        | `h` | `list<u8>` | One line. |

        ### enum `i`

        Which.

        | Case | What |
        | --- | --- |
        | `j` | This. |

        ### function `k`

        `func(%from: g) -> i`

        Does.

        ## world `l`


        Exports `c`.
        ");
    }

    #[test]
    fn a_line_that_is_something_else_is_an_error() {
        let error = contract("package a:b;\nresource c;\n").expect_err("not of the contract");
        assert_eq!(error.to_string(), "line 2: `resource c;` is not written as the contract is");
    }
}
