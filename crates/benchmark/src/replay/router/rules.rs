//! How does a reference rule get its sight of the fleet? It keeps its own books, as a router of its kind does.

use std::collections::HashMap;
use std::time::Duration;

use engine::model::CacheEvent;
use rand::rngs::SmallRng;

use super::{Answer, Ask, Books, Choice, Gauges, Router};
use crate::replay::clock::{Replica, RequestNumber};
use crate::replay::replicas::Replicas;
use crate::replay::rule::{Rule, Seen, Sight};
use crate::workload::text;

/// What is booked for one request.
struct Open {
    replica: Replica,
    prompt_tokens: u64,
    uncached_tokens: u64,
    first_token: bool,
}

/// Drives one rule.
pub(crate) struct RuleRouter {
    rule: Box<dyn Rule>,
    sight: Sight,
    open: HashMap<RequestNumber, Open>,
    rng: SmallRng,
}

impl RuleRouter {
    pub(crate) fn new(rule: Box<dyn Rule>, replicas: usize, seed: u64) -> Self {
        Self {
            rule,
            sight: Sight {
                replicas: vec![Seen::default(); replicas],
            },
            open: HashMap::new(),
            rng: text::rng(&[seed, 0x7275_6c65]),
        }
    }
}

impl Router for RuleRouter {
    fn route(&mut self, ask: &Ask<'_>, truth: &Replicas, now: Duration) -> anyhow::Result<Choice> {
        let choice = self
            .rule
            .choose(ask, &self.sight, truth, now, &mut self.rng);
        let prompt_tokens = u64::from(ask.prompt_tokens);
        let cached = u64::from(choice.predicted_tokens).min(prompt_tokens);
        let open = Open {
            replica: choice.replica,
            prompt_tokens,
            uncached_tokens: prompt_tokens - cached,
            first_token: false,
        };
        let seen = &mut self.sight.replicas[choice.replica];
        seen.in_flight += 1;
        seen.in_flight_uncached_tokens += open.uncached_tokens;
        seen.queued_tokens += open.uncached_tokens;
        seen.context_tokens += prompt_tokens;
        self.open.insert(ask.number, open);
        Ok(choice)
    }

    fn scrape_read(&mut self, replica: Replica, page: &Gauges, _now: Duration) {
        self.sight.replicas[replica].page = *page;
    }

    fn first_token(&mut self, number: RequestNumber, _now: Duration) {
        if let Some(open) = self.open.get_mut(&number)
            && !std::mem::replace(&mut open.first_token, true)
        {
            self.sight.replicas[open.replica].queued_tokens -= open.uncached_tokens;
        }
    }

    fn finished(&mut self, number: RequestNumber, _answer: Answer, _now: Duration) {
        let Some(open) = self.open.remove(&number) else {
            return;
        };
        let seen = &mut self.sight.replicas[open.replica];
        seen.in_flight -= 1;
        seen.in_flight_uncached_tokens -= open.uncached_tokens;
        seen.context_tokens -= open.prompt_tokens;
        if !open.first_token {
            seen.queued_tokens -= open.uncached_tokens;
        }
    }

    fn wants_blocks(&self) -> bool {
        self.rule.wants_blocks()
    }

    fn wants_names(&self) -> bool {
        self.rule.wants_names()
    }

    fn wants_cache_events(&self) -> bool {
        self.rule.wants_cache_events()
    }

    fn cache_events(&mut self, replica: Replica, events: &[CacheEvent], _now: Duration) {
        self.rule.cache_events(replica, events);
    }

    fn books(&self, _now: Duration) -> Books {
        let mut left_over = Vec::new();
        for (replica, seen) in self.sight.replicas.iter().enumerate() {
            let left = seen.in_flight
                + seen.in_flight_uncached_tokens
                + seen.queued_tokens
                + seen.context_tokens;
            if left > 0 {
                left_over.push(format!("replica {replica}: {seen:?}"));
            }
        }
        let (index_blocks, index_capacity_blocks) = self.rule.index();
        Books {
            left_over,
            index_blocks,
            index_capacity_blocks: Some(index_capacity_blocks),
        }
    }
}
