//! What is the state of one engine, and how does time move it?

use std::fmt;
use std::time::Duration;

use super::scheduler::{Lookups, Scheduler};
use super::sequence::Sequence;
use super::{
    BatchConfig, ConfigError, Counters, Event, FinishReason, Rejected, Request, RequestId, Snapshot,
};
use crate::backend::{Backend, BackendError, SequenceStep, Step};

/// One engine: queue, running batch, block pool, and the step in flight.
pub struct BatchModel {
    config: BatchConfig,
    backend: Box<dyn Backend>,
    scheduler: Scheduler,
    flight: Option<Flight>,
    /// No step may begin before this: end of the last one, or the latest `resume`.
    free_at: Duration,
    paused: bool,
    next_id: u64,
    counters: Counters,
    sampled: Vec<u32>,
}

/// A step that has begun. Its tokens are in the sequences already and come out when it ends.
#[derive(Debug)]
struct Flight {
    started: Duration,
    ends: Duration,
    scheduled_tokens: usize,
    num_requests: usize,
    failed: bool,
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

    /// Begins a step; false when there was nothing to compute.
    fn start_step(&mut self, at: Duration, events: &mut Vec<Event>) -> bool {
        let scheduled_tokens = self.scheduler.plan(&self.config, at, events);
        if scheduled_tokens == 0 {
            return false;
        }
        let number = self.counters.steps;
        let sequences = step_sequences(&self.scheduler.running);
        self.sampled.clear();
        let result = self.backend.run(
            &Step {
                number,
                sequences: &sequences,
            },
            &mut self.sampled,
        );
        let expected = sequences.iter().filter(|sequence| sequence.samples).count();
        let num_requests = sequences.len();
        let result = result
            .and_then(|duration| check_sampled(self.sampled.len(), expected).map(|()| duration));
        if let Err(error) = &result {
            tracing::error!(step = number, %error, "a step failed");
        }
        let duration = *result.as_ref().unwrap_or(&Duration::ZERO);
        let sampling = self
            .scheduler
            .running
            .iter_mut()
            .filter(|sequence| sequence.samples());
        sampling
            .zip(&self.sampled)
            .for_each(|(sequence, &token)| sequence.sampled = Some(token));
        let failed = result.is_err();
        self.flight = Some(Flight {
            started: at,
            ends: at + duration,
            scheduled_tokens,
            num_requests,
            failed,
        });
        true
    }

    /// Hands out the tokens of a step, lets go of requests that are over, and brings the counters up to date.
    fn end_step(&mut self, flight: &Flight, events: &mut Vec<Event>) {
        let at = flight.ends;
        self.free_at = self.free_at.max(at);
        let before = self.counters;
        self.settle_lookups();
        let mut running = std::mem::take(&mut self.scheduler.running);
        running.retain_mut(|sequence| {
            let over = if sequence.new_tokens == 0 {
                None
            } else if flight.failed {
                Some(FinishReason::Error)
            } else {
                self.settle(sequence, at, events)
            };
            if let Some(reason) = over {
                self.finish(sequence, reason, at, events);
            }
            over.is_none()
        });
        self.scheduler.running = running;
        self.counters.steps += 1;
        let iteration_tokens = (self.counters.prompt_tokens - before.prompt_tokens
            + self.counters.generation_tokens
            - before.generation_tokens) as usize;
        let Flight {
            started,
            scheduled_tokens,
            num_requests,
            ..
        } = *flight;
        events.push(Event::Step {
            started,
            at,
            scheduled_tokens,
            iteration_tokens,
            num_requests,
        });
        let changes = self.scheduler.pool.take_events();
        if !changes.is_empty() {
            events.push(Event::Cache {
                at,
                events: changes,
            });
        }
    }

    /// Moves a request past the step that ended; returns why it is over, if it is.
    fn settle(
        &mut self,
        sequence: &mut Sequence,
        at: Duration,
        events: &mut Vec<Event>,
    ) -> Option<FinishReason> {
        sequence.computed_tokens += std::mem::take(&mut sequence.new_tokens);
        let token = sequence.sampled.take()?;
        let counters = &mut self.counters;
        if sequence.output.is_empty() {
            counters.prompt_tokens += sequence.request.prompt.len() as u64;
            counters.prompt_tokens_cached += sequence.cached_tokens() as u64;
        }
        counters.generation_tokens += 1;
        counters.preemptions += u64::from(std::mem::take(&mut sequence.unreported_preemptions));
        let gap = sequence.push_token(token, at);
        events.push(Event::Token {
            id: sequence.id,
            at,
            token,
            gap,
        });
        sequence.finish_reason(self.config.max_model_len_tokens)
    }

    fn finish(
        &mut self,
        sequence: &mut Sequence,
        reason: FinishReason,
        at: Duration,
        events: &mut Vec<Event>,
    ) {
        self.scheduler.release(sequence);
        self.counters.finished[reason as usize] += 1;
        let stop_token = sequence
            .output
            .last()
            .copied()
            .filter(|_| reason == FinishReason::Stop);
        events.push(Event::Finished {
            id: sequence.id,
            at,
            reason,
            stop_token,
            timings: sequence.timings(at),
        });
    }

    fn settle_lookups(&mut self) {
        let Lookups {
            queries_tokens,
            hits_tokens,
        } = std::mem::take(&mut self.scheduler.lookups);
        self.counters.prefix_cache_queries_tokens += queries_tokens;
        self.counters.prefix_cache_hits_tokens += hits_tokens;
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

/// The running requests that take part in the step just planned.
fn step_sequences(running: &[Sequence]) -> Vec<SequenceStep<'_>> {
    let taking_part = running.iter().filter(|sequence| sequence.new_tokens > 0);
    taking_part
        .map(|sequence| SequenceStep {
            id: sequence.id,
            prompt: &sequence.request.prompt,
            output: &sequence.output,
            computed_tokens: sequence.computed_tokens,
            new_tokens: sequence.new_tokens,
            block_table: &sequence.table,
            generation: &sequence.request.generation,
            samples: sequence.samples(),
        })
        .collect()
}

fn check_sampled(sampled: usize, expected: usize) -> Result<(), BackendError> {
    if sampled == expected {
        return Ok(());
    }
    Err(BackendError {
        reason: format!("{sampled} tokens sampled for {expected} sequences"),
    })
}
