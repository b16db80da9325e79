//! Swaps of policies in the middle of a run: when, what took over, and what of the state before was not taken over as it was.

use super::numbers::{clock, plain};
use super::style::{Ink, Style};
use crate::ledger::Outcome;

/// The swaps of a replay, a few lines each.
pub fn swaps(outcome: &Outcome, style: Style) -> String {
    let mut text = String::new();
    for swap in &outcome.swaps {
        let stages: Vec<String> = swap.stages.iter().map(|stage| plain(&stage.stage)).collect();
        let (ink, what) = match &swap.refused {
            None => (Ink::Notice, format!("{} takes over", plain(&swap.policies))),
            Some(why) => {
                (Ink::Alarm, format!("{} would be refused: {}", plain(&swap.policies), plain(why)))
            }
        };
        let head = format!("swap at {}: {what} ({})", clock(swap.at_s), stages.join(", "));
        text += &(style.paint(ink, &head) + "\n");
        for line in &swap.told {
            text += &format!("  {}\n", plain(line));
        }
        if swap.told.is_empty() && swap.refused.is_none() {
            text += "  all that policies remembered was taken over as it was\n";
        }
    }
    text
}
