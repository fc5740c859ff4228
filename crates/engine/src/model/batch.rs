//! What is the state of one engine, and how does time move it?

use std::fmt;
use std::time::Duration;

use super::scheduler::Scheduler;
use super::sequence::Sequence;
use super::step::Flight;
use super::{BatchConfig, ConfigError, Counters, Event, Rejected, Request, RequestId, Snapshot};
use crate::backend::Backend;

/// One engine: queue, running batch, block pool, and the step in flight.
pub struct BatchModel {
    pub(super) config: BatchConfig,
    pub(super) backend: Box<dyn Backend>,
    pub(super) scheduler: Scheduler,
    pub(super) flight: Option<Flight>,
    /// No step may begin before this: end of the last one, or the latest `resume`.
    pub(super) free_at: Duration,
    paused: bool,
    next_id: u64,
    pub(super) counters: Counters,
    pub(super) sampled: Vec<u32>,
}

/// What an engine has admitted and not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// End of the step in flight.
    pub step_ends: Option<Duration>,
    /// Tokens of running requests that no step so far computes.
    pub prefill_tokens: usize,
    /// Pairs of such a token and a token of its context.
    pub prefill_pairs: u64,
    /// Running requests that have their first token.
    pub decoding: usize,
    /// Tokens of context that running requests hold, the step in flight included.
    pub context_tokens: usize,
}

impl fmt::Debug for BatchModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchModel")
            .field("snapshot", &self.snapshot())
            .field("flight", &self.flight)
            .finish_non_exhaustive()
    }
}

impl BatchModel {
    /// An idle engine with an empty cache.
    ///
    /// # Errors
    /// The limits contradict each other, see [`BatchConfig::validate`].
    pub fn new(config: BatchConfig, backend: Box<dyn Backend>) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            scheduler: Scheduler::new(&config),
            config,
            backend,
            flight: None,
            free_at: Duration::ZERO,
            paused: false,
            next_id: 0,
            counters: Counters::default(),
            sampled: Vec::new(),
        })
    }

    /// Queues a request. It takes part in steps that begin at `now` or later.
    /// Call [`advance`](Self::advance) up to `now` first, and again right after, to start a step.
    ///
    /// # Errors
    /// The request can never run, or the queue is full.
    pub fn submit(&mut self, now: Duration, request: Request) -> Result<RequestId, Rejected> {
        self.check(&request)?;
        let id = RequestId(self.next_id);
        self.next_id += 1;
        self.scheduler
            .waiting
            .push_back(Sequence::new(id, now, request));
        Ok(id)
    }

    fn check(&mut self, request: &Request) -> Result<(), Rejected> {
        let prompt_tokens = request.prompt.len();
        let max_model_len_tokens = self.config.max_model_len_tokens;
        if prompt_tokens == 0 {
            return Err(Rejected::EmptyPrompt);
        }
        if request.max_tokens == 0 {
            return Err(Rejected::NoTokensAsked);
        }
        if prompt_tokens >= max_model_len_tokens {
            return Err(Rejected::PromptTooLong {
                prompt_tokens,
                max_model_len_tokens,
            });
        }
        let waiting = &self.scheduler.waiting;
        if let Some(limit) = self.config.max_num_queued_reqs
            && waiting.len() >= limit
        {
            self.counters.rejected_queued_reqs += 1;
            return Err(Rejected::TooManyQueuedRequests { limit });
        }
        if let Some(limit) = self.config.max_num_queued_tokens
            && waiting
                .iter()
                .map(|sequence| sequence.request.prompt.len())
                .sum::<usize>()
                + prompt_tokens
                > limit
        {
            self.counters.rejected_queued_tokens += 1;
            return Err(Rejected::TooManyQueuedTokens { limit });
        }
        Ok(())
    }

    /// Ends a request at once, wherever it is; no event follows. False when there is no such request (any more).
    pub fn abort(&mut self, id: RequestId) -> bool {
        let scheduler = &mut self.scheduler;
        if let Some(index) = scheduler
            .running
            .iter()
            .position(|sequence| sequence.id == id)
        {
            let mut sequence = scheduler.running.remove(index);
            scheduler.release(&mut sequence);
            return true;
        }
        match scheduler
            .waiting
            .iter()
            .position(|sequence| sequence.id == id)
        {
            Some(index) => scheduler.waiting.remove(index).is_some(),
            None => false,
        }
    }

    /// Ends every step due by `now`, starts those that can start by then, and appends what happened to `events`.
    /// A late call loses nothing: steps begin and end when they would have, one right after the other.
    pub fn advance(&mut self, now: Duration, events: &mut Vec<Event>) {
        loop {
            match self.flight.take() {
                Some(flight) if flight.ends <= now => self.end_step(&flight, events),
                Some(flight) => {
                    self.flight = Some(flight);
                    return;
                }
                None => {}
            }
            match self.next_start() {
                Some(at) if at <= now && self.start_step(at, events) => {}
                _ => return,
            }
        }
    }

    /// When `advance` has something to do next: the end of the step in flight, or the arrival of a request that can
    /// start one (which may be in the past). `None`: nothing until the next `submit` or `resume`.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        self.flight
            .as_ref()
            .map(|flight| flight.ends)
            .or_else(|| self.next_start())
    }

    /// When the next step can begin, if none is in flight.
    fn next_start(&self) -> Option<Duration> {
        if self.paused {
            return None;
        }
        if !self.scheduler.running.is_empty() {
            return Some(self.free_at);
        }
        self.scheduler
            .waiting
            .front()
            .map(|head| head.arrival.max(self.free_at))
    }

    /// Stops starting steps: requests queue up and hang; the step in flight ends.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Starts steps again, at `now` at the earliest.
    pub fn resume(&mut self, now: Duration) {
        self.paused = false;
        self.free_at = self.free_at.max(now);
    }

    /// Drops the whole prefix cache. False, and nothing happens, while a request holds blocks.
    /// The event is published with the next step, so an idle engine stays silent until its next request.
    pub fn reset_prefix_cache(&mut self) -> bool {
        self.scheduler.pool.reset()
    }

    /// Gauges at this moment, totals as of the last step.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let Scheduler {
            waiting,
            running,
            pool,
            ..
        } = &self.scheduler;
        Snapshot {
            running: running.len(),
            waiting: waiting.len(),
            kv_cache_usage: pool.usage(),
            block_size_tokens: self.config.block_size_tokens,
            num_gpu_blocks: self.config.num_gpu_blocks,
            cached_blocks: pool.num_cached(),
            counters: self.counters,
        }
    }

    /// Leading blocks of a prompt, named by [`HashChain`](super::HashChain), that the cache holds now.
    #[must_use]
    pub fn cached_blocks(&self, names: &[super::BlockHash]) -> usize {
        let found = names
            .iter()
            .take_while(|name| self.scheduler.pool.find(name).is_some());
        found.count()
    }

    /// Name of the content of every block that has one, in no order; a name as often as blocks hold it.
    pub fn resident(&self) -> impl Iterator<Item = super::BlockHash> {
        self.scheduler.pool.resident()
    }

    /// Changes of the cache that come out with the step in flight, or the next one.
    #[must_use]
    pub fn unpublished(&self) -> &[super::CacheEvent] {
        self.scheduler.pool.events()
    }

    /// What is admitted and not over: prompt and context tokens.
    #[must_use]
    pub fn work(&self) -> Work {
        let mut work = Work {
            step_ends: self.flight.as_ref().map(|flight| flight.ends),
            ..Work::default()
        };
        for sequence in &self.scheduler.running {
            let done = sequence.computed_tokens + sequence.new_tokens;
            work.context_tokens += done;
            let left = sequence.num_tokens().saturating_sub(done);
            work.prefill_tokens += left;
            work.prefill_pairs += (left * done + left * left / 2) as u64;
            work.decoding += usize::from(!sequence.output.is_empty());
        }
        work
    }

    /// The limits it runs under.
    #[must_use]
    pub fn config(&self) -> &BatchConfig {
        &self.config
    }

    /// Requests submitted and not over: first those admitted, then those waiting, in order.
    pub fn requests(&self) -> impl Iterator<Item = (RequestId, &Request)> {
        let Scheduler {
            waiting, running, ..
        } = &self.scheduler;
        running
            .iter()
            .chain(waiting)
            .map(|sequence| (sequence.id, &sequence.request))
    }
}
