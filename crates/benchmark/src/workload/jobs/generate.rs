//! Which made-up workloads are there? Each in a few lines of what its prompts share.

mod shapes;

use std::time::Duration;

use clap::ValueEnum;
use rand::Rng;
use rand::rngs::SmallRng;

use super::{Job, Jobs};
use crate::load::arrivals::{Arrivals, gap_s};
use crate::workload::text;
use shapes::Shape;

/// A made-up workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Groups of prompts with a common beginning, groups shuffled.
    SharedPrefix,
    /// Conversations: each turn holds all turns before it, answers included.
    Chat,
    /// Loops of an assistant with tools: long common instructions, many quick turns that each add a little.
    Agent,
    /// Questions over documents picked by popularity, several in a prompt, in changing order.
    Rag,
    /// Prompts that share nothing.
    Distinct,
    /// Nearly everything begins with the same long prompt.
    HotPrefix,
    /// Shared prefixes whose requests come in bursts of one group.
    Bursts,
}

impl Kind {
    /// The word on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SharedPrefix => "shared-prefix",
            Self::Chat => "chat",
            Self::Agent => "agent",
            Self::Rag => "rag",
            Self::Distinct => "distinct",
            Self::HotPrefix => "hot-prefix",
            Self::Bursts => "bursts",
        }
    }
}

/// Sizes of a made-up workload. Lengths in tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenerateOptions {
    pub kind: Kind,
    pub requests: usize,
    /// Requests follow from the rate: enough for so many seconds.
    pub seconds: Option<f64>,
    /// Arrivals a second, on average.
    pub rate_per_s: f64,
    pub groups: u32,
    pub prefix_tokens: u32,
    pub question_tokens: u32,
    pub output_tokens: u32,
    /// Turns of a conversation, on average.
    pub turns: u32,
    /// Time between the end of a turn and the next, on average.
    pub think: Duration,
    pub seed: u64,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            kind: Kind::SharedPrefix,
            requests: 2_000,
            seconds: None,
            rate_per_s: 10.0,
            groups: 128,
            prefix_tokens: 1_536,
            question_tokens: 256,
            output_tokens: 128,
            turns: 6,
            think: Duration::from_secs(8),
            seed: 0,
        }
    }
}

/// Fewest and most requests of a workload that is as long as it takes.
const FEWEST: f64 = 1_000.0;
const MOST: f64 = 200_000.0;

impl GenerateOptions {
    /// At this rate, and as many requests as fit where a time was given.
    #[must_use]
    pub fn at_rate(self, rate_per_s: f64) -> Self {
        let fitting = |seconds: f64| (rate_per_s * seconds).clamp(FEWEST, MOST) as usize;
        Self {
            requests: self.seconds.map_or(self.requests, fitting),
            rate_per_s,
            ..self
        }
    }
}

/// A made-up workload being given out.
pub struct Generated {
    options: GenerateOptions,
    shape: Box<dyn Shape>,
    rng: SmallRng,
    at_s: f64,
    given: usize,
}

impl Generated {
    /// Poisson arrivals of this workload; the same options give the same jobs.
    #[must_use]
    pub fn new(options: GenerateOptions) -> Self {
        Self {
            shape: shapes::of(&options),
            rng: text::rng(&[options.seed, 0x6765_6e00]),
            options,
            at_s: 0.0,
            given: 0,
        }
    }
}

impl Jobs for Generated {
    fn next_job(&mut self) -> anyhow::Result<Option<Job>> {
        if self.given >= self.options.requests {
            return Ok(None);
        }
        // What waits in the shape (later turns) comes at its own time; new starts come by Poisson.
        let rate = self.options.rate_per_s / self.shape.requests_per_start();
        loop {
            match self.shape.waiting_at_s() {
                Some(at_s) if at_s <= self.at_s => break,
                _ => {
                    self.shape.start(self.at_s, &mut self.rng);
                    self.at_s += gap_s(Arrivals::Poisson, &mut self.rng) / rate.max(1e-9);
                }
            }
        }
        let job = self.shape.take(&mut self.rng);
        self.given += usize::from(job.is_some());
        Ok(job)
    }

    fn progress(&self) -> f64 {
        self.given as f64 / self.options.requests.max(1) as f64
    }
}

/// A length near `mean`: half to one and a half of it, even.
fn about(mean: u32, rng: &mut SmallRng) -> u32 {
    let half = mean / 2;
    (mean - half + rng.random_range(0..=2 * half)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(options: GenerateOptions) -> Vec<Job> {
        let mut jobs = Generated::new(options);
        std::iter::from_fn(|| jobs.next_job().unwrap()).collect()
    }

    #[test]
    fn every_kind_keeps_order_count_and_rate() {
        for kind in Kind::value_variants() {
            let options = GenerateOptions {
                kind: *kind,
                requests: 3_000,
                rate_per_s: 20.0,
                think: Duration::from_secs(1),
                seed: 3,
                ..GenerateOptions::default()
            };
            let seen = jobs(options);
            assert_eq!(seen.len(), 3_000, "{kind:?}");
            assert!(
                seen.windows(2).all(|pair| pair[0].at <= pair[1].at),
                "{kind:?}"
            );
            let span = seen[2_999].at.as_secs_f64();
            assert!(
                (100.0..250.0).contains(&span),
                "{kind:?} took {span} s for 150 s of arrivals"
            );
            assert!(
                seen.iter()
                    .all(|job| job.prompt_tokens() > 0 && job.output_tokens > 0)
            );
            assert_eq!(seen, jobs(options), "{kind:?} is not repeatable");
        }
    }

    #[test]
    fn a_turn_holds_the_turns_before_it() {
        let options = GenerateOptions {
            kind: Kind::Chat,
            requests: 400,
            ..GenerateOptions::default()
        };
        let mut last: std::collections::HashMap<u64, Job> = std::collections::HashMap::new();
        let mut later_turns = 0;
        for job in jobs(options) {
            if let Some(before) = last.get(&job.session) {
                let length = before.prompt.len();
                assert_eq!(job.prompt[..length], before.prompt[..]);
                assert_eq!(job.prompt[length].key, before.output_key);
                assert_eq!(job.prompt[length].tokens, before.output_tokens);
                later_turns += 1;
            }
            last.insert(job.session, job);
        }
        assert!(later_turns > 100, "{later_turns}");
    }

    #[test]
    fn distinct_prompts_share_nothing_and_hot_ones_nearly_all() {
        let first = |kind| {
            let options = GenerateOptions {
                kind,
                requests: 500,
                ..GenerateOptions::default()
            };
            let mut counts = std::collections::HashMap::new();
            for job in jobs(options) {
                *counts.entry(job.prompt[0].key).or_insert(0) += 1;
            }
            counts.values().copied().max().unwrap()
        };
        assert_eq!(first(Kind::Distinct), 1);
        assert!(first(Kind::HotPrefix) > 400);
    }
}
