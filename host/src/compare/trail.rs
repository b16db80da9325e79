//! What a run did, in a form that is small enough to keep whole: enough to find where two runs part, and no more.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::engine::{Action, Plan, TargetId};
use crate::time::Time;

/// Everything that was planned for targets, step by step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    entries: Vec<Entry>,
}

/// What was planned for one target in one step. Equal plans have equal digests; that others have them too is not to be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Time,
    target: TargetId,
    digest: u64,
}

impl Trail {
    /// Takes in a step.
    pub fn see(&mut self, plan: &Plan) {
        let mut touched: Vec<TargetId> = plan.changes.iter().map(|change| change.target).collect();
        touched.extend(plan.actions.iter().map(target_of));
        touched.sort_unstable();
        touched.dedup();
        for target in touched {
            let mut hasher = DefaultHasher::new();
            for change in plan.changes.iter().filter(|change| change.target == target) {
                (change.from, change.to).hash(&mut hasher);
            }
            for action in plan.actions.iter().filter(|action| target_of(action) == target) {
                match action {
                    Action::Start { replica, node } => (0, replica, node.0).hash(&mut hasher),
                    Action::Scale { to, .. } => (1, to).hash(&mut hasher),
                    Action::Drain { replica } => (2, replica).hash(&mut hasher),
                }
            }
            self.entries.push(Entry { at: plan.at, target, digest: hasher.finish() });
        }
    }

    /// When and over which target two runs part first; `None`: never.
    pub fn parting(&self, other: &Trail) -> Option<(Time, TargetId)> {
        let same = self.entries.iter().zip(&other.entries).take_while(|(a, b)| a == b).count();
        let next = |trail: &Trail| trail.entries.get(same).map(|entry| (entry.at, entry.target));
        match (next(self), next(other)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        }
    }
}

fn target_of(action: &Action) -> TargetId {
    match action {
        Action::Start { replica, .. } | Action::Drain { replica } => replica.target,
        Action::Scale { target, .. } => *target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail(plans: &[(u64, u32, u32)]) -> Trail {
        let mut trail = Trail::default();
        for &(at, target, to) in plans {
            let actions = vec![Action::Scale { target: TargetId(target), to }];
            trail.see(&Plan { at: Time(at), actions, ..Plan::default() });
        }
        trail
    }

    #[test]
    fn runs_part_at_the_first_step_that_one_of_them_makes_otherwise() {
        let a = [(1, 0, 3), (5, 1, 2), (9, 0, 1)];
        for (what, b, expected) in [
            ("the same", vec![(1, 0, 3), (5, 1, 2), (9, 0, 1)], None),
            ("another number", vec![(1, 0, 3), (5, 1, 4), (9, 0, 1)], Some((5, 1))),
            ("earlier", vec![(1, 0, 3), (3, 0, 1)], Some((3, 0))),
            ("later", vec![(1, 0, 3), (6, 1, 2)], Some((5, 1))),
            ("another target", vec![(1, 0, 3), (5, 0, 2)], Some((5, 0))),
            ("no more", vec![(1, 0, 3), (5, 1, 2)], Some((9, 0))),
            ("more", vec![(1, 0, 3), (5, 1, 2), (9, 0, 1), (9, 1, 1)], Some((9, 1))),
        ] {
            let (a, b) = (trail(&a), trail(&b));
            let expected = expected.map(|(at, target)| (Time(at), TargetId(target)));
            assert_eq!(a.parting(&b), expected, "{what}");
            assert_eq!(b.parting(&a), expected, "{what}, the other way round");
        }
    }
}
