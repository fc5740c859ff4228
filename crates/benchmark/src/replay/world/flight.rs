//! What happens to a request from its arrival at a gateway to its end there?

use std::sync::Arc;
use std::time::Duration;

use engine::model::RequestTimings;
use kv_index::{Chain, ChainHasher, HashSeed, Namespace};
use rand::Rng;

use super::World;
use super::prompts::{BLOCK_TOKENS, blocks_with_output};
use crate::replay::clock::{GatewayNumber, RequestNumber, What};
use crate::replay::figures::Served;
use crate::replay::ledger::Mutation;
use crate::replay::replicas::Prefill;
use crate::replay::router::{Answer, Ask, Choice};
use crate::replay::settings::INDEX_WRITE_EVERY;
use crate::workload::jobs::Job;

/// The request on which a mutation falls.
const MUTATED_REQUEST: RequestNumber = 7;

/// A request between arrival and end.
pub(super) struct Flight {
    pub(super) gateway: GatewayNumber,
    pub(super) choice: Choice,
    pub(super) arrived: Duration,
    pub(super) prompt: Option<Arc<[u32]>>,
    pub(super) prompt_tokens: u32,
    pub(super) output: (u32, u64),
    pub(super) first_token: Duration,
    pub(super) timings: Option<RequestTimings>,
}

impl Flight {
    /// What its router expects its engine to compute.
    pub(super) fn prefill(&self) -> Prefill {
        Prefill::of(self.prompt_tokens, self.choice.predicted_tokens)
    }
}

impl World<'_> {
    pub(super) fn arrive(&mut self, now: Duration, job: Job) -> anyhow::Result<()> {
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
            prompt: &prompt,
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
    pub(super) fn lose(&mut self, now: Duration, number: RequestNumber, flight: &Flight) {
        let answer = Answer {
            prompt_tokens: u64::from(flight.prompt_tokens),
            output_tokens: 0,
            cached_tokens: None,
        };
        self.gateways[flight.gateway]
            .router
            .finished(number, answer, now);
    }

    pub(super) fn mutates(&self, mutation: Mutation, number: RequestNumber) -> bool {
        self.settings.mutation == Some(mutation) && number == MUTATED_REQUEST
    }

    /// The gateway's hashes of a prompt.
    pub(super) fn chain(&mut self, prompt: &[u32]) -> Chain {
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

    pub(super) fn deliver(&mut self, now: Duration, number: RequestNumber) {
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
    pub(super) fn refuse(&mut self, now: Duration, number: RequestNumber) {
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

    pub(super) fn first_token(&mut self, now: Duration, number: RequestNumber) {
        if let Some(flight) = self.flights.get(&number) {
            let gateway = flight.gateway;
            self.gateways[gateway].router.first_token(number, now);
            self.enter_chores(gateway, now);
        }
    }

    pub(super) fn enter_chores(&mut self, gateway: GatewayNumber, now: Duration) {
        let one = &mut self.gateways[gateway];
        if !std::mem::replace(&mut one.chores_entered, true) {
            self.agenda
                .at(now + INDEX_WRITE_EVERY, What::Chores(gateway));
        }
    }

    pub(super) fn end(&mut self, now: Duration, number: RequestNumber) {
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
            number,
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
}
