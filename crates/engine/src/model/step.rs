//! What happens when a step begins, and when it ends?
//!
//! At its beginning the tokens are planned, their blocks taken and registered, and the backend is run. Nothing of that
//! shows until its end: then tokens come out, requests that are over let go of their blocks, and counters move.

use std::time::Duration;

use super::scheduler::Lookups;
use super::sequence::Sequence;
use super::{BatchModel, Event, FinishReason};
use crate::backend::{BackendError, SequenceStep, Step};

/// A step that has begun. Its tokens are in the sequences already and come out when it ends.
#[derive(Debug)]
pub(super) struct Flight {
    started: Duration,
    pub(super) ends: Duration,
    scheduled_tokens: usize,
    num_requests: usize,
    failed: bool,
}

impl BatchModel {
    /// Begins a step; false when there was nothing to compute.
    pub(super) fn start_step(&mut self, at: Duration, events: &mut Vec<Event>) -> bool {
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
    pub(super) fn end_step(&mut self, flight: &Flight, events: &mut Vec<Event>) {
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
