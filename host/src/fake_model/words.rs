//! Made-up text: a token is a word, and the words of an answer hang on the prompt and the seed alone.

/// The first word of every answer.
const LABEL: &str = "[fake]";

/// None of them needs escaping in JSON.
const WORDS: [&str; 64] = [
    "tide", "gate", "water", "harbour", "moon", "shore", "current", "boat", "salt", "wave", "sand",
    "wind", "rope", "anchor", "lock", "river", "pilot", "buoy", "chart", "storm", "calm", "deep",
    "shallow", "north", "south", "east", "west", "early", "late", "slow", "swift", "rises",
    "falls", "turns", "waits", "opens", "closes", "carries", "holds", "lets", "and", "or", "the",
    "a", "of", "to", "in", "with", "under", "over", "after", "before", "until", "while", "every",
    "no", "one", "two", "many", "few", "old", "new", "grey", "bright",
];

/// The text of one answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    from: u64,
}

impl Text {
    pub(super) fn new(seed: &str, prompt: &str) -> Text {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in seed.bytes().chain([0]).chain(prompt.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Text { from: hash }
    }

    /// The word at `nth`, with the blank before it.
    pub(super) fn word(self, nth: u32) -> (&'static str, &'static str) {
        if nth == 0 { ("", LABEL) } else { (" ", WORDS[self.drawn(nth)]) }
    }

    /// The first `count` words.
    pub(super) fn whole(self, count: u32) -> String {
        let mut text = String::with_capacity(count as usize * 6);
        for nth in 0..count {
            let (blank, word) = self.word(nth);
            text.push_str(blank);
            text.push_str(word);
        }
        text
    }

    /// Sebastiano Vigna's splitmix64, cut to the list's length.
    fn drawn(self, nth: u32) -> usize {
        let mut x = self.from.wrapping_add(u64::from(nth).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % WORDS.len() as u64) as usize
    }
}

/// Tokens of a prompt: its words, at least one.
pub(super) fn tokens(prompt: &str) -> u32 {
    u32::try_from(prompt.split_ascii_whitespace().count()).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_hangs_on_prompt_and_seed_and_says_that_it_is_fake() {
        let text = |seed, prompt| Text::new(seed, prompt).whole(8);
        assert_eq!(text("tide", "hello"), text("tide", "hello"));
        assert_ne!(text("tide", "hello"), text("tide", "hello!"));
        assert_ne!(text("tide", "hello"), text("ebb", "hello"));
        assert!(text("tide", "hello").starts_with("[fake] "));
        assert_eq!(text("tide", "hello").split(' ').count(), 8);
    }
}
