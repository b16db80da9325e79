//! A replay on one screen: what snapshots of suites hold. It has nothing in it that differs between machines or releases while the
//! replay itself is the same: no digests, no versions, no plots.

use super::numbers::counted;
use super::style::Style;
use super::summary::tables;
use super::timeline::told;
use crate::ledger::Outcome;

/// Changes and reasons, at most `limit` of them, the most telling ones; then what it came to.
pub fn brief(outcome: &Outcome, limit: usize) -> String {
    let (mut text, left_out) = told(outcome, Style::PLAIN, Some(limit));
    if left_out > 0 {
        text += &format!("and {} more\n", counted(left_out as u64, "line"));
    }
    text.push('\n');
    text + &tables(outcome, Style::PLAIN)
}
