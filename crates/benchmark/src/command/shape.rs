//! Which prompts does a command with groups of prefixes send?

use std::sync::Arc;

use crate::workload::shared_prefix::{PromptForm, Shape, SharedPrefix};

/// The size of a shared-prefix workload.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct ShapeArgs {
    /// Number of prefixes.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    pub groups: u32,
    #[arg(long, default_value_t = 1536)]
    pub prefix_tokens: u32,
    #[arg(long, default_value_t = 256)]
    pub question_tokens: u32,
    /// Questions of one conversation, each after the ones before it; 1 asks every question by itself.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub turns: u32,
}

/// What all runs of one system share.
#[derive(Clone, Debug)]
pub struct Source {
    pub shape: ShapeArgs,
    pub output_tokens: u32,
    pub form: PromptForm,
    pub model: String,
    pub ignore_eos: bool,
    pub seed: u64,
}

impl Source {
    /// `requests` over the same prefixes; another `run` asks other questions in another order.
    pub fn run(&self, requests: usize, run: u64) -> Arc<SharedPrefix> {
        let shape = Shape {
            groups: self.shape.groups,
            prefix_tokens: self.shape.prefix_tokens,
            question_tokens: self.shape.question_tokens,
            output_tokens: self.output_tokens,
            requests,
            turns: self.shape.turns,
            seed: self.seed,
            run,
        };
        Arc::new(SharedPrefix::new(
            shape,
            self.form,
            &self.model,
            self.ignore_eos,
        ))
    }
}
