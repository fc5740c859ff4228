//! What did tokenizing cost, and how often did it fail?

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use super::{Tokens, Without};

const REASONS: [Without; 8] = [
    Without::NoTokenizer,
    Without::NoEngine,
    Without::Refused,
    Without::Media,
    Without::Route,
    Without::Busy,
    Without::Slow,
    Without::Body,
];

/// Counters of one pool.
#[derive(Debug, Default)]
pub(crate) struct TokenFigures {
    requests: AtomicU64,
    without: [AtomicU64; REASONS.len()],
    text_bytes: AtomicU64,
    new_bytes: AtomicU64,
}

/// For `/admin/state` and metrics.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TokenReport {
    /// `files`, `built-in`, `engine`, `none`
    pub(crate) source: &'static str,
    /// Requests whose tokens are known.
    pub(crate) requests: u64,
    /// Requests that went without, by reason; none left out.
    pub(crate) without: Vec<(&'static str, u64)>,
    /// Bytes of bodies, and of text that had to be tokenized for them.
    pub(crate) text_bytes: u64,
    pub(crate) new_bytes: u64,
    /// Memory of what is remembered, bytes.
    pub(crate) held_bytes: u64,
}

impl TokenFigures {
    pub(super) fn ended(&self, without: Option<Without>) {
        let counter = match without {
            None => &self.requests,
            Some(reason) => {
                let at = REASONS.iter().position(|known| *known == reason);
                &self.without[at.unwrap_or(0)]
            }
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn text(&self, bytes: usize, new_bytes: usize) {
        self.text_bytes.fetch_add(bytes as u64, Relaxed);
        self.new_bytes.fetch_add(new_bytes as u64, Relaxed);
    }
}

impl Tokens {
    /// Everything an operator may see of it.
    pub(crate) fn report(&self) -> TokenReport {
        let figures = &self.figures;
        let without = REASONS.iter().zip(&figures.without);
        TokenReport {
            source: self.source(),
            requests: figures.requests.load(Relaxed),
            without: without
                .map(|(reason, count)| (reason.name(), count.load(Relaxed)))
                .collect(),
            text_bytes: figures.text_bytes.load(Relaxed),
            new_bytes: figures.new_bytes.load(Relaxed),
            held_bytes: self.held_bytes() as u64,
        }
    }
}
