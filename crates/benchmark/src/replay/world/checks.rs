//! What do the checkers get to see?

use std::sync::Arc;
use std::time::Duration;

use super::World;
use crate::replay::ledger::Mutation;

/// Simulated time between two looks at index sizes.
pub(super) const AUDIT_EVERY: Duration = Duration::from_secs(10);

impl World<'_> {
    /// Looks at the size of every index now and then.
    pub(super) fn audit(&mut self, now: Duration) {
        if now < self.next_audit {
            return;
        }
        self.next_audit = now + AUDIT_EVERY;
        for (number, gateway) in self.gateways.iter().enumerate() {
            self.ledger
                .index(number, &gateway.router.books(now), self.engines_blocks);
        }
    }

    /// The last looks, once nothing is on its way any more.
    pub(super) fn close(&mut self) {
        if self.settings.mutation == Some(Mutation::StrandWork) {
            let stranded =
                self.replicas
                    .submit(0, u64::MAX, Arc::from([1, 2, 3]), (1, 0), 0, Duration::MAX);
            debug_assert!(stranded.is_ok(), "a tiny request always fits");
        }
        for replica in 0..self.replicas.len() {
            let snapshot = self.replicas.engines[replica].model.snapshot();
            self.ledger.engine(
                replica,
                snapshot.running,
                snapshot.waiting,
                snapshot.kv_cache_usage,
            );
        }
        for (number, gateway) in self.gateways.iter_mut().enumerate() {
            gateway.router.chores();
            let books = gateway.router.books(Duration::MAX);
            self.ledger.gateway(number, &books, self.engines_blocks);
        }
    }
}
