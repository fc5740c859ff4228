//! How does a run go? Takes the next event off the agenda, lets it happen, enters what follows from it.

mod checks;
mod engines;
mod flight;
mod prompts;
mod scrapes;

use std::collections::HashMap;
use std::time::Duration;

use engine::model::Event;
use rand::rngs::SmallRng;

use super::clock::{Agenda, EventHash, GatewayNumber, RequestNumber, What};
use super::figures::Figures;
use super::ledger::Ledger;
use super::pace::Pace;
use super::replicas::Replicas;
use super::router::Router;
use super::settings::Settings;
use crate::workload::jobs::Jobs;
use crate::workload::text;
use checks::AUDIT_EVERY;
use flight::Flight;
use prompts::Wants;

/// A gateway: what decides there, and how often it looks at each engine.
struct Gateway {
    router: Box<dyn Router>,
    paces: Vec<Pace>,
    /// The index writer is entered on the agenda.
    chores_entered: bool,
}

/// One arm: engines, gateways, and everything that is on its way.
pub(crate) struct World<'a> {
    settings: &'a Settings,
    agenda: Agenda,
    replicas: Replicas,
    gateways: Vec<Gateway>,
    flights: HashMap<RequestNumber, Flight>,
    ledger: Ledger,
    figures: Figures,
    hash: EventHash,
    rng: SmallRng,
    arrivals: RequestNumber,
    arrived_all: bool,
    /// Jobs put on the agenda.
    entered: u64,
    events: Vec<Event>,
    bytes: Vec<u8>,
    next_audit: Duration,
    wants: Wants,
    /// Canonical blocks that all engines together can hold.
    engines_blocks: u64,
}

/// What came of a run.
pub(crate) struct Done {
    pub(crate) figures: Figures,
    pub(crate) ledger: Ledger,
    pub(crate) hash: EventHash,
}

impl<'a> World<'a> {
    /// Idle engines and gateways that know nothing yet.
    ///
    /// # Errors
    /// Engine limits that contradict each other.
    pub(crate) fn new(
        settings: &'a Settings,
        mut routers: impl FnMut(GatewayNumber) -> anyhow::Result<Box<dyn Router>>,
    ) -> anyhow::Result<Self> {
        let mut gateways = Vec::with_capacity(settings.gateways);
        let count = settings.hardware.profiles.len();
        for number in 0..settings.gateways {
            let router = routers(number)?;
            let paces = (0..count)
                .map(|replica| {
                    Pace::new(settings, router.scrape_interval(), count, number, replica)
                })
                .collect();
            gateways.push(Gateway {
                router,
                paces,
                chores_entered: false,
            });
        }
        let wants = Wants::of(&gateways);
        let replicas = Replicas::new(&settings.hardware, wants.cache_events)?;
        Ok(Self {
            engines_blocks: replicas.canonical_blocks(),
            replicas,
            figures: Figures::new(settings),
            settings,
            agenda: Agenda::default(),
            gateways,
            flights: HashMap::new(),
            ledger: Ledger::default(),
            hash: EventHash::new(settings.seed),
            rng: text::rng(&[settings.seed, 0x776f_726c]),
            arrivals: 0,
            arrived_all: false,
            entered: 0,
            events: Vec::new(),
            bytes: Vec::new(),
            next_audit: AUDIT_EVERY,
            wants,
        })
    }

    /// Runs until every job has come and gone. `tell` is called now and then with the simulated time and the share of
    /// jobs that have arrived.
    ///
    /// # Errors
    /// The jobs cannot be read, or a router found no endpoint.
    pub(crate) fn run(
        mut self,
        jobs: &mut dyn Jobs,
        tell: &mut dyn FnMut(Duration, f64),
    ) -> anyhow::Result<Done> {
        self.enter_first_scrapes();
        for _ in 0..self.settings.concurrency.unwrap_or(1) {
            self.enter_next_job(jobs, Duration::ZERO)?;
        }
        let mut told = 0u64;
        while let Some((now, what)) = self.agenda.next() {
            told += 1;
            if told.is_multiple_of(4_096) {
                tell(now, jobs.progress());
            }
            if self.happen(now, what, jobs)? && self.is_over() {
                break;
            }
        }
        self.close();
        Ok(Done {
            figures: self.figures,
            ledger: self.ledger,
            hash: self.hash,
        })
    }

    /// Every job has arrived and none is on its way.
    fn is_over(&self) -> bool {
        self.arrived_all && self.arrivals == self.entered && self.flights.is_empty()
    }

    /// Lets one event happen. True when a request may have been the last.
    fn happen(&mut self, now: Duration, what: What, jobs: &mut dyn Jobs) -> anyhow::Result<bool> {
        if self.is_stale(now, &what) {
            return Ok(false);
        }
        let [kind, about] = what.code();
        self.hash.event(now, [kind, about, 0]);
        match what {
            What::Arrival(job) => {
                self.arrive(now, *job)?;
                if self.settings.concurrency.is_none() {
                    self.enter_next_job(jobs, now)?;
                }
                return Ok(true);
            }
            What::Delivery(number) => {
                self.deliver(now, number);
                return Ok(true);
            }
            What::Step(replica) => self.advance(replica, now),
            What::FirstToken(number) => self.first_token(now, number),
            What::End(number) => {
                self.end(now, number);
                if self.settings.concurrency.is_some() {
                    self.enter_next_job(jobs, now)?;
                }
                return Ok(true);
            }
            What::ScrapeSent {
                gateway, replica, ..
            } => self.scrape_sent(now, gateway, replica),
            What::ScrapeWritten { gateway, replica } => {
                let page = Box::new(self.replicas.gauges(replica));
                let at = now + self.settings.page / 2 + self.settings.hop + self.settings.lag;
                self.agenda.at(
                    at,
                    What::ScrapeRead {
                        gateway,
                        replica,
                        page,
                    },
                );
            }
            What::ScrapeRead {
                gateway,
                replica,
                page,
            } => self.scrape_read(now, gateway, replica, &page),
            What::Chores(gateway) => {
                let one = &mut self.gateways[gateway];
                one.chores_entered = false;
                one.router.chores();
            }
            What::CacheNews {
                gateway,
                replica,
                events,
            } => self.gateways[gateway]
                .router
                .cache_events(replica, &events, now),
        }
        self.audit(now);
        Ok(false)
    }

    /// Entered for a moment that has been moved since.
    fn is_stale(&self, now: Duration, what: &What) -> bool {
        match what {
            What::Step(replica) => self.replicas.engines[*replica].wakes_at != Some(now),
            What::ScrapeSent {
                gateway,
                replica,
                turn,
            } => self.gateways[*gateway].paces[*replica].turn() != *turn,
            _ => false,
        }
    }

    fn enter_next_job(&mut self, jobs: &mut dyn Jobs, now: Duration) -> anyhow::Result<()> {
        let closed = self.settings.concurrency.is_some();
        match jobs.next_job()? {
            Some(job) => {
                let at = if closed { now } else { job.at };
                self.agenda.at(at, What::Arrival(Box::new(job)));
                self.entered += 1;
            }
            None => self.arrived_all = true,
        }
        Ok(())
    }
}
