//! The pods of a scenario's world: when each is ready. Kept in runs, so that a million cost no more than one.

/// Pods in order of creation, those of a run all ready at the same second.
#[derive(Debug, Default)]
pub(super) struct Pods {
    runs: Vec<Run>,
}

#[derive(Debug)]
struct Run {
    ready_s: u64,
    count: u32,
}

impl Pods {
    /// How many there are, ready or not.
    pub(super) fn all(&self) -> u32 {
        self.runs.iter().map(|run| run.count).sum()
    }

    /// How many are ready at second `t`.
    pub(super) fn ready(&self, t: u64) -> u32 {
        self.runs.iter().filter(|run| run.ready_s <= t).map(|run| run.count).sum()
    }

    /// Makes those that are missing to `wanted`, ready at `ready_s`.
    pub(super) fn grow(&mut self, wanted: u32, ready_s: u64) {
        let count = wanted.saturating_sub(self.all());
        if count > 0 {
            self.runs.push(Run { ready_s, count });
        }
    }

    /// Ends those beyond `wanted`; those that would be ready last go first, the youngest among equals.
    pub(super) fn shrink_by_ready_time(&mut self, wanted: u32) {
        self.shrink(wanted, |runs| {
            (0..runs.len()).max_by_key(|at| (runs[*at].ready_s, *at)).unwrap_or(0)
        });
    }

    /// Ends those beyond `wanted`; those that are not ready at second `t` go first, then the youngest.
    pub(super) fn shrink_by_age(&mut self, wanted: u32, t: u64) {
        self.shrink(wanted, |runs| {
            runs.iter().rposition(|run| run.ready_s > t).unwrap_or(runs.len() - 1)
        });
    }

    /// Those that would be ready at second `t` are not.
    pub(super) fn delay(&mut self, t: u64) {
        for run in self.runs.iter_mut().filter(|run| run.ready_s == t) {
            run.ready_s += 1;
        }
    }

    fn shrink(&mut self, wanted: u32, next: impl Fn(&[Run]) -> usize) {
        let mut over = self.all().saturating_sub(wanted);
        while over > 0 {
            let at = next(&self.runs);
            let gone = over.min(self.runs[at].count);
            self.runs[at].count -= gone;
            over -= gone;
            if self.runs[at].count == 0 {
                self.runs.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_first_is_the_worlds_rule() {
        let world = || {
            let mut pods = Pods::default();
            pods.grow(2, 1);
            pods.grow(5, 9);
            pods.grow(6, 4);
            pods
        };
        let mut pods = world();
        assert_eq!((pods.all(), pods.ready(3), pods.ready(4)), (6, 2, 3));
        pods.shrink_by_ready_time(2);
        assert_eq!((pods.all(), pods.ready(1)), (2, 2));
        let mut pods = world();
        pods.shrink_by_age(3, 5);
        assert_eq!((pods.all(), pods.ready(5)), (3, 3), "the unready ones went");
        pods.shrink_by_age(2, 5);
        assert_eq!(pods.ready(3), 2, "then the youngest");
        let mut pods = world();
        pods.delay(4);
        assert_eq!((pods.ready(4), pods.ready(5)), (2, 3));
    }
}
