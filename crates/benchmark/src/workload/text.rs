//! Which words, deterministically?

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Common words: one token each, with the space before, in most vocabularies.
const WORDS: &[&str] = &[
    "about", "above", "across", "after", "again", "air", "all", "along", "also", "always", "and",
    "animal", "answer", "area", "ask", "away", "back", "base", "because", "become", "before",
    "began", "best", "better", "between", "big", "bird", "black", "blue", "boat", "body", "book",
    "both", "bring", "build", "call", "came", "car", "care", "carry", "cause", "change", "check",
    "city", "class", "clear", "close", "cold", "color", "come", "common", "complete", "contain",
    "could", "country", "course", "cover", "cross", "dark", "day", "deep", "differ", "direct",
    "door", "down", "draw", "drive", "dry", "during", "early", "earth", "ease", "east", "end",
    "enough", "even", "ever", "every", "example", "eye", "face", "fact", "fall", "far", "farm",
    "fast", "feel", "few", "field", "figure", "final", "find", "fire", "first", "five", "fly",
    "follow", "food", "force", "form", "found", "four", "free", "friend", "front", "full", "game",
    "gave", "general", "give", "gold", "good", "great", "green", "ground", "group", "grow", "half",
    "hand", "happen", "hard", "head", "hear", "heat", "help", "here", "high", "hold", "home",
    "horse", "hot", "hour", "house", "hundred", "idea", "inch", "island", "just", "keep", "kind",
    "king", "knew", "know", "land", "language", "large", "last", "late", "lead", "learn", "leave",
    "left", "less", "letter", "life", "light", "line", "list", "listen", "little", "live", "long",
    "look", "love", "low", "machine", "main", "make", "many", "map", "mark", "matter", "mean",
    "measure", "might", "mile", "mind", "minute", "miss", "money", "moon", "more", "morning",
    "most", "mountain", "move", "much", "music", "name", "near", "need", "never", "new", "next",
    "night", "north", "note", "nothing", "notice", "number", "object", "off", "often", "old",
    "once", "only", "open", "order", "other", "over", "own", "page", "paper", "part", "pass",
    "pattern", "people", "perhaps", "person", "picture", "piece", "place", "plain", "plan",
    "plane", "plant", "play", "point", "port", "possible", "power", "press", "problem", "produce",
    "product", "pull", "question", "quick", "rain", "reach", "read", "ready", "real", "record",
    "red", "rest", "right", "river", "road", "rock", "room", "round", "rule", "run", "same",
    "school", "science", "sea", "second", "seem", "sentence", "serve", "set", "several", "shape",
    "ship", "short", "should", "show", "side", "simple", "since", "six", "size", "sleep", "slow",
    "small", "snow", "some", "song", "soon", "sound", "south", "special", "stand", "star", "start",
    "state", "stay", "step", "still", "stop", "story", "street", "strong", "study", "such", "sun",
    "sure", "surface", "system", "table", "take", "talk", "teach", "tell", "ten", "test", "than",
    "then", "there", "thing", "think", "those", "thought", "thousand", "three", "through", "time",
    "together", "told", "took", "top", "toward", "town", "travel", "tree", "true", "turn", "under",
    "unit", "until", "usual", "very", "voice", "walk", "wall", "war", "warm", "watch", "water",
    "wave", "week", "weight", "west", "wheel", "where", "which", "while", "white", "whole", "wind",
    "wonder", "wood", "word", "work", "world", "write", "year", "young",
];

/// A generator fixed by `parts`: seed, then whatever tells this use from others.
pub fn rng(parts: &[u64]) -> SmallRng {
    // splitmix64 over the parts, so that neighbouring seeds have nothing in common
    let mixed = parts.iter().fold(0x9e37_79b9_7f4a_7c15_u64, |state, part| {
        let mut z = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    });
    SmallRng::seed_from_u64(mixed)
}

/// A seed that no earlier run used, from the operating system's randomness; 32 bits, so that every JSON reader
/// keeps it exact.
pub fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish() >> 32
}

/// `count` words with a space before each but the first.
pub fn words(rng: &mut SmallRng, count: usize) -> String {
    let mut text = String::with_capacity(count * 6);
    for index in 0..count {
        if index > 0 {
            text.push(' ');
        }
        text.push_str(WORDS[rng.random_range(0..WORDS.len())]);
    }
    text
}

/// `count` token ids below `vocabulary`, above the range where special tokens of small vocabularies sit.
pub fn token_ids(rng: &mut SmallRng, count: usize, vocabulary: u32) -> Vec<u32> {
    let low = (vocabulary / 20).min(1000);
    (0..count)
        .map(|_| rng.random_range(low..vocabulary.max(low + 1)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fix_the_text() {
        let text = |parts: &[u64]| words(&mut rng(parts), 40);
        assert_eq!(text(&[1, 2]), text(&[1, 2]));
        assert_ne!(text(&[1, 2]), text(&[2, 1]));
        assert_eq!(text(&[1]).split(' ').count(), 40);
    }

    #[test]
    fn token_ids_stay_in_range() {
        for vocabulary in [1, 50, 2_000, 150_000] {
            let ids = token_ids(&mut rng(&[3]), 500, vocabulary);
            assert!(ids.iter().all(|id| *id < vocabulary.max(1)), "{vocabulary}");
        }
    }
}
