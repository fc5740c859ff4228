//! How does a run go? Takes the next event off the agenda, lets it happen, enters what follows from it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use engine::model::{CacheEvent, Event, RequestTimings};
use kv_index::{Chain, ChainHasher, HashSeed, Namespace};
use rand::Rng;
use rand::rngs::SmallRng;

use super::clock::{Agenda, EventHash, GatewayNumber, Replica, RequestNumber, What};
use super::figures::{Figures, Served};
use super::ledger::{Ledger, Mutation};
use super::pace::Pace;
use super::replicas::{Prefill, Replicas};
use super::router::{Answer, Ask, Choice, Router};
use super::settings::{INDEX_WRITE_EVERY, Settings};
use crate::workload::jobs::{Job, Jobs, token};
use crate::workload::text;

/// The request on which a mutation falls.
const MUTATED_REQUEST: RequestNumber = 7;

/// Simulated time between two looks at index sizes.
const AUDIT_EVERY: Duration = Duration::from_secs(10);

/// A gateway: what decides there, and how often it looks at each engine.
struct Gateway {
    router: Box<dyn Router>,
    paces: Vec<Pace>,
    /// The index writer is entered on the agenda.
    chores_entered: bool,
}

/// What the gateways' routers look at, so that nothing else is worked out.
#[derive(Clone, Copy)]
struct Wants {
    chain: bool,
    blocks: bool,
    names: bool,
    cache_events: bool,
}

impl Wants {
    fn of(gateways: &[Gateway]) -> Self {
        let any =
            |wants: fn(&dyn Router) -> bool| gateways.iter().any(|gateway| wants(&*gateway.router));
        Self {
            chain: any(|router| router.wants_chain()),
            blocks: any(|router| router.wants_blocks()),
            names: any(|router| router.wants_names()),
            cache_events: any(|router| router.wants_cache_events()),
        }
    }
}

/// Tokens of a block in [`Ask::blocks`].
const BLOCK_TOKENS: usize = 16;

/// Chained hashes of whole blocks of 16 tokens.
fn blocks(prompt: &[u32]) -> Vec<u64> {
    let mut parent = 0u64;
    let whole = prompt.chunks_exact(BLOCK_TOKENS);
    whole
        .map(|block| {
            let own = block.chunks_exact(2).fold(parent, |state, pair| {
                let word = u64::from(pair[0]) << 32 | u64::from(pair[1]);
                let mixed = (state.rotate_left(23) ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25);
                mixed ^ (mixed >> 32)
            });
            parent = own;
            own
        })
        .collect()
}

/// Those of the prompt, and of what will be generated: all but the last token of that ends up in a cache.
fn blocks_with_output(prompt: &[u32], job: &Job) -> Vec<u64> {
    let output = (0..job.output_tokens.saturating_sub(1)).map(|at| token(job.output_key, at));
    let whole: Vec<u32> = prompt.iter().copied().chain(output).collect();
    blocks(&whole)
}

/// A request between arrival and end.
struct Flight {
    gateway: GatewayNumber,
    choice: Choice,
    arrived: Duration,
    prompt: Option<Arc<[u32]>>,
    prompt_tokens: u32,
    output: (u32, u64),
    first_token: Duration,
    timings: Option<RequestTimings>,
}

impl Flight {
    /// What its router expects its engine to compute.
    fn prefill(&self) -> Prefill {
        Prefill::of(self.prompt_tokens, self.choice.predicted_tokens)
    }
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
            } => self.gateways[gateway].router.cache_events(replica, &events),
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

    fn enter_first_scrapes(&mut self) {
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

    fn arrive(&mut self, now: Duration, job: Job) -> anyhow::Result<()> {
        let number = self.arrivals;
        self.arrivals += 1;
        self.ledger.arrived();
        self.figures.arrived(now);
        let prompt: Arc<[u32]> = job.tokens().into();
        let wants = self.wants;
        let chain = self.chain(if wants.chain { &prompt } else { &[] });
        let blocks = match wants.blocks {
            true => blocks_with_output(&prompt, &job),
            false => Vec::new(),
        };
        let names = match wants.names {
            true => self.replicas.names(&prompt),
            false => Vec::new(),
        };
        let gateway = match self.gateways.len() {
            1 => 0,
            count => self.rng.random_range(0..count),
        };
        let ask = Ask {
            number,
            chain: &chain,
            blocks: &blocks[..blocks.len().min(prompt.len() / BLOCK_TOKENS)],
            blocks_with_output: &blocks,
            names: &names,
            prompt_tokens: prompt.len() as u32,
            max_tokens: job.output_tokens,
            session: job.session,
        };
        let choice = self.gateways[gateway]
            .router
            .route(&ask, &self.replicas, now)?;
        self.ledger.sent(number, choice.replica);
        self.hash.event(now, [16, number, choice.replica as u64]);
        if let Some((at, turn)) = self.gateways[gateway].paces[choice.replica].work_came(now) {
            self.agenda.at(
                at,
                What::ScrapeSent {
                    gateway,
                    replica: choice.replica,
                    turn,
                },
            );
        }
        let flight = Flight {
            gateway,
            choice,
            arrived: now,
            prompt_tokens: prompt.len() as u32,
            prompt: Some(prompt),
            output: (job.output_tokens, job.output_key),
            first_token: now,
            timings: None,
        };
        if self.mutates(Mutation::LoseRequest, number) {
            self.lose(now, number, &flight);
            return Ok(());
        }
        self.replicas.engines[choice.replica]
            .waiting
            .add(flight.prefill());
        self.flights.insert(number, flight);
        self.agenda
            .at(now + self.settings.hop, What::Delivery(number));
        Ok(())
    }

    /// The gateway gives up on it and tells nobody.
    fn lose(&mut self, now: Duration, number: RequestNumber, flight: &Flight) {
        let answer = Answer {
            prompt_tokens: u64::from(flight.prompt_tokens),
            output_tokens: 0,
            cached_tokens: None,
        };
        self.gateways[flight.gateway]
            .router
            .finished(number, answer, now);
    }

    fn mutates(&self, mutation: Mutation, number: RequestNumber) -> bool {
        self.settings.mutation == Some(mutation) && number == MUTATED_REQUEST
    }

    /// The gateway's hashes of a prompt.
    fn chain(&mut self, prompt: &[u32]) -> Chain {
        self.bytes.clear();
        self.bytes
            .extend(prompt.iter().flat_map(|token| token.to_le_bytes()));
        let mut hasher = ChainHasher::with_capacity_bytes(
            HashSeed(self.settings.seed),
            Namespace::default(),
            self.bytes.len(),
        );
        hasher.update(&self.bytes);
        hasher.finish()
    }

    fn deliver(&mut self, now: Duration, number: RequestNumber) {
        let Some(flight) = self.flights.get_mut(&number) else {
            return;
        };
        let replica = flight.choice.replica;
        let Some(prompt) = flight.prompt.take() else {
            return;
        };
        self.advance(replica, now);
        let Some(flight) = self.flights.get(&number) else {
            return;
        };
        let submitted = self.replicas.submit(
            replica,
            number,
            prompt,
            flight.output,
            flight.choice.external_tokens,
            now,
        );
        if submitted.is_err() {
            self.refuse(now, number);
            return;
        }
        self.advance(replica, now);
    }

    /// The engine did not take it; its gateway learns that as an end without tokens.
    fn refuse(&mut self, now: Duration, number: RequestNumber) {
        if let Some(flight) = self.flights.remove(&number) {
            self.replicas.engines[flight.choice.replica]
                .waiting
                .take(flight.prefill());
            self.ledger.refused(number);
            self.figures.refused();
            let answer = Answer {
                prompt_tokens: u64::from(flight.prompt_tokens),
                output_tokens: 0,
                cached_tokens: None,
            };
            self.gateways[flight.gateway]
                .router
                .finished(number, answer, now);
        }
    }

    /// Moves an engine to `now` and enters what its tokens lead to.
    fn advance(&mut self, replica: Replica, now: Duration) {
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

    fn engine_event(&mut self, replica: Replica, event: Event) {
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

    fn cache_news(&mut self, replica: Replica, at: Duration, events: Vec<CacheEvent>) {
        if !self.wants.cache_events {
            return;
        }
        let events: Arc<[CacheEvent]> = events.into();
        for gateway in 0..self.gateways.len() {
            self.agenda.at(
                at + self.settings.hop + self.settings.lag,
                What::CacheNews {
                    gateway,
                    replica,
                    events: Arc::clone(&events),
                },
            );
        }
    }

    fn first_token(&mut self, now: Duration, number: RequestNumber) {
        if let Some(flight) = self.flights.get(&number) {
            let gateway = flight.gateway;
            self.gateways[gateway].router.first_token(number, now);
            self.enter_chores(gateway, now);
        }
    }

    fn enter_chores(&mut self, gateway: GatewayNumber, now: Duration) {
        let one = &mut self.gateways[gateway];
        if !std::mem::replace(&mut one.chores_entered, true) {
            self.agenda
                .at(now + INDEX_WRITE_EVERY, What::Chores(gateway));
        }
    }

    fn end(&mut self, now: Duration, number: RequestNumber) {
        let Some(flight) = self.flights.remove(&number) else {
            // Only a mutation ends a request again; the ledger is told as a client would tell it.
            self.ledger.ended(number, 0, 0, 0);
            return;
        };
        let Some(timings) = flight.timings else {
            return;
        };
        let asked = u64::from(flight.output.0);
        self.ledger.ended(
            number,
            flight.choice.replica,
            timings.output_tokens as u64,
            asked,
        );
        let answer = Answer {
            prompt_tokens: timings.prompt_tokens as u64,
            output_tokens: timings.output_tokens as u64,
            cached_tokens: self
                .settings
                .report_cached
                .then_some(timings.cached_tokens as u64),
        };
        if !self.mutates(Mutation::LeakLoad, number) {
            self.gateways[flight.gateway]
                .router
                .finished(number, answer, now);
        }
        self.enter_chores(flight.gateway, now);
        self.figures.served(&Served {
            replica: flight.choice.replica,
            arrived: flight.arrived,
            first_token: flight.first_token,
            ended: timings.finished + self.settings.hop,
            prompt_tokens: timings.prompt_tokens as u64,
            cached_tokens: timings.cached_tokens as u64,
            predicted_tokens: u64::from(flight.choice.predicted_tokens),
            output_tokens: timings.output_tokens as u64,
        });
    }

    fn scrape_sent(&mut self, now: Duration, gateway: GatewayNumber, replica: Replica) {
        let one = &mut self.gateways[gateway];
        one.paces[replica].sent(now);
        one.router.scrape_sent(replica, now);
        self.agenda.at(
            now + self.settings.hop + self.settings.page / 2,
            What::ScrapeWritten { gateway, replica },
        );
    }

    fn scrape_read(
        &mut self,
        now: Duration,
        gateway: GatewayNumber,
        replica: Replica,
        page: &super::router::Gauges,
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

    /// Looks at the size of every index now and then.
    fn audit(&mut self, now: Duration) {
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
    fn close(&mut self) {
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
