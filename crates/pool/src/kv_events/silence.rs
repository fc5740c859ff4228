//! Does an engine work without telling?
//!
//! A connection on which nothing comes is no proof: an idle engine says nothing, and nor does one whose every prompt is
//! cached. But an engine that computed more prompt tokens than re-computing the ends of cached prompts can explain has
//! stored new blocks, and must have told.

use std::time::Duration;

use tokio::time::Instant;

use super::sink::Seen;
use crate::watched::Watched;

/// Metrics and picks since which nothing was heard.
struct Since {
    computed_tokens: f64,
    picks: u64,
}

/// What was heard of one endpoint, and what its metrics say.
pub(super) struct Silence {
    since: Option<Since>,
    /// Scrapes when something was heard last: metrics of a scrape that began before it may count what it told.
    heard_at_scrape: u64,
    /// Since when it is known that there is something to tell.
    evidence: Option<Instant>,
}

impl Silence {
    pub(super) fn new() -> Self {
        Self {
            since: None,
            heard_at_scrape: 0,
            evidence: None,
        }
    }

    /// Something came, or it is known by other means that there is nothing.
    pub(super) fn heard(&mut self, endpoint: &Watched) {
        self.since = None;
        self.evidence = None;
        self.heard_at_scrape = endpoint.figures.look().scrapes;
    }

    /// For how long the engine has had something to tell; `None` where nothing is known of it.
    pub(super) fn look(&mut self, endpoint: &Watched) -> Option<Duration> {
        let seen = endpoint.figures.look();
        let Seen {
            computed_tokens: Some(computed_tokens),
            scrapes,
            ..
        } = seen
        else {
            return None;
        };
        let picks = endpoint.state.picks();
        let Some(since) = &self.since else {
            // The next scrape after this one began after whatever was heard.
            if scrapes > self.heard_at_scrape + 1 {
                self.since = Some(Since {
                    computed_tokens,
                    picks,
                });
            }
            return None;
        };
        let block_tokens = f64::from(endpoint.figures.block_size_tokens().unwrap_or(16));
        let requests = picks.saturating_sub(since.picks) + endpoint.state.active_requests() + 1;
        let explained = requests as f64 * 2.0 * block_tokens;
        if computed_tokens < since.computed_tokens {
            // Counters began anew with another process.
            self.since = None;
            self.evidence = None;
            return None;
        }
        if computed_tokens - since.computed_tokens <= explained {
            return None;
        }
        Some(self.evidence.get_or_insert_with(Instant::now).elapsed())
    }
}
