//! The scale-down delay: the largest count wanted within the last slots, the present one included. A slot is one tick of wall-clock
//! time, so that two decisions within a tick count once.

use serde::{Deserialize, Serialize};

/// The largest of the last slots, exactly. Slots grow and counts fall along `steps`: what is older and not larger never matters.
/// A count of 0 matters to no maximum, so that an idle target's state stays the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    slots: u64,
    slot_ms: u64,
    steps: Vec<(u64, u32)>,
}

impl Delay {
    /// A window of `delay_ms` in slots of `slot_ms`; none without a delay.
    pub fn new(delay_ms: u64, slot_ms: u64) -> Option<Delay> {
        let slot_ms = slot_ms.max(1);
        (delay_ms > 0).then(|| Delay {
            slots: delay_ms.div_ceil(slot_ms),
            slot_ms,
            steps: Vec::new(),
        })
    }

    /// Takes in what is wanted now, and gives the largest that was wanted within the window.
    pub fn record(&mut self, at_ms: u64, wanted: u32) -> u32 {
        let slot = at_ms / self.slot_ms;
        let gone =
            self.steps.iter().take_while(|(old, _)| old.saturating_add(self.slots) <= slot).count();
        self.steps.drain(..gone);
        // A smaller count in a slot that has a larger one goes here too: the larger one stands in front of it.
        while self.steps.last().is_some_and(|(_, count)| *count <= wanted) {
            self.steps.pop();
        }
        if wanted > 0 && self.steps.last().is_none_or(|(last, _)| *last < slot) {
            self.steps.push((slot, wanted));
        }
        self.steps.first().map_or(wanted, |(_, count)| *count)
    }

    /// Until when wanting that count again changes nothing, remembered steps included. 0: not even until the next slot.
    pub fn stands_until_ms(&self, wanted: u32) -> u64 {
        match self.steps.first() {
            None => u64::MAX,
            Some((slot, _)) if wanted == 0 => {
                slot.saturating_add(self.slots).saturating_mul(self.slot_ms)
            }
            Some(_) => 0,
        }
    }
}
