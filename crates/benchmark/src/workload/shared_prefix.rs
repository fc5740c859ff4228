//! Groups of prompts with a common prefix: which group asks what, and what could a perfect cache save?

use rand::seq::SliceRandom;
use serde_json::{Value, json};

use super::{Body, Prompted, Workload, text};

/// The size of the workload. Lengths in tokens.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Shape {
    pub groups: u32,
    pub prefix_tokens: u32,
    pub question_tokens: u32,
    pub output_tokens: u32,
    pub requests: usize,
    pub seed: u64,
}

/// How a prompt is written.
#[derive(Clone, Copy, Debug)]
pub enum PromptForm {
    /// Words, as many as make the wanted tokens by the server's own count.
    Words { tokens_per_word: f64 },
    /// Token ids below this vocabulary size: exact lengths.
    TokenIds { vocabulary: u32 },
}

/// The requests: groups in turn, then shuffled, so that each group has its share and none comes in a row.
#[derive(Clone, Debug)]
pub struct SharedPrefix {
    shape: Shape,
    form: PromptForm,
    model: String,
    ignore_eos: bool,
    order: Vec<u32>,
}

impl SharedPrefix {
    pub fn new(shape: Shape, form: PromptForm, model: &str, ignore_eos: bool) -> Self {
        let groups = shape.groups.max(1) as usize;
        let mut order: Vec<u32> = (0..shape.requests)
            .map(|index| (index % groups) as u32)
            .collect();
        order.shuffle(&mut text::rng(&[shape.seed, 0]));
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
        let shape = &self.shape;
        let block = block_size_tokens.max(1);
        let prompt = u64::from(shape.prefix_tokens) + u64::from(shape.question_tokens);
        // At least one token is always computed, so a prompt that is all prefix saves one block less.
        let reusable = u64::from(shape.prefix_tokens).min(prompt.saturating_sub(1));
        let saved = reusable / u64::from(block) * u64::from(block);
        let first = (shape.groups.max(1) as usize).min(shape.requests);
        let asked = shape.requests as u64 * prompt;
        if asked == 0 {
            0.0
        } else {
            ((shape.requests - first) as u64 * saved) as f64 / asked as f64
        }
    }

    fn prompt(&self, index: usize, group: u32) -> Value {
        let mut prefix = text::rng(&[self.shape.seed, 1, u64::from(group)]);
        let mut question = text::rng(&[self.shape.seed, 2, index as u64]);
        let (prefix_tokens, question_tokens) =
            (self.shape.prefix_tokens, self.shape.question_tokens);
        match self.form {
            PromptForm::Words { tokens_per_word } => {
                let count = |tokens: u32| (f64::from(tokens) / tokens_per_word).round() as usize;
                let mut prompt = text::words(&mut prefix, count(prefix_tokens));
                prompt.push(' ');
                prompt.push_str(&text::words(&mut question, count(question_tokens)));
                json!(prompt)
            }
            PromptForm::TokenIds { vocabulary } => {
                let mut ids = text::token_ids(&mut prefix, prefix_tokens as usize, vocabulary);
                ids.extend(text::token_ids(
                    &mut question,
                    question_tokens as usize,
                    vocabulary,
                ));
                json!(ids)
            }
        }
    }
}

impl Workload for SharedPrefix {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn prompted(&self, index: usize) -> Prompted {
        let group = self.order[index];
        let body = Body {
            model: &self.model,
            prompt: self.prompt(index, group),
            max_tokens: self.shape.output_tokens,
            ignore_eos: self.ignore_eos,
        };
        Prompted {
            path: "/v1/completions",
            body: body.streamed(),
            group,
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
            seed,
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
}
