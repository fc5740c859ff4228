//! How do metrics pages travel?

use std::time::Duration;

use super::World;
use crate::replay::clock::{GatewayNumber, Replica, What};
use crate::replay::ledger::Mutation;
use crate::replay::router::Gauges;

impl World<'_> {
    pub(super) fn enter_first_scrapes(&mut self) {
        for gateway in 0..self.gateways.len() {
            for replica in 0..self.replicas.len() {
                let pace = &mut self.gateways[gateway].paces[replica];
                let (at, turn) = (pace.first(), pace.turn());
                self.agenda.at(
                    at,
                    What::ScrapeSent {
                        gateway,
                        replica,
                        turn,
                    },
                );
            }
        }
    }

    pub(super) fn scrape_sent(&mut self, now: Duration, gateway: GatewayNumber, replica: Replica) {
        let one = &mut self.gateways[gateway];
        one.paces[replica].sent(now);
        one.router.scrape_sent(replica, now);
        self.agenda.at(
            now + self.settings.hop + self.settings.page / 2,
            What::ScrapeWritten { gateway, replica },
        );
    }

    pub(super) fn scrape_read(
        &mut self,
        now: Duration,
        gateway: GatewayNumber,
        replica: Replica,
        page: &Gauges,
    ) {
        let mut page = *page;
        if self.settings.mutation == Some(Mutation::OverfillIndex) {
            page.num_blocks *= 16;
        }
        let one = &mut self.gateways[gateway];
        one.router.scrape_read(replica, &page, now);
        let busy = page.running + page.waiting > 0;
        let (at, turn) = one.paces[replica].read(now, busy);
        if self.is_over() {
            return;
        }
        self.agenda.at(
            at,
            What::ScrapeSent {
                gateway,
                replica,
                turn,
            },
        );
    }
}
