//! What is the state of one engine, and how does time move it?

use std::time::Duration;

use super::{BatchConfig, ConfigError, Event, Rejected, Request, RequestId, Snapshot};
use crate::backend::Backend;

/// One engine: queue, running batch, block pool, and the step in flight.
pub struct BatchModel {}

impl BatchModel {
    /// An idle engine with an empty cache.
    ///
    /// # Errors
    /// The limits contradict each other, see [`BatchConfig::validate`].
    pub fn new(config: BatchConfig, backend: Box<dyn Backend>) -> Result<Self, ConfigError>;
    /// Queues a request. It takes part in steps that begin at `now` or later.
    /// Call [`advance`](Self::advance) up to `now` first, and again right after, to start a step.
    ///
    /// # Errors
    /// The request can never run, or the queue is full.
    pub fn submit(&mut self, now: Duration, request: Request) -> Result<RequestId, Rejected>;
    /// Ends a request at once, wherever it is; no event follows. False when there is no such request (any more).
    pub fn abort(&mut self, id: RequestId) -> bool;
    /// Ends every step due by `now`, starts those that can start by then, and appends what happened to `events`.
    /// A late call loses nothing: steps begin and end when they would have, one right after the other.
    pub fn advance(&mut self, now: Duration, events: &mut Vec<Event>);
    /// When `advance` has something to do next: the end of the step in flight, or the arrival of a request that can
    /// start one (which may be in the past). `None`: nothing until the next `submit` or `resume`.
    pub fn next_wake(&self) -> Option<Duration>;
    /// Stops starting steps: requests queue up and hang; the step in flight ends.
    pub fn pause(&mut self);
    /// Starts steps again, at `now` at the earliest.
    pub fn resume(&mut self, now: Duration);
    /// Drops the whole prefix cache. False, and nothing happens, while a request holds blocks.
    pub fn reset_prefix_cache(&mut self) -> bool;
    /// Gauges at this moment, totals as of the last step.
    pub fn snapshot(&self) -> Snapshot;
    pub fn config(&self) -> &BatchConfig;
    /// Requests submitted and not over.
    pub fn num_requests(&self) -> usize;
}
