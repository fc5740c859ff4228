//! What does the engine know of one request?

use std::time::Duration;

use super::{
    BlockHash, BlockId, ExtraKeys, FinishReason, HashChain, Request, RequestId, RequestTimings,
};

/// A request on its way through the engine.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) id: RequestId,
    pub(super) request: Request,
    extra: ExtraKeys,
    pub(super) output: Vec<u32>,
    /// Names of its leading full blocks, as far as anyone has asked. Survives preemption: each block is hashed once.
    hashes: Vec<BlockHash>,
    /// Blocks it holds, in order.
    pub(super) table: Vec<BlockId>,
    /// Leading blocks of `table` that can be found by others.
    pub(super) stored_blocks: usize,
    /// Tokens whose keys and values are in its blocks.
    pub(super) computed_tokens: usize,
    /// Tokens that the step in flight adds to them; 0 when it takes no part.
    pub(super) new_tokens: usize,
    /// The token that the step in flight yields.
    pub(super) sampled: Option<u32>,
    pub(super) arrival: Duration,
    scheduled: Option<Duration>,
    first_token: Option<Duration>,
    last_token: Option<Duration>,
    cached_tokens: usize,
    pub(super) preemptions: u32,
    /// Preemptions that no counter knows of yet.
    pub(super) unreported_preemptions: u32,
}

impl Sequence {
    pub(super) fn new(id: RequestId, arrival: Duration, request: Request) -> Self {
        Self {
            id,
            extra: ExtraKeys {
                lora: request.lora.clone(),
                cache_salt: request.cache_salt.clone(),
            },
            request,
            output: Vec::new(),
            hashes: Vec::new(),
            table: Vec::new(),
            stored_blocks: 0,
            computed_tokens: 0,
            new_tokens: 0,
            sampled: None,
            arrival,
            scheduled: None,
            first_token: None,
            last_token: None,
            cached_tokens: 0,
            preemptions: 0,
            unreported_preemptions: 0,
        }
    }

    /// Prompt and output so far.
    pub(super) fn num_tokens(&self) -> usize {
        self.request.prompt.len() + self.output.len()
    }

    /// Whether the step in flight computes the last known token, so that it yields the next one.
    pub(super) fn samples(&self) -> bool {
        self.new_tokens > 0 && self.computed_tokens + self.new_tokens == self.num_tokens()
    }

    fn token(&self, index: usize) -> u32 {
        let prompt = &self.request.prompt;
        prompt
            .get(index)
            .copied()
            .unwrap_or_else(|| self.output[index - prompt.len()])
    }

    /// Tokens of a range of prompt and output.
    pub(super) fn tokens(&self, range: std::ops::Range<usize>) -> Vec<u32> {
        range.map(|index| self.token(index)).collect()
    }

    /// Names of its leading blocks, as far as [`name_blocks`](Self::name_blocks) went.
    pub(super) fn hashes(&self) -> &[BlockHash] {
        &self.hashes
    }

    /// Names its first `count` blocks, which must be full.
    pub(super) fn name_blocks(&mut self, count: usize, block_size: usize, chain: &mut HashChain) {
        for block in self.hashes.len()..count {
            let (from, to) = (block * block_size, (block + 1) * block_size);
            let parent = self.hashes.last();
            let hash = match self.request.prompt.get(from..to) {
                Some(tokens) => chain.block(parent, tokens.iter().copied(), &self.extra),
                None => chain.block(
                    parent,
                    (from..to).map(|index| self.token(index)),
                    &self.extra,
                ),
            };
            self.hashes.push(hash);
        }
    }

    pub(super) fn first_admission(&self) -> bool {
        self.scheduled.is_none()
    }

    /// Notes the first admission.
    pub(super) fn set_scheduled(&mut self, at: Duration, cached_tokens: usize) {
        self.scheduled = Some(at);
        self.cached_tokens = cached_tokens;
    }

    /// Takes in one token; returns the time since the previous one.
    pub(super) fn push_token(&mut self, token: u32, at: Duration) -> Option<Duration> {
        self.output.push(token);
        self.first_token.get_or_insert(at);
        self.last_token
            .replace(at)
            .map(|previous| at.saturating_sub(previous))
    }

    /// Whether the newest token ends the request.
    pub(super) fn finish_reason(&self, max_model_len: usize) -> Option<FinishReason> {
        let last = self.output.last()?;
        let generation = &self.request.generation;
        if self.output.len() >= generation.min_tokens && generation.stop_token_ids.contains(last) {
            return Some(FinishReason::Stop);
        }
        let full =
            self.output.len() >= self.request.max_tokens || self.num_tokens() >= max_model_len;
        full.then_some(FinishReason::Length)
    }

    pub(super) fn cached_tokens(&self) -> usize {
        self.cached_tokens
    }

    /// Its times, ending at `at`.
    pub(super) fn timings(&self, at: Duration) -> RequestTimings {
        RequestTimings {
            arrival: self.arrival,
            scheduled: self.scheduled.unwrap_or(at),
            first_token: self.first_token.unwrap_or(at),
            finished: at,
            prompt_tokens: self.request.prompt.len(),
            cached_tokens: self.cached_tokens,
            output_tokens: self.output.len(),
            preemptions: self.preemptions,
        }
    }
}
