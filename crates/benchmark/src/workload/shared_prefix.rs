//! Groups of prompts with a common prefix, asked once or in conversations: which group asks what, and what could a
//! perfect cache save?

use rand::seq::SliceRandom;
use serde_json::{Value, json};

use super::jobs::{Piece, key};
use super::{Body, Prompted, Workload, text};
use crate::report::bound::{self, Part, Prompt};

/// What tells the keys of prefixes, questions and answers apart.
const PREFIX: u64 = 1;
const QUESTION: u64 = 2;
const ANSWER: u64 = 3;
/// What an engine really answers, of which nothing is asked again.
const OWN_ANSWER: u64 = 4;

/// Fewest conversations that take turns.
const MIN_AT_ONCE: usize = 16;

/// The size of the workload. Lengths in tokens.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Shape {
    pub groups: u32,
    pub prefix_tokens: u32,
    pub question_tokens: u32,
    pub output_tokens: u32,
    pub requests: usize,
    /// Questions of one conversation; 1 asks every question by itself. Each turn's prompt holds all before it, with
    /// answers of `output_tokens` made up beforehand, so that every arm of a comparison sends the same bytes.
    pub turns: u32,
    pub seed: u64,
    /// Tells runs over the same prefixes apart: their questions and their order.
    pub run: u64,
}

/// How a prompt is written.
#[derive(Clone, Copy, Debug)]
pub enum PromptForm {
    /// Words, as many as make the wanted tokens by the server's own count.
    Words { tokens_per_word: f64 },
    /// Token ids below this vocabulary size: exact lengths.
    TokenIds { vocabulary: u32 },
}

/// One request's place.
#[derive(Clone, Copy, Debug)]
struct Place {
    group: u32,
    conversation: u64,
    /// 0-based.
    turn: u32,
}

/// The requests: groups in turn, then shuffled, so that each group has its share and none comes in a row; of
/// conversations, many take turns, so that no question comes right behind the one before it.
#[derive(Clone, Debug)]
pub struct SharedPrefix {
    shape: Shape,
    form: PromptForm,
    model: String,
    ignore_eos: bool,
    order: Vec<Place>,
}

impl SharedPrefix {
    pub fn new(shape: Shape, form: PromptForm, model: &str, ignore_eos: bool) -> Self {
        let order = if shape.turns > 1 {
            conversations(&shape)
        } else {
            singles(&shape)
        };
        Self {
            shape,
            form,
            model: model.to_owned(),
            ignore_eos,
            order,
        }
    }

    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The hit rate of one unbounded cache that computes each prefix once: tokens found over tokens asked,
    /// with blocks of `block_size_tokens`.
    pub fn ideal_hit_rate(&self, block_size_tokens: u32) -> f64 {
        bound::unbounded(&self.prompts(block_size_tokens), 0, block_size_tokens)
    }

    /// Every prompt's blocks, in order of sending.
    pub fn prompts(&self, block_size_tokens: u32) -> Vec<Prompt> {
        (self.order.iter())
            .map(|place| Prompt::of(&self.parts(*place), block_size_tokens))
            .collect()
    }

    /// What the prompt is made of: the prefix, then questions and answers by turns.
    fn parts(&self, place: Place) -> Vec<Part> {
        let shape = &self.shape;
        let key = |what: u64, turn: u32| {
            let parts = self.key(place, what, turn);
            parts.iter().fold(what, |state, part| {
                state.wrapping_mul(0x0000_0100_0000_01b3) ^ part
            })
        };
        let mut parts = vec![(key(PREFIX, 0), shape.prefix_tokens)];
        for turn in 0..=place.turn {
            parts.push((key(QUESTION, turn), shape.question_tokens));
            if turn < place.turn {
                parts.push((key(ANSWER, turn), shape.output_tokens));
            }
        }
        parts
    }

    /// What fixes the text of one part.
    fn key(&self, place: Place, what: u64, turn: u32) -> Vec<u64> {
        let shape = &self.shape;
        if what == PREFIX {
            return vec![shape.seed, PREFIX, u64::from(place.group)];
        }
        let mut key = vec![shape.seed, what, place.conversation];
        if shape.turns > 1 {
            key.push(u64::from(turn));
        }
        if shape.run > 0 {
            key.push(shape.run);
        }
        key
    }

    /// The prompt in runs of tokens, and the key of its answer: made up for each request, as no later turn holds it.
    pub fn pieces(&self, index: usize) -> (Vec<Piece>, u64) {
        let place = self.order[index];
        let parts = self.parts(place).into_iter();
        let pieces = parts.map(|(key, tokens)| Piece { key, tokens }).collect();
        (
            pieces,
            key(&[self.shape.seed, self.shape.run, index as u64, OWN_ANSWER]),
        )
    }

    /// Which prefix a request has.
    pub fn group(&self, index: usize) -> u32 {
        self.order[index].group
    }

    /// Which conversation it belongs to.
    pub fn conversation(&self, index: usize) -> u64 {
        self.order[index].conversation
    }

    fn prompt(&self, place: Place) -> Value {
        let mut words = Vec::new();
        let mut ids = Vec::new();
        let mut part = |what: u64, turn: u32, tokens: u32| {
            let mut rng = text::rng(&self.key(place, what, turn));
            match self.form {
                PromptForm::Words { tokens_per_word } => {
                    let count = (f64::from(tokens) / tokens_per_word).round() as usize;
                    words.push(text::words(&mut rng, count));
                }
                PromptForm::TokenIds { vocabulary } => {
                    ids.extend(text::token_ids(&mut rng, tokens as usize, vocabulary));
                }
            }
        };
        part(PREFIX, 0, self.shape.prefix_tokens);
        for turn in 0..=place.turn {
            part(QUESTION, turn, self.shape.question_tokens);
            if turn < place.turn {
                part(ANSWER, turn, self.shape.output_tokens);
            }
        }
        match self.form {
            PromptForm::Words { .. } => json!(words.join(" ")),
            PromptForm::TokenIds { .. } => json!(ids),
        }
    }
}

fn singles(shape: &Shape) -> Vec<Place> {
    let groups = shape.groups.max(1) as usize;
    let mut order: Vec<u32> = (0..shape.requests)
        .map(|index| (index % groups) as u32)
        .collect();
    order.shuffle(&mut text::rng(&[shape.seed, shape.run]));
    let place = |(index, group): (usize, u32)| Place {
        group,
        conversation: index as u64,
        turn: 0,
    };
    order.into_iter().enumerate().map(place).collect()
}

/// Rounds: each of the conversations at once asks its next question, in an order of its own; those at their end make
/// room for new ones.
fn conversations(shape: &Shape) -> Vec<Place> {
    let groups = u64::from(shape.groups.max(1));
    let at_once = (groups as usize).max(MIN_AT_ONCE);
    let mut rng = text::rng(&[shape.seed, shape.run]);
    let mut next = 0_u64;
    let mut begin = |turn: u32| {
        let place = Place {
            group: (next % groups) as u32,
            conversation: next,
            turn,
        };
        next += 1;
        place
    };
    // Lengths differ at the start, so that conversations do not all end in one round.
    let mut open: Vec<Place> = (0..at_once)
        .map(|index| begin(index as u32 % shape.turns))
        .collect();
    let mut order = Vec::with_capacity(shape.requests);
    while order.len() < shape.requests {
        open.shuffle(&mut rng);
        order.extend(open.iter().copied());
        for place in &mut open {
            place.turn += 1;
            if place.turn >= shape.turns {
                *place = begin(0);
            }
        }
    }
    order.truncate(shape.requests);
    order
}

impl Workload for SharedPrefix {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn prompted(&self, index: usize) -> Prompted {
        let place = self.order[index];
        let body = Body {
            model: &self.model,
            prompt: self.prompt(place),
            max_tokens: self.shape.output_tokens,
            ignore_eos: self.ignore_eos,
        };
        Prompted {
            path: "/v1/completions",
            body: body.streamed(),
            group: place.group,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(requests: usize, groups: u32, seed: u64, form: PromptForm) -> SharedPrefix {
        let shape = Shape {
            groups,
            prefix_tokens: 96,
            question_tokens: 20,
            output_tokens: 8,
            requests,
            turns: 1,
            seed,
            run: 0,
        };
        SharedPrefix::new(shape, form, "m", true)
    }

    fn ids(workload: &SharedPrefix, index: usize) -> Vec<u64> {
        let body: Value = serde_json::from_slice(&workload.prompted(index).body).unwrap();
        body["prompt"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap())
            .collect()
    }

    const IDS: PromptForm = PromptForm::TokenIds { vocabulary: 20_000 };

    #[test]
    fn a_group_shares_exactly_its_prefix() {
        let workload = workload(12, 3, 1, IDS);
        for (a, b) in (0..12).flat_map(|a| (a + 1..12).map(move |b| (a, b))) {
            let same_group = workload.prompted(a).group == workload.prompted(b).group;
            let (x, y) = (ids(&workload, a), ids(&workload, b));
            let common = x.iter().zip(&y).take_while(|(x, y)| x == y).count();
            assert_eq!(x.len(), 116);
            assert_eq!(common >= 96, same_group, "{a} and {b} share {common}");
            assert!(common < 100, "questions differ");
        }
    }

    #[test]
    fn every_group_has_its_share_in_mixed_order() {
        let workload = workload(30, 3, 5, IDS);
        let groups: Vec<u32> = (0..30)
            .map(|index| workload.prompted(index).group)
            .collect();
        for group in 0..3 {
            assert_eq!(groups.iter().filter(|seen| **seen == group).count(), 10);
        }
        assert_ne!(groups, (0..30).map(|index| index % 3).collect::<Vec<u32>>());
    }

    #[test]
    fn a_seed_fixes_the_bytes_and_another_shares_nothing() {
        let words = PromptForm::Words {
            tokens_per_word: 1.3,
        };
        let body = |seed| workload(9, 3, seed, words).prompted(4).body;
        assert_eq!(body(1), body(1));
        assert_ne!(body(1), body(2));
        let (a, b) = (
            ids(&workload(9, 3, 1, IDS), 0),
            ids(&workload(9, 3, 2, IDS), 0),
        );
        assert_ne!(a[..8], b[..8]);
    }

    #[test]
    fn the_ideal_counts_each_prefix_once_and_whole_blocks() {
        // 116 tokens asked each, 96 of them whole blocks of 16; the first of each of three groups saves nothing.
        let near = |seen: f64, expected: f64| {
            assert!((seen - expected).abs() < 1e-12, "{seen} {expected}")
        };
        near(
            workload(30, 3, 1, IDS).ideal_hit_rate(16),
            27.0 * 96.0 / (30.0 * 116.0),
        );
        near(
            workload(30, 3, 1, IDS).ideal_hit_rate(64),
            27.0 * 64.0 / (30.0 * 116.0),
        );
        near(workload(2, 3, 1, IDS).ideal_hit_rate(16), 0.0);
        near(workload(0, 3, 1, IDS).ideal_hit_rate(16), 0.0);
    }

    #[test]
    fn a_turn_holds_every_turn_before_it() {
        let shape = Shape {
            groups: 2,
            prefix_tokens: 32,
            question_tokens: 16,
            output_tokens: 16,
            requests: 96,
            turns: 3,
            seed: 4,
            run: 0,
        };
        let workload = SharedPrefix::new(shape, IDS, "m", true);
        let mut last: std::collections::HashMap<u64, Vec<u64>> = Default::default();
        let mut continued = 0;
        for index in 0..96 {
            let (place, ids) = (workload.order[index], ids(&workload, index));
            assert_eq!(ids.len(), 32 + 16 + place.turn as usize * 32);
            if let Some(before) = last.get(&place.conversation) {
                assert_eq!(ids[..before.len()], before[..]);
                continued += 1;
            }
            last.insert(place.conversation, ids);
        }
        assert!(continued > 40, "{continued}");
        let next_to_itself = (workload.order.windows(2))
            .filter(|pair| pair[0].conversation == pair[1].conversation)
            .count();
        assert!(next_to_itself <= 5, "{next_to_itself}");
    }

    #[test]
    fn another_run_keeps_the_prefixes_and_changes_the_questions() {
        let run = |run| {
            let shape = Shape {
                groups: 1,
                run,
                ..workload(1, 1, 5, IDS).shape()
            };
            ids(&SharedPrefix::new(shape, IDS, "m", true), 0)
        };
        let (a, b) = (run(0), run(1));
        assert_eq!(a[..96], b[..96]);
        assert_ne!(a[96..], b[96..]);
    }
}
