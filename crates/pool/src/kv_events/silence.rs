//! Does an engine work without telling?
//!
//! A connection on which nothing comes is no proof: an idle engine says nothing, and nor does one whose every prompt is
//! cached. But an engine that computed more prompt tokens than re-computing the ends of cached prompts can explain has
//! stored new blocks, and must have told.

use std::time::Duration;

use tokio::time::Instant;

use super::sink::Seen;

/// Tokens in a block where the engine has not told.
const USUAL_BLOCK_TOKENS: u32 = 16;

/// What is known of an endpoint's work at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    /// What its metrics said last.
    pub(super) seen: Seen,
    /// Requests sent to it by us, ever, and those still on.
    pub(super) picks: u64,
    pub(super) active_requests: u64,
}

/// Metrics and picks since which nothing was heard.
struct Since {
    computed_tokens: f64,
    picks: u64,
}

/// What was heard of one endpoint, and what its metrics say.
#[derive(Default)]
pub(super) struct Silence {
    since: Option<Since>,
    /// Scrapes when something was heard last: metrics of a scrape that began before it may count what it told.
    heard_at_scrape: u64,
    /// Since when it is known that there is something to tell.
    evidence: Option<Instant>,
}

impl Silence {
    /// Something came, or it is known by other means that there is nothing.
    pub(super) fn heard(&mut self, seen: Seen) {
        self.since = None;
        self.evidence = None;
        self.heard_at_scrape = seen.scrapes;
    }

    /// For how long the engine has had something to tell; `None` where nothing is known of it.
    pub(super) fn look(&mut self, work: Work, now: Instant) -> Option<Duration> {
        let computed_tokens = work.seen.computed_tokens?;
        let Some(since) = &self.since else {
            // The next scrape after this one began after whatever was heard.
            if work.seen.scrapes > self.heard_at_scrape + 1 {
                self.since = Some(Since {
                    computed_tokens,
                    picks: work.picks,
                });
            }
            return None;
        };
        if computed_tokens < since.computed_tokens {
            // Counters began anew with another process.
            self.since = None;
            self.evidence = None;
            return None;
        }
        if computed_tokens - since.computed_tokens <= explained(since, work) {
            return None;
        }
        Some(now - *self.evidence.get_or_insert(now))
    }
}

/// Most tokens that were computed without anything new to store.
fn explained(since: &Since, work: Work) -> f64 {
    let block_tokens = work.seen.block_size_tokens.unwrap_or(USUAL_BLOCK_TOKENS);
    let requests = work.picks.saturating_sub(since.picks) + work.active_requests + 1;
    requests as f64 * 2.0 * f64::from(block_tokens)
}

#[cfg(test)]
#[path = "silence_tests.rs"]
mod tests;
