//! Which revision of a service takes the next request.

/// Shares requests out by weight, evenly over time: with weights 5, 1 and 1 the order is a a b a c a a. The rule is nginx's smooth
/// weighted round robin. Equal calls give equal picks.
///
/// ```
/// # use tidegate::gateway::Split;
/// let mut split = Split::new(vec![3, 1]);
/// let picked: Vec<_> = (0..4).map_while(|_| split.pick()).collect();
/// assert_eq!(picked, [0, 0, 1, 0]);
/// ```
#[derive(Clone, Debug)]
pub struct Split {
    weights: Vec<u32>,
    /// What each has saved up. Their sum is zero after every pick.
    saved: Vec<i64>,
}

impl Split {
    /// Shares by these weights. One with weight 0 takes nothing.
    pub fn new(weights: Vec<u32>) -> Split {
        Split { saved: vec![0; weights.len()], weights }
    }

    /// Whose turn it is; `None` when nobody has any weight.
    pub fn pick(&mut self) -> Option<usize> {
        let total: i64 = self.weights.iter().map(|weight| i64::from(*weight)).sum();
        let mut best: Option<usize> = None;
        for (at, &weight) in self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
            self.saved[at] += i64::from(weight);
            if best.is_none_or(|best| self.saved[at] > self.saved[best]) {
                best = Some(at);
            }
        }
        self.saved[best?] -= total;
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_shared_by_weight_and_evenly_over_time() {
        let cases: [(&[u32], &str); 5] = [
            (&[5, 1, 1], "aabacaaaabacaa"),
            (&[1, 1], "ababab"),
            (&[0, 2], "bbb"),
            (&[7], "aaa"),
            (&[90, 10], "aaaaabaaaaaaaaabaaaa"),
        ];
        for (weights, expected) in cases {
            let mut split = Split::new(weights.to_vec());
            let picked: String = (0..expected.len())
                .map(|_| split.pick().expect("one has weight"))
                .map(|at| char::from(b'a' + at as u8))
                .collect();
            assert_eq!(picked, expected, "{weights:?}");
        }
        assert_eq!(Split::new(vec![0, 0]).pick(), None);
        assert_eq!(Split::new(vec![]).pick(), None);
    }
}
