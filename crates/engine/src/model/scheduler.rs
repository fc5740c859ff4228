//! Which tokens does the next step compute?
//!
//! There is no prefill phase and no decode phase, only requests whose computed tokens lag behind their known tokens, and
//! one budget of tokens per step. Running requests take from it first, in order of admission; one that finds no block
//! makes the last admitted give up all of its own and wait again, before everyone else. Then, in a step where nobody had
//! to, the queue is admitted in order until budget, seats or blocks run out. The first that does not fit holds up those
//! behind it.

use std::collections::VecDeque;
use std::time::Duration;

use super::sequence::Sequence;
use super::{BatchConfig, BlockHash, BlockId, BlockPool, CacheEvent, Event, HashChain, RequestId};

/// Tokens looked up and found by requests admitted for the first time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lookups {
    pub(super) queries_tokens: u64,
    pub(super) hits_tokens: u64,
}

/// The head of the queue did not fit; what has to change before another look is worthwhile.
#[derive(Debug)]
struct Blocked {
    id: RequestId,
    /// `freed_total` of the pool from which on there may be room.
    freed_needed: u64,
    /// The first block of its prompt that was not found: if somebody stores it, less room is needed.
    missing: Option<BlockHash>,
}

/// Queue, running batch and blocks.
pub(super) struct Scheduler {
    pub(super) waiting: VecDeque<Sequence>,
    pub(super) running: Vec<Sequence>,
    pub(super) pool: BlockPool,
    pub(super) lookups: Lookups,
    chain: HashChain,
    blocked: Option<Blocked>,
    found_scratch: Vec<BlockId>,
}

impl Scheduler {
    pub(super) fn new(config: &BatchConfig) -> Self {
        Self {
            waiting: VecDeque::new(),
            running: Vec::new(),
            pool: BlockPool::new(config.num_gpu_blocks, config.record_cache_events),
            lookups: Lookups::default(),
            chain: HashChain::new(config.hash_algo, &config.hash_seed),
            blocked: None,
            found_scratch: Vec::new(),
        }
    }

    /// Decides the step that begins at `at` and takes the blocks it needs; returns the tokens it computes.
    pub(super) fn plan(
        &mut self,
        config: &BatchConfig,
        at: Duration,
        events: &mut Vec<Event>,
    ) -> usize {
        let mut budget = config.max_num_batched_tokens;
        let preempted = self.plan_running(config, at, &mut budget, events);
        if !preempted {
            self.plan_waiting(config, at, &mut budget, events);
        }
        config.max_num_batched_tokens - budget
    }

    /// Gives running requests their tokens. True when one of them lost its blocks.
    fn plan_running(
        &mut self,
        config: &BatchConfig,
        at: Duration,
        budget: &mut usize,
        events: &mut Vec<Event>,
    ) -> bool {
        let mut preempted = false;
        let mut index = 0;
        while index < self.running.len() && *budget > 0 {
            let sequence = &self.running[index];
            let new_tokens = (sequence.num_tokens() - sequence.computed_tokens).min(*budget);
            while !self.grow(config, index, new_tokens) {
                preempted = true;
                self.preempt_last(at, events);
                if index >= self.running.len() {
                    return true;
                }
            }
            *budget -= new_tokens;
            index += 1;
        }
        preempted
    }

    /// Takes blocks for that many more tokens of a running request; false when there are too few.
    fn grow(&mut self, config: &BatchConfig, index: usize, new_tokens: usize) -> bool {
        let sequence = &mut self.running[index];
        let blocks = (sequence.computed_tokens + new_tokens).div_ceil(config.block_size_tokens);
        let missing = blocks.saturating_sub(sequence.table.len());
        if !self.pool.allocate(missing, &mut sequence.table) {
            return false;
        }
        sequence.new_tokens = new_tokens;
        store_full_blocks(config, sequence, &mut self.pool, &mut self.chain);
        true
    }

    /// Sends the last admitted request back to the front of the queue, to be computed again.
    fn preempt_last(&mut self, at: Duration, events: &mut Vec<Event>) {
        let Some(mut sequence) = self.running.pop() else {
            return;
        };
        self.release(&mut sequence);
        sequence.preemptions += 1;
        sequence.unreported_preemptions += 1;
        events.push(Event::Preempted {
            id: sequence.id,
            at,
        });
        self.waiting.push_front(sequence);
    }

    /// Gives back all blocks of a request.
    pub(super) fn release(&mut self, sequence: &mut Sequence) {
        self.pool.release(&sequence.table);
        sequence.table.clear();
        sequence.stored_blocks = 0;
        sequence.computed_tokens = 0;
        sequence.new_tokens = 0;
    }

    /// Admits from the front of the queue those that had arrived by `at`.
    fn plan_waiting(
        &mut self,
        config: &BatchConfig,
        at: Duration,
        budget: &mut usize,
        events: &mut Vec<Event>,
    ) {
        while *budget > 0 && self.running.len() < config.max_num_seqs {
            match self.waiting.front() {
                Some(head) if head.arrival <= at && !self.still_blocked(head.id) => {}
                _ => break,
            }
            let Some(mut sequence) = self.waiting.pop_front() else {
                break;
            };
            if !self.admit(config, &mut sequence, *budget) {
                self.waiting.push_front(sequence);
                break;
            }
            *budget -= sequence.new_tokens;
            if sequence.first_admission() {
                self.note_first_admission(config, &mut sequence, at, events);
            }
            self.running.push(sequence);
        }
    }

    fn still_blocked(&self, id: RequestId) -> bool {
        self.blocked.as_ref().is_some_and(|blocked| {
            blocked.id == id
                && self.pool.freed_total() < blocked.freed_needed
                && blocked
                    .missing
                    .is_none_or(|hash| self.pool.find(&hash).is_none())
        })
    }

    /// Gives a waiting request the cached beginning of its tokens and blocks for the first chunk of the rest. False when
    /// the pool could not hold all of its tokens, even if the first chunk alone would fit.
    fn admit(&mut self, config: &BatchConfig, sequence: &mut Sequence, budget: usize) -> bool {
        let mut found = std::mem::take(&mut self.found_scratch);
        let missing = self.find_prefix(config, sequence, &mut found);
        let revived = found
            .iter()
            .filter(|&&block| self.pool.is_free(block))
            .count();
        let all_blocks = sequence.num_tokens().div_ceil(config.block_size_tokens);
        let needed = all_blocks - found.len() + revived;
        let fits = needed <= self.pool.num_free();
        if fits {
            self.blocked = None;
            self.pool.take_found(&found);
            sequence.table.extend_from_slice(&found);
            sequence.stored_blocks = found.len();
            sequence.computed_tokens =
                found.len().max(external_blocks(config, sequence)) * config.block_size_tokens;
            sequence.new_tokens = (sequence.num_tokens() - sequence.computed_tokens).min(budget);
            let blocks =
                (sequence.computed_tokens + sequence.new_tokens).div_ceil(config.block_size_tokens);
            let allocated = self
                .pool
                .allocate(blocks - found.len(), &mut sequence.table);
            debug_assert!(allocated, "a part of what fits, fits");
            store_full_blocks(config, sequence, &mut self.pool, &mut self.chain);
        } else {
            let short = (needed - self.pool.num_free()) as u64;
            self.blocked = Some(Blocked {
                id: sequence.id,
                freed_needed: self.pool.freed_total() + short,
                missing,
            });
        }
        found.clear();
        self.found_scratch = found;
        fits
    }

    /// Collects the leading run of cached blocks, at least one token short of everything; returns the name of the first
    /// that is missing.
    fn find_prefix(
        &mut self,
        config: &BatchConfig,
        sequence: &mut Sequence,
        found: &mut Vec<BlockId>,
    ) -> Option<BlockHash> {
        if !config.enable_prefix_caching || sequence.request.skip_cache_read {
            return None;
        }
        let most = (sequence.num_tokens() - 1) / config.block_size_tokens;
        sequence.name_blocks(most, config.block_size_tokens, &mut self.chain);
        for hash in &sequence.hashes()[..most] {
            match self.pool.find(hash) {
                Some(block) => found.push(block),
                None => return Some(*hash),
            }
        }
        None
    }

    fn note_first_admission(
        &mut self,
        config: &BatchConfig,
        sequence: &mut Sequence,
        at: Duration,
        events: &mut Vec<Event>,
    ) {
        let cached_tokens = sequence.computed_tokens;
        sequence.set_scheduled(at, cached_tokens);
        if config.enable_prefix_caching && !sequence.request.skip_cache_read {
            self.lookups.queries_tokens += sequence.request.prompt.len() as u64;
            self.lookups.hits_tokens += cached_tokens as u64;
        }
        events.push(Event::Scheduled {
            id: sequence.id,
            at,
            cached_tokens,
        });
    }
}

/// Leading blocks of the prompt that come from outside; the last token is always computed.
fn external_blocks(config: &BatchConfig, sequence: &Sequence) -> usize {
    let request = &sequence.request;
    let most = request.prompt.len() - 1;
    request.external_cached_tokens.min(most) / config.block_size_tokens
}

/// Makes the blocks that this step fills findable. That happens before the step is computed, so that a request admitted
/// in the same step already shares them.
fn store_full_blocks(
    config: &BatchConfig,
    sequence: &mut Sequence,
    pool: &mut BlockPool,
    chain: &mut HashChain,
) {
    if !config.enable_prefix_caching {
        return;
    }
    let block_size = config.block_size_tokens;
    let (from, to) = (
        sequence.stored_blocks,
        (sequence.computed_tokens + sequence.new_tokens) / block_size,
    );
    if to <= from {
        return;
    }
    sequence.name_blocks(to, block_size, chain);
    let hashes = &sequence.hashes()[from..to];
    pool.store(&sequence.table[from..to], hashes);
    pool.record(|| CacheEvent::Stored {
        hashes: hashes.to_vec(),
        parent: from.checked_sub(1).map(|last| sequence.hashes()[last]),
        token_ids: sequence.tokens(from * block_size..to * block_size),
        lora: sequence.request.lora.clone(),
        cache_salt: sequence.request.cache_salt.clone().filter(|_| from == 0),
    });
    sequence.stored_blocks = to;
}
