//! How do the engines' cache events reach the exact index? As the gateway's subscriber hands them on: one message a step,
//! numbered, late by the way they take.

use std::time::Duration;

use engine::model::{BlockHash, CacheEvent};
use fleet::{Event, KvMode};
use kv_index::exact::{EngineHash, KvBatch, KvBlockEvent, Tier, TokenChain, TokenPrompt};

use super::FleetRouter;
use crate::replay::clock::Replica;
use crate::replay::replicas::HASH_ALGO;

impl FleetRouter {
    /// Matches rest on the engines' cache events from now on. Nothing was cached before, so nothing is missing.
    pub(crate) fn hearing_cache_events(mut self) -> Self {
        for slot in &self.slots {
            let event = Event::KvMode {
                slot: *slot,
                mode: KvMode::Exact,
            };
            self.fleet.apply(event, Duration::ZERO);
        }
        self.heard = Some(vec![0; self.slots.len()]);
        self
    }

    /// The prompt as the exact index knows it; none where nobody listens to events.
    pub(super) fn token_chains(&self, prompt: &[u32], now: Duration) -> Vec<TokenChain> {
        if self.heard.is_none() {
            return Vec::new();
        }
        // The gateway does so every 100 ms; a request that comes in between may not see the difference.
        self.fleet.exact().expire(now);
        let prompt = TokenPrompt {
            token_ids: prompt,
            ..TokenPrompt::default()
        };
        vec![self.fleet.exact().chain(&prompt)]
    }

    /// A message is here.
    pub(super) fn hear(&mut self, replica: Replica, events: &[CacheEvent], now: Duration) {
        let Some(sequence) = self.heard.as_mut().map(|heard| &mut heard[replica]) else {
            return;
        };
        let named: Vec<Vec<EngineHash>> = events.iter().map(names).collect();
        let events: Vec<KvBlockEvent<'_>> = events
            .iter()
            .zip(&named)
            .map(|(event, names)| told(event, names))
            .collect();
        let batch = KvBatch {
            sequence: Some(*sequence),
            replay: false,
            events: &events,
            age: None,
        };
        *sequence += 1;
        let _ = self.fleet.apply_kv(self.slots[replica], &batch, now);
        self.pending_writes = true;
    }
}

fn names(event: &CacheEvent) -> Vec<EngineHash> {
    let hashes: &[BlockHash] = match event {
        CacheEvent::Stored { hashes, .. } => hashes,
        CacheEvent::Removed { hash } => std::slice::from_ref(hash),
        CacheEvent::Cleared => &[],
    };
    hashes.iter().map(name).collect()
}

fn name(hash: &BlockHash) -> EngineHash {
    EngineHash(hash.wire_int(HASH_ALGO))
}

fn told<'a>(event: &'a CacheEvent, names: &'a [EngineHash]) -> KvBlockEvent<'a> {
    match event {
        CacheEvent::Stored {
            parent, token_ids, ..
        } => KvBlockEvent::Stored {
            block_hashes: names,
            parent: parent.as_ref().map(name),
            token_ids,
            block_size_tokens: (token_ids.len() / names.len().max(1)) as u32,
            lora: None,
            extra_keys: &[],
            tier: Tier::Gpu,
        },
        CacheEvent::Removed { .. } => KvBlockEvent::Removed {
            block_hashes: names,
            tier: Tier::Gpu,
        },
        CacheEvent::Cleared => KvBlockEvent::Cleared,
    }
}
