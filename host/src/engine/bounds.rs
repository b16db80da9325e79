//! The host's limits on a target's replicas, outside every policy's reach. Applied between the stages of a chain and after it.

use super::plan::{Clamp, ClampRule};
use super::target::Bounds;

/// The bounds of a target as they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundsNow {
    /// At least so many. Wins over `max`.
    pub min: u32,
    /// At most so many; 0 is no limit.
    pub max: u32,
    /// Whether `min` is the initial scale.
    pub is_initial: bool,
}

impl Bounds {
    /// The bounds in force. An unreachable revision has no minimum and no initial scale; an initial scale above 1 binds until
    /// it was once ready.
    pub fn now(&self, is_reachable: Option<bool>, is_initialised: bool) -> BoundsNow {
        let is_unreachable = is_reachable == Some(false);
        let min = if is_unreachable { 0 } else { self.min };
        if self.initial > 1 && self.initial > min && !is_initialised && !is_unreachable {
            BoundsNow { min: self.initial, max: self.max, is_initial: true }
        } else {
            BoundsNow { min, max: self.max, is_initial: false }
        }
    }
}

impl BoundsNow {
    /// `wanted` within bounds, and which bound changed it.
    pub fn apply(&self, wanted: u32) -> (u32, Option<ClampRule>) {
        if wanted < self.min {
            (self.min, Some(if self.is_initial { ClampRule::Initial } else { ClampRule::Min }))
        } else if self.max != 0 && wanted > self.max {
            (self.max.max(self.min), Some(ClampRule::Max))
        } else {
            (wanted, None)
        }
    }

    /// The clamp that `wanted` meets after `stage`, if any.
    pub(super) fn clamp(&self, stage: &str, wanted: u32) -> Option<Clamp> {
        let (to, rule) = self.apply(wanted);
        rule.map(|rule| Clamp { stage: stage.to_owned(), rule, from: wanted, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_clamp_by_case() {
        let bounds = |min, max, initial| Bounds { min, max, initial };
        for (what, bounds, reachable, initialised, wanted, expected) in [
            ("within", bounds(1, 5, 1), Some(true), true, 3, (3, None)),
            ("below the minimum", bounds(2, 5, 1), Some(true), true, 0, (2, Some(ClampRule::Min))),
            ("above the maximum", bounds(0, 5, 1), Some(true), true, 9, (5, Some(ClampRule::Max))),
            (
                "a maximum of 0 is none",
                bounds(0, 0, 1),
                Some(true),
                true,
                u32::MAX,
                (u32::MAX, None),
            ),
            ("unreachable has no minimum", bounds(2, 5, 3), Some(false), false, 0, (0, None)),
            (
                "not known counts as reachable",
                bounds(2, 5, 1),
                None,
                true,
                0,
                (2, Some(ClampRule::Min)),
            ),
            (
                "initial binds at first",
                bounds(1, 9, 4),
                Some(true),
                false,
                0,
                (4, Some(ClampRule::Initial)),
            ),
            ("and no longer", bounds(1, 9, 4), Some(true), true, 0, (1, Some(ClampRule::Min))),
            (
                "an initial scale of 1 does not bind",
                bounds(0, 9, 1),
                Some(true),
                false,
                0,
                (0, None),
            ),
        ] {
            assert_eq!(bounds.now(reachable, initialised).apply(wanted), expected, "{what}");
        }
    }
}
