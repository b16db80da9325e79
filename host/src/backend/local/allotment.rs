//! Which GPUs of a node which replica has. Pure. The engine counts GPUs; here they get their numbers.

use std::collections::BTreeMap;

/// A whole GPU. Shares are counted in millionths, so that two halves are one.
const WHOLE: u32 = 1_000_000;

/// A replica: its target and its ordinal.
pub type Holder = (String, u32);

/// What a replica takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ask {
    /// So many GPUs for itself.
    Whole(u32),
    /// A share of one GPU, above 0 and below 1.
    Share(f64),
}

/// There is no room for what was asked for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoRoom {
    /// Too few are wholly free.
    #[error("{wanted} GPUs are wanted and {free} of {all} are free")]
    Whole {
        /// GPUs that were asked for.
        wanted: u32,
        /// GPUs of which nobody has a part.
        free: u32,
        /// GPUs that there are.
        all: u32,
    },
    /// None has so large a share left.
    #[error("{share} of a GPU is wanted and no GPU has more than {left} left")]
    Share {
        /// The share that was asked for.
        share: f64,
        /// The largest that is left on any.
        left: f64,
    },
}

/// The GPUs of a node and who has them. Invariant: of no GPU more is given than there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allotment {
    /// What is left of each. Millionths.
    left: Vec<u32>,
    /// Which GPUs each holder has, and how much of each.
    held: BTreeMap<Holder, (Vec<usize>, u32)>,
}

impl Allotment {
    /// So many GPUs, all free.
    pub fn new(gpus: usize) -> Allotment {
        Allotment { left: vec![WHOLE; gpus], held: BTreeMap::new() }
    }

    /// Gives a replica its GPUs: the lowest that are free; for a share, the lowest that is shared already and has room, so that others
    /// stay whole. One that has some keeps those.
    ///
    /// # Errors
    ///
    /// When there is no room; nothing is given then.
    pub fn take(&mut self, holder: &Holder, ask: Ask) -> Result<Vec<usize>, NoRoom> {
        if let Some((gpus, _)) = self.held.get(holder) {
            return Ok(gpus.clone());
        }
        let (gpus, each) = match ask {
            Ask::Whole(wanted) => (self.whole(wanted)?, WHOLE),
            Ask::Share(share) => {
                // Rounded to the nearest, or three thirds would be more than one.
                let millionths = (share * f64::from(WHOLE)).round().clamp(1.0, f64::from(WHOLE));
                let each = millionths as u32;
                (vec![self.shared(share, each)?], each)
            }
        };
        gpus.iter().for_each(|gpu| self.left[*gpu] -= each);
        self.held.insert(holder.clone(), (gpus.clone(), each));
        Ok(gpus)
    }

    fn whole(&self, wanted: u32) -> Result<Vec<usize>, NoRoom> {
        let free = || (0..self.left.len()).filter(|gpu| self.left[*gpu] == WHOLE);
        let gpus: Vec<usize> = free().take(wanted as usize).collect();
        if gpus.len() == wanted as usize {
            return Ok(gpus);
        }
        Err(NoRoom::Whole { wanted, free: free().count() as u32, all: self.left.len() as u32 })
    }

    fn shared(&self, share: f64, each: u32) -> Result<usize, NoRoom> {
        let has_room = |gpu: &usize| self.left[*gpu] >= each;
        let is_shared = |gpu: &usize| self.left[*gpu] < WHOLE && has_room(gpu);
        let all = 0..self.left.len();
        let found = all.clone().find(is_shared).or_else(|| all.clone().find(has_room));
        found.ok_or_else(|| {
            let left = self.left.iter().copied().max().unwrap_or(0);
            NoRoom::Share { share, left: f64::from(left) / f64::from(WHOLE) }
        })
    }

    /// Takes back what a replica has. Whether it had any.
    pub fn give_back(&mut self, holder: &Holder) -> bool {
        let Some((gpus, each)) = self.held.remove(holder) else { return false };
        gpus.iter().for_each(|gpu| self.left[*gpu] += each);
        true
    }

    /// The GPUs of a replica; none where it has none.
    pub fn of(&self, holder: &Holder) -> &[usize] {
        self.held.get(holder).map_or(&[], |(gpus, _)| gpus)
    }

    /// What is left of each GPU, from 0 to 1.
    pub fn left(&self) -> impl Iterator<Item = f64> + '_ {
        self.left.iter().map(|left| f64::from(*left) / f64::from(WHOLE))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holder(replica: u32) -> Holder {
        ("chat".to_owned(), replica)
    }

    #[test]
    fn the_lowest_free_ones_go_first_and_come_back() {
        let mut node = Allotment::new(4);
        assert_eq!(node.take(&holder(0), Ask::Whole(2)), Ok(vec![0, 1]));
        assert_eq!(node.take(&holder(1), Ask::Whole(1)), Ok(vec![2]));
        assert_eq!(
            node.take(&holder(0), Ask::Whole(2)),
            Ok(vec![0, 1]),
            "asking again is the same"
        );
        assert!(node.give_back(&holder(0)) && !node.give_back(&holder(0)));
        assert_eq!(node.take(&holder(2), Ask::Whole(3)), Ok(vec![0, 1, 3]));
        assert_eq!(node.take(&holder(3), Ask::Whole(0)), Ok(vec![]));
        let refused = node.take(&holder(4), Ask::Whole(2)).expect_err("it is full");
        assert_eq!(refused.to_string(), "2 GPUs are wanted and 0 of 4 are free");
    }

    #[test]
    fn shares_fill_one_gpu_before_the_next_and_never_touch_a_whole_one() {
        let mut node = Allotment::new(3);
        assert_eq!(node.take(&holder(0), Ask::Whole(1)), Ok(vec![0]));
        for (replica, share, gpu) in
            [(1, 0.5, 1), (2, 0.25, 1), (3, 0.5, 2), (4, 0.25, 1), (5, 0.5, 2)]
        {
            assert_eq!(node.take(&holder(replica), Ask::Share(share)), Ok(vec![gpu]), "{replica}");
        }
        let refused = node.take(&holder(6), Ask::Share(0.1)).expect_err("it is full");
        assert_eq!(refused.to_string(), "0.1 of a GPU is wanted and no GPU has more than 0 left");
        let mut thirds = Allotment::new(1);
        for replica in 0..3 {
            assert_eq!(thirds.take(&holder(replica), Ask::Share(1.0 / 3.0)), Ok(vec![0]));
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take(u32, Ask),
        Back(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let ask = prop_oneof![
            (0u32..4).prop_map(Ask::Whole),
            (0.01f64..0.99).prop_map(Ask::Share),
            prop::sample::select(vec![0.25, 0.5, 1.0 / 3.0]).prop_map(Ask::Share),
        ];
        prop_oneof![
            3 => (0u32..12, ask).prop_map(|(replica, ask)| Step::Take(replica, ask)),
            2 => (0u32..12).prop_map(Step::Back),
        ]
    }

    proptest! {
        #[test]
        fn no_gpu_is_over_committed_and_all_come_back(gpus in 0usize..6, steps in prop::collection::vec(step(), 0..80)) {
            let mut node = Allotment::new(gpus);
            let mut asked: BTreeMap<u32, (Vec<usize>, Ask)> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Take(replica, ask) => {
                        let taken = node.take(&holder(replica), ask);
                        if let (Ok(taken), false) = (taken, asked.contains_key(&replica)) {
                            asked.insert(replica, (taken, ask));
                        }
                    }
                    Step::Back(replica) => {
                        prop_assert_eq!(node.give_back(&holder(replica)), asked.remove(&replica).is_some());
                    }
                }
                for gpu in 0..gpus {
                    let holders = asked.values().filter(|(taken, _)| taken.contains(&gpu));
                    let (mut wholes, mut shares) = (0, 0.0);
                    for (_, ask) in holders {
                        match ask {
                            Ask::Whole(_) => wholes += 1,
                            Ask::Share(share) => shares += share,
                        }
                    }
                    prop_assert!(wholes <= 1 && (wholes == 0 || shares == 0.0), "{} and {}", wholes, shares);
                    prop_assert!(shares < 1.0 + 1e-5, "{}", shares);
                }
            }
            for replica in 0..12 {
                node.give_back(&holder(replica));
            }
            prop_assert_eq!(node, Allotment::new(gpus));
        }
    }
}
