//! What decides, and what may it know?
//!
//! A router sees what a gateway of its kind sees: requests as they come, metrics as they were when the page was written,
//! first bytes and ends when they arrive. Only the bounds look at the engines themselves.

mod fleet;
mod rules;

use std::time::Duration;

use engine::model::{BlockHash, CacheEvent};
use kv_index::Chain;

use super::clock::{Replica, RequestNumber};
use super::replicas::Replicas;

pub(crate) use fleet::FleetRouter;
pub(crate) use rules::RuleRouter;

/// A request, as a gateway sees it.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) number: RequestNumber,
    pub(crate) prompt: &'a [u32],
    /// The gateway's own chain; empty unless the router asked for it.
    pub(crate) chain: &'a Chain,
    /// Chained hashes of its blocks of 16 tokens; empty unless the router asked for them.
    pub(crate) blocks: &'a [u64],
    /// The same with those of what will be generated; for bounds.
    pub(crate) blocks_with_output: &'a [u64],
    /// The engines' own names of its blocks; empty unless the router asked for them.
    pub(crate) names: &'a [BlockHash],
    pub(crate) prompt_tokens: u32,
    /// The limit in the body: here, the number that will be generated.
    pub(crate) max_tokens: u32,
    pub(crate) session: u64,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) replica: Replica,
    /// Prompt tokens believed to be cached there.
    pub(crate) predicted_tokens: u32,
    /// Prompt tokens that a cache outside the engines supplies (bounds only).
    pub(crate) external_tokens: u32,
}

/// What a metrics page says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Gauges {
    pub(crate) running: u32,
    pub(crate) waiting: u32,
    pub(crate) kv_usage: f64,
    pub(crate) block_size_tokens: u32,
    pub(crate) num_blocks: u32,
    pub(crate) queries_tokens: u64,
    pub(crate) hits_tokens: u64,
    pub(crate) prefix_caching: bool,
}

/// What the end of a response says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) prompt_tokens: u64,
    pub(crate) output_tokens: u64,
    /// `None` where engines do not report it.
    pub(crate) cached_tokens: Option<u64>,
}

/// What must be nothing once all requests are over, and what must never be more than its bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    /// Load still booked, by replica and counter.
    pub(crate) left_over: Vec<String>,
    /// Blocks held in the index.
    pub(crate) index_blocks: u64,
    /// What it may hold by its configuration; `None` where the engines' own capacities bound it.
    pub(crate) index_capacity_blocks: Option<u64>,
}

/// Decides where requests go.
pub(crate) trait Router: Send {
    /// Picks and books. `truth` is for bounds only.
    fn route(&mut self, ask: &Ask<'_>, truth: &Replicas, now: Duration) -> anyhow::Result<Choice>;

    /// A scrape leaves for `replica`.
    fn scrape_sent(&mut self, _replica: Replica, _now: Duration) {}

    /// Its page is here.
    fn scrape_read(&mut self, _replica: Replica, _page: &Gauges, _now: Duration) {}

    /// The first token of a response is here.
    fn first_token(&mut self, number: RequestNumber, now: Duration);

    /// A response is over.
    fn finished(&mut self, number: RequestNumber, answer: Answer, now: Duration);

    /// Whether it wants [`Ask::chain`].
    fn wants_chain(&self) -> bool {
        false
    }

    /// Works off writes that wait; false when none did.
    fn chores(&mut self) -> bool {
        false
    }

    /// Whether it wants [`Ask::blocks`].
    fn wants_blocks(&self) -> bool {
        false
    }

    /// Whether it wants [`Ask::names`].
    fn wants_names(&self) -> bool {
        false
    }

    /// Whether it listens to the engines' cache events.
    fn wants_cache_events(&self) -> bool {
        false
    }

    /// Cache events of `replica` are here.
    fn cache_events(&mut self, _replica: Replica, _events: &[CacheEvent], _now: Duration) {}

    /// Fixed time between scrapes, where its configuration says so.
    fn scrape_interval(&self) -> Option<Duration> {
        None
    }

    /// Its own account, for the checkers.
    fn books(&self, now: Duration) -> Books;
}
