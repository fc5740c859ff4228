//! How does what is reserved at an endpoint come back exactly once?

use std::sync::Arc;

use engine_api::usage::Usage;
use fleet::{End, Failure, Fleet, Outcome, Part, Reservation};
use http::HeaderValue;
use kv_index::Slot;
use pool::Clock;

/// One attempt at one endpoint. However it ends, dropped included, the fleet is told once.
pub(crate) struct Attempt {
    fleet: Arc<Fleet>,
    clock: Clock,
    /// `None` once the outcome was told.
    reservation: Option<Reservation>,
    /// Stages done elsewhere; each over with the first byte.
    beside: Vec<Reservation>,
    slot: Slot,
    predicted_cached_tokens: u32,
    pub(crate) usage: Option<Usage>,
}

impl Attempt {
    pub(crate) fn new(fleet: Arc<Fleet>, clock: Clock, reservation: Reservation) -> Self {
        Self {
            fleet,
            clock,
            slot: reservation.slot,
            predicted_cached_tokens: reservation.predicted_cached_tokens,
            reservation: Some(reservation),
            beside: Vec::new(),
            usage: None,
        }
    }

    /// The same with stages at other endpoints.
    pub(crate) fn with(mut self, beside: Vec<Reservation>) -> Self {
        self.beside = beside;
        self
    }

    /// What tells the endpoint who does which stage.
    pub(crate) fn stage_headers(&self) -> Vec<(&'static str, HeaderValue)> {
        let view = self.fleet.view();
        let stages = self.beside.iter().filter_map(|reservation| {
            let Part::Stage(stage) = reservation.part else {
                return None;
            };
            let address = &view.get(reservation.slot)?.spec.address;
            Some((stage.header(), HeaderValue::from_str(address).ok()?))
        });
        stages.collect()
    }

    fn end_stages(&mut self, began: bool) {
        for stage in self.beside.drain(..) {
            self.fleet.finish_stage(stage, began, self.clock.now());
        }
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    pub(crate) fn predicted_cached_tokens(&self) -> u32 {
        self.predicted_cached_tokens
    }

    /// The first byte of a good response is about to be passed on.
    pub(crate) fn first_byte(&mut self) {
        let now = self.clock.now();
        if let Some(reservation) = &mut self.reservation {
            self.fleet.first_byte(reservation, now);
            self.end_stages(true);
        }
    }

    pub(crate) fn complete(&mut self, status: u16) {
        self.settle(End::Complete { status });
    }

    /// Failed before anything was passed on.
    pub(crate) fn failed_before(&mut self, failure: Failure) {
        self.settle(End::FailedBeforeFirstByte(failure));
    }

    /// Failed with bytes already passed on.
    pub(crate) fn failed_after(&mut self, failure: Failure) {
        self.settle(End::FailedAfterFirstByte(failure));
    }

    /// Tells the outcome; later calls are nothing.
    fn settle(&mut self, end: End) {
        self.end_stages(false);
        if let Some(reservation) = self.reservation.take() {
            let outcome = Outcome {
                end,
                usage: self.usage,
            };
            self.fleet.finish(reservation, outcome, self.clock.now());
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.settle(End::ClientGone);
    }
}
