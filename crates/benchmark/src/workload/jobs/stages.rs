//! What does a benchmark ask that cycles through fixed prompts while its rate climbs?
//!
//! The shape of `inference-perf`'s shared prefixes: groups with a common beginning, a few fixed questions in each, all of
//! them again and again in shuffled order, Poisson arrivals whose rate goes up in stages.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use super::{Job, Jobs, Piece, key};
use crate::load::arrivals::{Arrivals, gap_s};
use crate::workload::text;

/// Sizes; lengths in tokens, all exact.
#[derive(Clone, Debug, PartialEq)]
pub struct StagesOptions {
    pub groups: u64,
    pub prompts_per_group: u64,
    pub system_tokens: u32,
    pub question_tokens: u32,
    pub output_tokens: u32,
    /// Arrivals a second and requests of each stage.
    pub stages: Vec<(f64, usize)>,
    pub seed: u64,
}

/// Such a benchmark being given out.
pub struct Stages {
    options: StagesOptions,
    order: Vec<u64>,
    rng: SmallRng,
    at_s: f64,
    given: usize,
}

impl Stages {
    #[must_use]
    pub fn new(options: StagesOptions) -> Self {
        Self {
            rng: text::rng(&[options.seed, 0x7374_6167]),
            order: Vec::new(),
            options,
            at_s: 0.0,
            given: 0,
        }
    }

    fn total(&self) -> usize {
        self.options.stages.iter().map(|stage| stage.1).sum()
    }

    /// The rate of the stage that the next request is in; `None` when all are over.
    fn rate_per_s(&self) -> Option<f64> {
        let mut end = 0;
        self.options.stages.iter().find_map(|(rate, requests)| {
            end += requests;
            (self.given < end).then_some(*rate)
        })
    }
}

impl Jobs for Stages {
    fn next_job(&mut self) -> anyhow::Result<Option<Job>> {
        let Some(rate) = self.rate_per_s() else {
            return Ok(None);
        };
        if self.order.is_empty() {
            let prompts = self.options.groups.max(1) * self.options.prompts_per_group.max(1);
            self.order = (0..prompts).collect();
            self.order.shuffle(&mut self.rng);
        }
        let prompt = self.order.pop().unwrap_or(0);
        let group = prompt % self.options.groups.max(1);
        let seed = self.options.seed;
        let pieces = [
            (key(&[32, seed, group]), self.options.system_tokens),
            (key(&[33, seed, prompt]), self.options.question_tokens),
        ];
        let number = self.given as u64;
        self.given += 1;
        let job = Job {
            at: Duration::from_secs_f64(self.at_s),
            prompt: pieces
                .into_iter()
                .filter(|(_, tokens)| *tokens > 0)
                .map(|(key, tokens)| Piece { key, tokens })
                .collect(),
            output_tokens: self.options.output_tokens.max(1),
            output_key: key(&[34, seed, number]),
            session: key(&[35, prompt]),
        };
        self.at_s += gap_s(Arrivals::Poisson, &mut self.rng) / rate.max(1e-9);
        Ok(Some(job))
    }

    fn progress(&self) -> f64 {
        self.given as f64 / self.total().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_come_round_again_and_stages_speed_up() {
        let mut stages = Stages::new(StagesOptions {
            groups: 10,
            prompts_per_group: 5,
            system_tokens: 64,
            question_tokens: 16,
            output_tokens: 3,
            stages: vec![(10.0, 500), (100.0, 500)],
            seed: 1,
        });
        let jobs: Vec<Job> = std::iter::from_fn(|| stages.next_job().unwrap()).collect();
        assert_eq!(jobs.len(), 1_000);
        let mut counts = std::collections::HashMap::new();
        for job in &jobs {
            *counts.entry(job.prompt.clone()).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 50);
        assert!(counts.values().all(|count| *count == 20));
        let span = |from: usize, to: usize| (jobs[to].at - jobs[from].at).as_secs_f64();
        assert!((40.0..60.0).contains(&span(0, 500)), "{}", span(0, 500));
        assert!((4.0..6.0).contains(&span(500, 999)), "{}", span(500, 999));
    }
}
