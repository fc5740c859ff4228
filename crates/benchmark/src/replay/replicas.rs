//! What are the engines of a run, and what is true of them now?

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use engine::backend::{Backend, BackendError, Profile, Step, StepLoad, StepTime};
use engine::model::{
    BatchConfig, BatchModel, BlockHash, Event, ExtraKeys, Generation, HashAlgo, HashChain, Request,
    RequestId,
};

use super::clock::{Replica, RequestNumber};
use super::router::Gauges;
use crate::workload::jobs::token;

/// How engines name their blocks.
pub(crate) const HASH_ALGO: HashAlgo = HashAlgo::XxhashCbor;

/// What kind of replicas there are.
#[derive(Clone, Debug)]
pub(crate) struct Hardware {
    /// One per replica.
    pub(crate) profiles: Vec<Profile>,
    /// Tokens per block where it is not the profile's.
    pub(crate) block_size_tokens: Option<usize>,
    /// Blocks per replica where it is not the profile's.
    pub(crate) num_blocks: Option<usize>,
    pub(crate) max_num_seqs: Option<usize>,
    pub(crate) max_num_batched_tokens: Option<usize>,
    pub(crate) prefix_caching: bool,
}

/// Prices steps by the engine's own formula and writes the tokens that the workload foresees.
struct Priced {
    profile: Profile,
}

impl Backend for Priced {
    fn run(&mut self, step: &Step<'_>, sampled: &mut Vec<u32>) -> Result<Duration, BackendError> {
        for sequence in step.sequences.iter().filter(|sequence| sequence.samples) {
            let key = sequence.generation.seed.unwrap_or(0);
            sampled.push(token(key, sequence.output.len() as u32));
        }
        let load = StepLoad::of(step.sequences).padded(&self.profile);
        Ok(StepTime::of(&self.profile, load).total())
    }
}

/// Prompt tokens to compute, and their attention.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Prefill {
    pub(crate) tokens: u64,
    /// Pairs of a new token and a token of its context.
    pub(crate) pairs: u64,
}

impl Prefill {
    /// Of a prompt of which a beginning is cached.
    pub(crate) fn of(prompt_tokens: u32, cached_tokens: u32) -> Self {
        let cached = u64::from(cached_tokens.min(prompt_tokens));
        let tokens = u64::from(prompt_tokens) - cached;
        Self {
            tokens,
            pairs: tokens * cached + tokens * tokens / 2,
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.pairs += other.pairs;
    }

    pub(crate) fn take(&mut self, other: Self) {
        self.tokens -= other.tokens;
        self.pairs -= other.pairs;
    }
}

/// One engine and the requests in it.
pub(crate) struct Engine {
    pub(crate) model: BatchModel,
    pub(crate) profile: Profile,
    numbers: HashMap<RequestId, RequestNumber>,
    /// Time of the step event that is entered for it.
    pub(crate) wakes_at: Option<Duration>,
    /// Prefill of requests sent here and not admitted yet, as their routers expect it.
    pub(crate) waiting: Prefill,
}

/// All engines of a run.
pub(crate) struct Replicas {
    pub(crate) engines: Vec<Engine>,
    chain: HashChain,
    block_size_tokens: usize,
}

impl Replicas {
    /// Idle engines with empty caches.
    ///
    /// # Errors
    /// Limits that contradict each other.
    pub(crate) fn new(hardware: &Hardware, cache_events: bool) -> anyhow::Result<Self> {
        let mut engines = Vec::with_capacity(hardware.profiles.len());
        let mut block_size_tokens = 16;
        for profile in &hardware.profiles {
            let config = config(hardware, profile, cache_events);
            block_size_tokens = config.block_size_tokens;
            let backend = Priced {
                profile: profile.clone(),
            };
            let model = BatchModel::new(config, Box::new(backend))
                .with_context(|| format!("engine {}", profile.name))?;
            engines.push(Engine {
                model,
                profile: profile.clone(),
                numbers: HashMap::new(),
                wakes_at: None,
                waiting: Prefill::default(),
            });
        }
        let chain = HashChain::new(HASH_ALGO, engine::model::DEFAULT_HASH_SEED);
        Ok(Self {
            engines,
            chain,
            block_size_tokens,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.engines.len()
    }

    /// What all caches together hold at most, in blocks of the index.
    pub(crate) fn canonical_blocks(&self) -> u64 {
        let tokens = self
            .engines
            .iter()
            .map(|engine| engine.model.config().kv_cache_size_tokens());
        tokens
            .map(|tokens| tokens as u64 * 4 / kv_index::BLOCK_BYTES as u64 + 1)
            .sum()
    }

    /// Hands a request to an engine.
    ///
    /// # Errors
    /// The engine does not take it, in its words.
    pub(crate) fn submit(
        &mut self,
        replica: Replica,
        number: RequestNumber,
        prompt: Arc<[u32]>,
        output: (u32, u64),
        external_tokens: u32,
        now: Duration,
    ) -> Result<(), engine::model::Rejected> {
        let engine = &mut self.engines[replica];
        let request = Request {
            external_cached_tokens: external_tokens as usize,
            generation: Generation {
                seed: Some(output.1),
                ..Generation::default()
            },
            ..Request::new(prompt, output.0 as usize)
        };
        let id = engine.model.submit(now, request)?;
        engine.numbers.insert(id, number);
        Ok(())
    }

    /// Moves an engine to `now`.
    pub(crate) fn advance(&mut self, replica: Replica, now: Duration, events: &mut Vec<Event>) {
        self.engines[replica].model.advance(now, events);
    }

    /// The request behind an engine's own name.
    pub(crate) fn number(&self, replica: Replica, id: RequestId) -> Option<RequestNumber> {
        self.engines[replica].numbers.get(&id).copied()
    }

    /// Forgets a request that is over.
    pub(crate) fn forget(&mut self, replica: Replica, id: RequestId) {
        self.engines[replica].numbers.remove(&id);
    }

    /// What its metrics page would say now.
    pub(crate) fn gauges(&self, replica: Replica) -> Gauges {
        let model = &self.engines[replica].model;
        let snapshot = model.snapshot();
        Gauges {
            running: snapshot.running as u32,
            waiting: snapshot.waiting as u32,
            kv_usage: snapshot.kv_cache_usage,
            block_size_tokens: snapshot.block_size_tokens as u32,
            num_blocks: snapshot.num_gpu_blocks as u32,
            queries_tokens: snapshot.counters.prefix_cache_queries_tokens,
            hits_tokens: snapshot.counters.prefix_cache_hits_tokens,
            prefix_caching: model.config().enable_prefix_caching,
        }
    }

    /// The engines' own names of a prompt's full blocks.
    pub(crate) fn names(&mut self, prompt: &[u32]) -> Vec<BlockHash> {
        let extra = ExtraKeys::default();
        let mut names: Vec<BlockHash> = Vec::with_capacity(prompt.len() / self.block_size_tokens);
        for block in prompt.chunks_exact(self.block_size_tokens) {
            let name = self
                .chain
                .block(names.last(), block.iter().copied(), &extra);
            names.push(name);
        }
        names
    }

    /// Tokens of a prompt that an engine would find cached if it were admitted now.
    pub(crate) fn cached_tokens(
        &self,
        replica: Replica,
        names: &[BlockHash],
        prompt_tokens: u32,
    ) -> u32 {
        let model = &self.engines[replica].model;
        let block = model.config().block_size_tokens as u32;
        let most = prompt_tokens.saturating_sub(1) / block;
        let names = &names[..names.len().min(most as usize)];
        model.cached_blocks(names) as u32 * block
    }
}

fn config(hardware: &Hardware, profile: &Profile, cache_events: bool) -> BatchConfig {
    let mut config = BatchConfig::for_profile(profile);
    if let Some(size) = hardware.block_size_tokens {
        config.block_size_tokens = size;
        config.num_gpu_blocks = profile.num_gpu_blocks(size);
    }
    if let Some(blocks) = hardware.num_blocks {
        config.num_gpu_blocks = blocks;
    }
    if let Some(seqs) = hardware.max_num_seqs {
        config.max_num_seqs = seqs;
    }
    if let Some(tokens) = hardware.max_num_batched_tokens {
        config.max_num_batched_tokens = tokens;
    }
    // As long as the pool allows: a trace may hold prompts longer than the model was made for.
    config.max_model_len_tokens = config.usable_blocks() * config.block_size_tokens;
    config.enable_prefix_caching = hardware.prefix_caching;
    config.hash_algo = HASH_ALGO;
    config.record_cache_events = cache_events;
    config
}
