//! What does the end of an attempt teach?

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use kv_index::BLOCK_BYTES;

use crate::learn::{faded, observe_decode, observe_prefill};
use crate::{End, Failure, Fleet, Outcome, Part, Reservation, SlotState};

impl Fleet {
    /// The first byte of a successful (2xx) response body is about to be passed on: prefill is over, what the
    /// prompt left in the engine's cache is there.
    pub fn first_byte(&self, reservation: &mut Reservation, now: Duration) {
        if reservation.first_byte_at.is_some() {
            return;
        }
        reservation.first_byte_at = Some(now);
        let ttft = now.saturating_sub(reservation.picked_at);
        let state = Arc::clone(&reservation.state);
        let streamed = reservation.stream && reservation.part.prefills();
        let booked = &mut reservation.booked;
        (state.forecast).first_byte(&self.pool_rates, booked, streamed, ttft, now);
        if streamed {
            SlotState::give_back(
                &reservation.state.gauges.queued_tokens,
                u64::from(reservation.uncached_tokens),
            );
            observe_prefill(
                &reservation.state,
                ttft,
                reservation.uncached_tokens,
                reservation.queued_tokens_before,
            );
        }
        for placement in &reservation.placements {
            self.index.confirm(placement.clone());
        }
        for sent in &reservation.sent {
            self.exact.first_byte(sent, now);
        }
    }

    /// The attempt is over: load is given back, health, rates and index learn from it.
    pub fn finish(&self, reservation: Reservation, outcome: Outcome, now: Duration) {
        let state = &reservation.state;
        let confirmed = reservation.first_byte_at.is_some();
        if reservation.stream && !confirmed {
            let uncached_tokens = u64::from(reservation.uncached_tokens);
            SlotState::give_back(&state.gauges.queued_tokens, uncached_tokens);
        }
        let gauges = &state.gauges;
        let context_tokens = u64::from(reservation.context_tokens);
        SlotState::give_back(&gauges.active_tokens, reservation.load_tokens);
        SlotState::give_back(&gauges.context_tokens, context_tokens);
        SlotState::give_back(&gauges.active_requests, 1);
        if gauges.active_requests.load(Relaxed) == 0 {
            // With nobody there, no prefill is going on either, whatever was expected of it.
            gauges.unseen_prefill_until_us.store(0, Relaxed);
        }
        let answer = whole_answer(&reservation, outcome, now);
        (state.forecast).finished(&self.pool_rates, &reservation.booked, answer);
        if confirmed {
            if reservation.part.answers() {
                self.learn_output(&reservation, outcome, now);
                self.learn(&reservation, outcome);
            }
        } else {
            for placement in &reservation.placements {
                self.index.forget(placement.clone());
            }
            for sent in &reservation.sent {
                self.exact.forget(sent);
            }
        }
        if reservation.part.answers() {
            self.judge(&reservation, outcome.end, now);
        }
        self.relieved();
    }

    /// How long answers are, and how fast they come here.
    fn learn_output(&self, reservation: &Reservation, outcome: Outcome, now: Duration) {
        let (End::Complete { .. }, Some(usage), Some(first)) =
            (outcome.end, outcome.usage, reservation.first_byte_at)
        else {
            return;
        };
        let tokens = usage.completion_tokens;
        if tokens > 0 {
            self.output_tokens
                .set(faded(self.output_tokens.get(), tokens as f64));
        }
        if reservation.stream {
            observe_decode(&reservation.state, now.saturating_sub(first), tokens);
        }
    }

    /// Health: only the engine's own failures count, never a client's.
    fn judge(&self, reservation: &Reservation, end: End, now: Duration) {
        let state = &reservation.state;
        match end {
            End::ClientGone => {}
            End::Complete { .. } => {
                if state.consecutive_failures.load(Relaxed) != 0 {
                    self.recovered(reservation.slot, now);
                }
            }
            End::FailedBeforeFirstByte(failure) | End::FailedAfterFirstByte(failure) => {
                state.failures.fetch_add(1, Relaxed);
                match failure {
                    Failure::ConnectRefused => {
                        self.take_out(reservation.slot, "connection refused", true, now)
                    }
                    Failure::ConnectTimeout => {
                        self.take_out(reservation.slot, "connect timed out", false, now)
                    }
                    _ => self.count_failure(reservation.slot, failure, now),
                }
            }
        }
    }

    /// Sets prediction against what the engine reported, and mends the index where the engine had less.
    fn learn(&self, reservation: &Reservation, outcome: Outcome) {
        let counters = &reservation.state.prediction;
        let predicted = u64::from(reservation.predicted_cached_tokens);
        if let Some(usage) = outcome.usage
            && !reservation.token_ids
        {
            self.ratios.observe(
                &reservation.model,
                reservation.stream_bytes,
                usage.prompt_tokens,
            );
        }
        if reservation.part == Part::Decode {
            // What it calls cached was computed elsewhere and sent over.
            return;
        }
        let Some(cached) = outcome.usage.and_then(|usage| usage.cached_tokens) else {
            counters.unreported_requests.fetch_add(1, Relaxed);
            counters
                .unreported_predicted_tokens
                .fetch_add(predicted, Relaxed);
            return;
        };
        if !self.profile().reads_prefix() {
            // Nothing was predicted that could be wrong.
            return;
        }
        counters.reported_requests.fetch_add(1, Relaxed);
        counters.predicted_tokens.fetch_add(predicted, Relaxed);
        counters.actual_tokens.fetch_add(cached, Relaxed);
        counters
            .absolute_error_tokens
            .fetch_add(predicted.abs_diff(cached), Relaxed);
        if reservation.exact {
            counters.exact_requests.fetch_add(1, Relaxed);
            let equal = u64::from(predicted == cached);
            counters.exact_equal_requests.fetch_add(equal, Relaxed);
            return;
        }
        self.cut_back(reservation, cached);
    }

    /// The engine had dropped part of what we believed it held. It evicts tails first, so everything below the
    /// cut is gone with it, in this conversation and in its siblings; this request then stored its own prompt anew.
    fn cut_back(&self, reservation: &Reservation, cached_tokens: u64) {
        let block_tokens = u64::from(reservation.state.block_size_tokens());
        let predicted = u64::from(reservation.predicted_cached_tokens);
        let [placement] = reservation.placements.as_slice() else {
            return;
        };
        if cached_tokens + block_tokens >= predicted {
            return;
        }
        let bytes_per_token = if reservation.token_ids {
            4.0
        } else {
            self.ratios.bytes_per_token(&reservation.model)
        };
        let keep_bytes = (cached_tokens + block_tokens) as f64 * bytes_per_token;
        let keep_blocks = (keep_bytes / BLOCK_BYTES as f64) as u32;
        if keep_blocks < reservation.matched_blocks {
            self.index
                .cut(reservation.slot, &placement.chain, keep_blocks);
            let again = self.index.place(reservation.slot, &placement.chain);
            self.index.confirm(again);
        }
    }
}

/// Time from first to last byte and output tokens of an answer that came whole and in pieces.
fn whole_answer(
    reservation: &Reservation,
    outcome: Outcome,
    now: Duration,
) -> Option<(Duration, u64)> {
    let (End::Complete { .. }, Some(usage), Some(first), true) = (
        outcome.end,
        outcome.usage,
        reservation.first_byte_at,
        reservation.stream,
    ) else {
        return None;
    };
    Some((now.saturating_sub(first), usage.completion_tokens))
}
