//! What may a plugin know of a request and of the endpoints it could go to?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kv_index::Slot;

use crate::Slo;
use crate::numbers::load;

/// What does not change from request to request about an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointInfo {
    pub slot: Slot,
    /// Unique in its pool; `namespace/name` on Kubernetes.
    pub name: Arc<str>,
    /// `host:port`
    pub address: Arc<str>,
    pub labels: BTreeMap<String, String>,
}

/// How the requested model's adapter stands at an endpoint, last scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterFit {
    /// Running requests use it.
    Running,
    /// Not there, and fewer adapters run or wait than there are slots.
    FreeSlot,
    /// Requests for it wait for a slot.
    Waiting,
    /// Other adapters have every slot, or the engine says nothing of adapters.
    Full,
}

/// The request, as plugins see it.
#[derive(Clone, Debug, Default)]
pub struct Ask<'a> {
    pub model: &'a str,
    /// Exact for token-id prompts, else estimated from bytes by the learned bytes per token.
    pub prompt_tokens: f32,
    /// Canonical blocks of the prompt, a trailing partial one counted; 0 for a request without a prompt.
    pub total_blocks: f32,
    /// Output that a request of this kind is expected to have, tokens: learned, and no more than it allows.
    pub expected_output_tokens: f32,
    /// Lower-cased headers that some configured plugin asked for ([`crate::Profile::headers`]), nothing else.
    pub headers: &'a [(&'a str, &'a str)],
    /// Of the objective it names; 0 where it names none. Below 0 it may be turned away for others.
    pub priority: i32,
    /// How long its tokens may take, where a plugin asked for the headers that say so.
    pub slo: Slo,
    /// It holds a picture, a sound or a film; false unless a plugin asks ([`crate::Profile::reads_media`]).
    pub media: bool,
    /// Time since process start.
    pub now: Duration,
    /// Keep the reasons of every candidate, not only of the preferred ones.
    pub explain: bool,
}

impl<'a> Ask<'a> {
    /// The header called `name`, lower case, if some plugin asked for it and the request has it.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.headers.iter().find(|(known, _)| *known == name)?;
        Some(value)
    }
}

/// What one request is to expect at an endpoint, by what was learned of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Forecast {
    /// Until all prefills that we sent there before are done, ms.
    pub wait_ms: f32,
    /// Of its own prefill there, ms.
    pub prefill_ms: f32,
    /// Of each of its output tokens there, ms.
    pub token_ms: f32,
    /// Our requests there without a first byte.
    pub waiting: f32,
    /// Milliseconds of prefill sent there per millisecond lately.
    pub busy: f32,
    /// Rests on answers that were seen, not on what is assumed before any was.
    pub learned: bool,
}

impl Forecast {
    /// From now to its first token, ms.
    pub fn ttft_ms(&self) -> f32 {
        load(self.wait_ms) + load(self.prefill_ms)
    }
}

/// The endpoints a request could go to, one row each; every vector has the same length. A buffer that
/// lives as long as its thread: nothing is allocated per request once it has grown.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    /// All endpoints of the published view; row `i` is `infos[rows[i]]`.
    pub infos: Arc<[EndpointInfo]>,
    pub rows: Vec<u32>,
    /// Waiting requests: last scrape plus our picks and minus our ends since that scrape began; never below 0.
    pub queue_requests: Vec<f32>,
    /// Running requests, last scrape.
    pub running_requests: Vec<f32>,
    /// 0..1, last scrape corrected by what we started and ended since.
    pub kv_usage: Vec<f32>,
    /// Our own requests in flight.
    pub active_requests: Vec<f32>,
    /// Uncached prompt tokens of our requests in flight, until their end.
    pub active_tokens: Vec<f32>,
    /// Uncached prompt tokens of our requests that have no first byte yet.
    pub queued_tokens: Vec<f32>,
    /// Canonical blocks of this prompt held, leading run.
    pub matched_blocks: Vec<f32>,
    /// The same in tokens, rounded down to the endpoint's own block size and to what an engine reuses.
    pub matched_tokens: Vec<f32>,
    /// Prefill cost learned for the endpoint, milliseconds per uncached token; never 0.
    pub prefill_ms_per_token: Vec<f32>,
    /// Milliseconds per output token learned for the endpoint; 0 while unknown.
    pub decode_ms_per_token: Vec<f32>,
    /// The requested model's adapter; empty unless the profile reads it ([`crate::Profile::reads_adapters`]).
    pub adapters: Vec<AdapterFit>,
    /// Empty unless the profile reads it ([`crate::Profile::reads_forecasts`]).
    pub forecasts: Vec<Forecast>,
    /// Pick sequence number when the endpoint was last picked; 0 for never. Ties go to the lowest.
    pub last_pick: Vec<u64>,
}

impl Candidates {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn info(&self, row: usize) -> &EndpointInfo {
        &self.infos[self.rows[row] as usize]
    }

    /// What is expected of `row`; nothing unless the profile reads forecasts.
    pub(crate) fn forecast(&self, row: usize) -> Forecast {
        self.forecasts.get(row).copied().unwrap_or_default()
    }

    /// Empties every row, keeping the memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        for column in self.columns() {
            column.clear();
        }
        self.adapters.clear();
        self.forecasts.clear();
        self.last_pick.clear();
    }

    /// Makes every column that is always there as long as [`Candidates::rows`], new places 0.
    pub fn widen(&mut self) {
        let rows = self.rows.len();
        for column in self.columns() {
            column.resize(rows, 0.0);
        }
        self.last_pick.resize(rows, 0);
    }

    fn columns(&mut self) -> [&mut Vec<f32>; 10] {
        [
            &mut self.queue_requests,
            &mut self.running_requests,
            &mut self.kv_usage,
            &mut self.active_requests,
            &mut self.active_tokens,
            &mut self.queued_tokens,
            &mut self.matched_blocks,
            &mut self.matched_tokens,
            &mut self.prefill_ms_per_token,
            &mut self.decode_ms_per_token,
        ]
    }
}
