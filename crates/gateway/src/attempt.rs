//! How does what is reserved at an endpoint come back exactly once?

use std::sync::Arc;

use engine_api::usage::Usage;
use fleet::{End, Failure, Fleet, Outcome, Reservation};
use kv_index::Slot;
use pool::Clock;

/// One attempt at one endpoint. However it ends, dropped included, the fleet is told once.
pub(crate) struct Attempt {
    fleet: Arc<Fleet>,
    clock: Clock,
    /// `None` once the outcome was told.
    reservation: Option<Reservation>,
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
            usage: None,
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
