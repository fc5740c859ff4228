//! How far is the prefill that an endpoint works on now?
//!
//! A decision reads this of every endpoint, so it does not wait for the lane: three figures, each on its own. Read while
//! they change, they are off for one decision by one prompt.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::Open;

/// Times are kept in tenths of a millisecond, which wrap around after five days; no request is that old.
const UNIT_US: f64 = 100.0;

/// The first request without a first byte.
#[derive(Debug, Default)]
pub(super) struct Head {
    begins: AtomicU32,
    takes: AtomicU32,
    tokens: AtomicU32,
}

impl Head {
    /// `open` is the first now.
    pub(super) fn of(&self, open: Option<&Open>) {
        let (begins_us, takes_us, tokens) = open.map_or((0.0, 0.0, 0.0), |open| {
            (open.done_us - open.takes_us, open.takes_us, open.tokens)
        });
        self.begins.store(wrapped(begins_us), Relaxed);
        self.takes.store(wrapped(takes_us).max(1), Relaxed);
        self.tokens.store(tokens as u32, Relaxed);
    }

    /// Tokens of it that are expected to be computed. Never those of the next: where answers come late because all queues
    /// are long, queues would look the shorter for it, and a hot prefix would drown its endpoint.
    pub(super) fn done_tokens(&self, now_us: u64) -> f64 {
        let tokens = f64::from(self.tokens.load(Relaxed));
        if tokens == 0.0 {
            return 0.0;
        }
        let since = wrapped(now_us as f64).wrapping_sub(self.begins.load(Relaxed));
        // Not begun yet, where the subtraction has wrapped below zero.
        let since = if since > u32::MAX / 2 { 0 } else { since };
        let takes = f64::from(self.takes.load(Relaxed).max(1));
        let share = f64::from(since) / takes;
        // One that is overdue is slower than was thought: the longer it is so, the less of it is done.
        tokens * share.min(1.0).min(1.0 / share.max(f64::MIN_POSITIVE))
    }
}

fn wrapped(us: f64) -> u32 {
    // Ends of prefills may be reckoned from before process start.
    (us / UNIT_US) as i64 as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_goes_from_begin_to_end_and_over_the_wrap() {
        let check = |begins_us: f64, now_us: u64, expected: f64| {
            let head = Head::default();
            let open = Open {
                name: 0,
                picked_us: begins_us,
                takes_us: 50_000.0,
                done_us: begins_us + 50_000.0,
                tokens: 1_000.0,
            };
            head.of(Some(&open));
            let seen = head.done_tokens(now_us);
            assert!(
                (seen - expected).abs() < 3.0,
                "{begins_us} {now_us}: {seen}"
            );
        };
        check(100_000.0, 100_000, 0.0);
        check(100_000.0, 90_000, 0.0);
        check(100_000.0, 125_000, 500.0);
        check(100_000.0, 150_000, 1_000.0);
        // Four times as slow as was thought, so far: a quarter is done.
        check(100_000.0, 300_000, 250.0);
        check(-20_000.0, 5_000, 500.0);
        let wrap_us = f64::from(u32::MAX) * UNIT_US;
        check(wrap_us - 10_000.0, wrap_us as u64 + 15_000, 500.0);
    }
}
