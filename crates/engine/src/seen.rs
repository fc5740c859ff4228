//! Which requests has this engine seen, and how far did each get?
//!
//! For tests that kill engines: a request is followed by its `x-request-id` from the client to here.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

/// Requests remembered; the oldest is forgotten first.
pub(crate) const MAX_SEEN: usize = 10_000;

/// How far a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Progress {
    Received,
    FirstToken,
    Finished,
    Aborted,
}

/// One generation request.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    /// Name of the request in this engine.
    pub(crate) id: String,
    /// The client's header, where there was one.
    pub(crate) x_request_id: Option<String>,
    pub(crate) path: String,
    pub(crate) state: Progress,
    /// Milliseconds since the engine started.
    pub(crate) received_ms: u64,
    pub(crate) prompt_tokens: usize,
    pub(crate) cached_tokens: Option<usize>,
}

/// The last requests, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Entry>,
    /// Number of the first entry.
    first: u64,
}

impl Seen {
    /// Notes a request; the number names it in later calls.
    pub(crate) fn add(
        &self,
        id: &str,
        x_request_id: Option<&str>,
        path: &str,
        prompt_tokens: usize,
        now: Duration,
    ) -> u64 {
        let entry = Entry {
            id: id.to_owned(),
            x_request_id: x_request_id.map(str::to_owned),
            path: path.to_owned(),
            state: Progress::Received,
            received_ms: now.as_millis() as u64,
            prompt_tokens,
            cached_tokens: None,
        };
        let mut ring = self.0.lock();
        if ring.entries.len() >= MAX_SEEN {
            ring.entries.pop_front();
            ring.first += 1;
        }
        ring.entries.push_back(entry);
        ring.first + ring.entries.len() as u64 - 1
    }

    /// Notes progress; an end is final.
    pub(crate) fn set(&self, number: u64, state: Progress, cached_tokens: Option<usize>) {
        let mut ring = self.0.lock();
        let Some(index) = number.checked_sub(ring.first) else {
            return;
        };
        if let Some(entry) = ring.entries.get_mut(index as usize)
            && !matches!(entry.state, Progress::Finished | Progress::Aborted)
        {
            entry.state = state;
            entry.cached_tokens = cached_tokens.or(entry.cached_tokens);
        }
    }

    pub(crate) fn list(&self) -> Vec<Entry> {
        self.0.lock().entries.iter().cloned().collect()
    }
}
