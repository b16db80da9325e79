//! How a changed service gets from one revision to the next: the new one starts, and once it is as ready as the old one was, it takes
//! the requests and the old one leaves. Where there is no room for both, the old one leaves first. Pure: what is there comes in, what
//! to do goes out.

use std::collections::BTreeMap;

use crate::time::Time;

/// How long a new revision may find no place before the old one makes room for it. Milliseconds.
const NO_ROOM_MS: u64 = 5_000;

/// What there is of a revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) ready: u32,
    /// Come up, with a place.
    pub(super) starting: u32,
    /// Wanted, without a place.
    pub(super) pending: u32,
    pub(super) draining: u32,
    /// Requests that wait at its door.
    pub(super) waiting: u32,
}

impl Seen {
    fn is_there(&self) -> bool {
        self.ready + self.starting + self.draining > 0
    }
}

/// What to do about a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Do {
    /// The new revision takes that share of the requests, of a hundred, and the old one the rest; with all of them, the old one leaves.
    Shift {
        /// Of a hundred.
        share: u32,
        /// What to tell a person.
        told: String,
    },
    /// No request waits for the old one any more: its replicas may end.
    End(u32),
}

/// A service on its way to a new revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Under {
    /// The new revision.
    to: u32,
    /// Replicas that it is to have before it takes requests.
    floor: u32,
    /// Since when it finds no place.
    no_room_since: Option<Time>,
    /// The share of the requests that it got; `None`: none yet.
    given: Option<u32>,
}

/// All services on their way to a new revision.
#[derive(Clone, Debug, Default)]
pub(super) struct Rollouts {
    under_way: BTreeMap<String, Under>,
}

impl Rollouts {
    /// A service has a new revision; the old one has so many replicas that take requests.
    pub(super) fn begin(&mut self, service: &str, to: u32, old_ready: u32) {
        let under = Under { to, floor: old_ready, no_room_since: None, given: None };
        self.under_way.insert(service.to_owned(), under);
    }

    /// A service is no more, or its revisions are all but one.
    pub(super) fn forget(&mut self, service: &str) {
        self.under_way.remove(service);
    }

    /// Replicas that a new revision is to have until it takes requests.
    pub(super) fn floor(&self, service: &str, revision: u32) -> u32 {
        self.under_way
            .get(service)
            .filter(|under| under.to == revision && under.given.is_none())
            .map_or(0, |under| under.floor)
    }

    /// What is to be done about a service whose revisions are these, the oldest first, by number and with whether they leave.
    /// `share` is what the new one is to get for good, of a hundred.
    pub(super) fn next(
        &mut self,
        now: Time,
        service: &str,
        revisions: &[(u32, bool, Seen)],
        share: u32,
    ) -> Vec<Do> {
        let mut todo = Vec::new();
        for (number, is_leaving, seen) in revisions {
            if *is_leaving && seen.waiting == 0 {
                todo.push(Do::End(*number));
            }
        }
        let Some(under) = self.under_way.get_mut(service) else { return todo };
        let Some((_, _, new)) = revisions.iter().find(|(number, ..)| *number == under.to) else {
            return todo;
        };
        match under.given {
            // With all of them the one before leaves: there is no way back.
            Some(100..) => return todo,
            Some(given) if given == share => return todo,
            Some(_) => {
                under.given = Some(share);
                let told = format!("revision {} takes {} of its requests", under.to, of_all(share));
                todo.push(Do::Shift { share, told });
                return todo;
            }
            None => {}
        }
        let old: Vec<&Seen> = revisions
            .iter()
            .filter(|(number, is_leaving, _)| *number != under.to && !is_leaving)
            .map(|(_, _, seen)| seen)
            .collect();
        // Those that are placed and come up may yet make room, or be enough.
        let (to, is_placed) = (under.to, new.pending == 0 || new.starting > 0);
        under.no_room_since = if is_placed { None } else { under.no_room_since.or(Some(now)) };
        let has_no_room = under.no_room_since.is_some_and(|since| now.since(since) >= NO_ROOM_MS);
        let told = if !old.iter().any(|seen| seen.is_there()) {
            format!("revision {to} takes its requests: the one before has no replicas")
        } else if new.ready >= under.floor.max(1) {
            format!("revision {to} takes {} of its requests: {} ready", of_all(share), new.ready)
        } else if has_no_room {
            format!(
                "there is no room for two revisions: the one before leaves, then revision {to} starts; requests wait meanwhile"
            )
        } else {
            return todo;
        };
        let share = if has_no_room { 100 } else { share };
        under.given = Some(share);
        todo.push(Do::Shift { share, told });
        todo
    }
}

fn of_all(share: u32) -> String {
    if share >= 100 { "all".to_owned() } else { format!("{share} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Seen = Seen { ready: 2, starting: 0, pending: 0, draining: 0, waiting: 0 };
    const NONE: Seen = Seen { ready: 0, starting: 0, pending: 0, draining: 0, waiting: 0 };

    fn rolling() -> Rollouts {
        let mut rollouts = Rollouts::default();
        rollouts.begin("chat", 2, 2);
        rollouts
    }

    fn shares(todo: &[Do]) -> Vec<u32> {
        let share = |one: &Do| match one {
            Do::Shift { share, .. } => Some(*share),
            Do::End(_) => None,
        };
        todo.iter().filter_map(share).collect()
    }

    #[test]
    fn the_new_revision_takes_over_when_it_is_as_ready_as_the_old_one_was() {
        let mut rollouts = rolling();
        assert_eq!((rollouts.floor("chat", 2), rollouts.floor("chat", 1)), (2, 0));
        for (ready, expected) in [(0, vec![]), (1, vec![]), (2, vec![100])] {
            let new = Seen { ready, starting: 2 - ready, ..NONE };
            let todo = rollouts.next(Time(0), "chat", &[(1, false, OLD), (2, false, new)], 100);
            assert_eq!(shares(&todo), expected, "{ready} ready");
        }
        assert_eq!(rollouts.floor("chat", 2), 0, "then its policies decide");
        let new = Seen { ready: 2, ..NONE };
        let again = rollouts.next(Time(9), "chat", &[(1, true, OLD), (2, false, new)], 100);
        assert_eq!(again, [Do::End(1)]);
    }

    #[test]
    fn a_canary_gets_its_share() {
        let new = Seen { ready: 2, ..NONE };
        let todo = rolling().next(Time(0), "chat", &[(1, false, OLD), (2, false, new)], 10);
        assert_eq!(shares(&todo), [10]);
    }

    #[test]
    fn a_canary_is_promoted_or_taken_back_and_once_it_has_all_it_stays() {
        let mut rollouts = rolling();
        let new = Seen { ready: 2, ..NONE };
        let mut at = |share| {
            shares(&rollouts.next(Time(0), "chat", &[(1, false, OLD), (2, false, new)], share))
        };
        let seen = [10, 10, 50, 0, 100, 10].map(&mut at);
        assert_eq!(seen, [vec![10], vec![], vec![50], vec![0], vec![100], vec![]]);
    }

    #[test]
    fn without_room_for_both_the_old_one_leaves_first_even_where_a_canary_was_wanted() {
        let mut rollouts = rolling();
        let new = Seen { pending: 2, ..NONE };
        let mut at =
            |ms| shares(&rollouts.next(Time(ms), "chat", &[(1, false, OLD), (2, false, new)], 10));
        assert_eq!([at(1_000), at(5_999), at(6_000)], [vec![], vec![], vec![100]]);
    }

    #[test]
    fn room_for_a_part_is_not_waited_with_for_ever() {
        let mut rollouts = rolling();
        let new = Seen { ready: 1, pending: 1, ..NONE };
        let mut at =
            |ms| shares(&rollouts.next(Time(ms), "chat", &[(1, false, OLD), (2, false, new)], 100));
        assert_eq!([at(1_000), at(6_000)], [vec![], vec![100]]);
    }

    #[test]
    fn room_that_is_found_late_counts() {
        let mut rollouts = rolling();
        let mut at = |ms, new| {
            shares(&rollouts.next(Time(ms), "chat", &[(1, false, OLD), (2, false, new)], 100))
        };
        assert!(at(0, Seen { pending: 2, ..NONE }).is_empty());
        assert!(at(4_000, Seen { pending: 1, starting: 1, ..NONE }).is_empty());
        assert!(at(9_000, Seen { pending: 2, ..NONE }).is_empty(), "it is counted anew");
    }

    #[test]
    fn nothing_is_waited_for_where_the_old_one_has_no_replicas() {
        let mut rollouts = Rollouts::default();
        rollouts.begin("chat", 2, 0);
        let todo = rollouts.next(Time(0), "chat", &[(1, false, NONE), (2, false, NONE)], 100);
        assert_eq!(shares(&todo), [100]);
    }

    #[test]
    fn a_revision_that_leaves_keeps_its_replicas_for_requests_that_wait_for_it() {
        let mut rollouts = Rollouts::default();
        let waits = Seen { waiting: 1, ..OLD };
        assert!(rollouts.next(Time(0), "chat", &[(1, true, waits)], 100).is_empty());
        assert_eq!(rollouts.next(Time(0), "chat", &[(1, true, OLD)], 100), [Do::End(1)]);
    }
}
