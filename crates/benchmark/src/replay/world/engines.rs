//! What follows from what an engine does?

use std::sync::Arc;
use std::time::Duration;

use engine::model::{CacheEvent, Event};

use super::World;
use crate::replay::clock::{Replica, What};
use crate::replay::ledger::Mutation;

impl World<'_> {
    /// Moves an engine to `now` and enters what its tokens lead to.
    pub(super) fn advance(&mut self, replica: Replica, now: Duration) {
        let mut events = std::mem::take(&mut self.events);
        self.replicas.advance(replica, now, &mut events);
        for event in events.drain(..) {
            self.engine_event(replica, event);
        }
        self.events = events;
        let wake = self.replicas.engines[replica].model.next_wake();
        let wake = wake.map(|at| at.max(now));
        let engine = &mut self.replicas.engines[replica];
        if engine.wakes_at != wake || wake == Some(now) {
            engine.wakes_at = wake;
            if let Some(at) = wake {
                self.agenda.at(at, What::Step(replica));
            }
        }
    }

    pub(super) fn engine_event(&mut self, replica: Replica, event: Event) {
        match event {
            Event::Token {
                id, at, gap: None, ..
            } => {
                if let Some(number) = self.replicas.number(replica, id) {
                    self.hash.event(at, [17, number, replica as u64]);
                    if let Some(flight) = self.flights.get_mut(&number) {
                        flight.first_token = at + self.settings.hop;
                        self.agenda.at(
                            at + self.settings.hop + self.settings.lag,
                            What::FirstToken(number),
                        );
                    }
                }
            }
            Event::Finished {
                id, at, timings, ..
            } => {
                let Some(number) = self.replicas.number(replica, id) else {
                    return;
                };
                self.replicas.forget(replica, id);
                self.hash.event(at, [18, number, replica as u64]);
                if let Some(flight) = self.flights.get_mut(&number) {
                    flight.timings = Some(timings);
                    let at = at + self.settings.hop + self.settings.lag;
                    self.agenda.at(at, What::End(number));
                    if self.mutates(Mutation::ServeTwice, number) {
                        self.agenda.at(at, What::End(number));
                    }
                }
            }
            Event::Step {
                at,
                scheduled_tokens,
                num_requests,
                started,
                ..
            } => {
                self.hash.event(
                    at,
                    [
                        19,
                        replica as u64,
                        (scheduled_tokens as u64) << 20 | num_requests as u64,
                    ],
                );
                self.figures
                    .step(replica, started, at, scheduled_tokens, num_requests);
            }
            Event::Cache { at, events } => self.cache_news(replica, at, events),
            Event::Scheduled { id, .. } => {
                let number = self.replicas.number(replica, id);
                if let Some(flight) = number.and_then(|number| self.flights.get(&number)) {
                    self.replicas.engines[replica]
                        .waiting
                        .take(flight.prefill());
                }
            }
            Event::Token { .. } => {}
            Event::Preempted { .. } => self.figures.preempted(),
        }
    }

    pub(super) fn cache_news(&mut self, replica: Replica, at: Duration, events: Vec<CacheEvent>) {
        if !self.wants.cache_events {
            return;
        }
        let events: Arc<[CacheEvent]> = events.into();
        for gateway in 0..self.gateways.len() {
            self.agenda.at(
                at + self.settings.hop + self.settings.events + self.settings.lag,
                What::CacheNews {
                    gateway,
                    replica,
                    events: Arc::clone(&events),
                },
            );
        }
    }
}
