//! Does the exact index know what engines hold, to the block, while they evict?

use std::sync::Arc;
use std::time::Duration;

use engine::backend::{Profile, SimulatedBackend, SimulatedOptions};
use engine::model::{
    BatchConfig, BatchModel, CacheEvent, DEFAULT_HASH_SEED, Event, ExtraKeys, HashAlgo, HashChain,
    Lora, Request,
};
use kv_index::exact::{
    BatchOutcome, EngineHash, ExactIndex, ExactMatches, ExactWriter, ExtraKey, KvBatch,
    KvBlockEvent, Tier, TokenPrompt, exact_index,
};
use kv_index::{Slot, exact::ExactConfig};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const ENGINES: usize = 4;
/// Tokens per block: engines need not agree.
const BLOCK_TOKENS: [usize; ENGINES] = [16, 16, 32, 16];
const ALGO: HashAlgo = HashAlgo::Sha256Cbor;

struct Engine {
    model: BatchModel,
    slot: Slot,
    sequence: u64,
    stored: usize,
    removed: usize,
}

impl Engine {
    fn new(number: usize) -> Self {
        let profile = Profile::named("h100").expect("built in");
        let config = BatchConfig {
            block_size_tokens: BLOCK_TOKENS[number],
            num_gpu_blocks: 1 + 6_400 / BLOCK_TOKENS[number],
            max_num_seqs: 8,
            max_num_batched_tokens: 512,
            max_model_len_tokens: 4_096,
            hash_algo: ALGO,
            record_cache_events: true,
            ..BatchConfig::for_profile(&profile)
        };
        let backend = SimulatedBackend::new(profile, SimulatedOptions::default());
        Self {
            model: BatchModel::new(config, Box::new(backend)).expect("sound limits"),
            slot: Slot::new(number as u16, 1),
            sequence: 0,
            stored: 0,
            removed: 0,
        }
    }

    /// Runs until idle, telling the writer of every step as a publisher would.
    fn drain(&mut self, writer: &mut ExactWriter) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some(at) = self.model.next_wake() {
            let mut events = Vec::new();
            self.model.advance(at, &mut events);
            for event in &events {
                if let Event::Cache { events, .. } = event {
                    self.tell(writer, events);
                }
            }
            all.extend(events);
        }
        all
    }

    fn tell(&mut self, writer: &mut ExactWriter, events: &[CacheEvent]) {
        let name = |hash: &engine::model::BlockHash| EngineHash(hash.wire_int(ALGO));
        for event in events {
            let (mut names, mut keys) = (Vec::new(), Vec::new());
            let event = match event {
                CacheEvent::Stored {
                    hashes,
                    parent,
                    token_ids,
                    lora,
                    cache_salt,
                } => {
                    self.stored += hashes.len();
                    names.extend(hashes.iter().map(name));
                    keys.resize(hashes.len(), Vec::new());
                    for keys in &mut keys {
                        keys.extend(lora.as_ref().map(|lora| ExtraKey::Text(&lora.name)));
                    }
                    keys[0].extend(cache_salt.as_deref().map(ExtraKey::Text));
                    KvBlockEvent::Stored {
                        block_hashes: &names,
                        parent: parent.as_ref().map(name),
                        token_ids,
                        block_size_tokens: self.model.config().block_size_tokens as u32,
                        lora: lora.as_ref().map(|lora| &*lora.name),
                        extra_keys: &keys,
                        tier: Tier::Gpu,
                    }
                }
                CacheEvent::Removed { hash } => {
                    self.removed += 1;
                    names.push(name(hash));
                    KvBlockEvent::Removed {
                        block_hashes: &names,
                        tier: Tier::Gpu,
                    }
                }
                CacheEvent::Cleared => KvBlockEvent::Cleared,
            };
            let batch = KvBatch {
                sequence: Some(self.sequence),
                replay: false,
                events: &[event],
                age: None,
            };
            let applied = writer.apply(self.slot, &batch, Duration::ZERO);
            assert_eq!(applied.outcome, BatchOutcome::Applied);
            let wrong = (
                applied.orphan_blocks,
                applied.unknown_removals,
                applied.malformed_events,
            );
            assert_eq!(wrong, (0, 0, 0));
            self.sequence += 1;
        }
    }
}

/// A prompt of one of some conversations: its beginning is shared by all of its group, then its own turns follow.
fn asked(rng: &mut SmallRng) -> Request {
    let conversation = rng.random_range(0..40_u32);
    let turns = rng.random_range(1..8_u32);
    let shared = (0..200).map(|at| conversation % 4 * 10_000 + at);
    let own = (0..turns * rng.random_range(90..=100)).map(|at| 100_000 + conversation * 1_000 + at);
    let prompt: Vec<u32> = shared.chain(own).collect();
    let mut request = Request::new(prompt, rng.random_range(1..60));
    if conversation % 5 == 0 {
        request.cache_salt = Some(Arc::from("salt"));
    }
    if conversation % 7 == 0 {
        request.lora = Some(Lora {
            name: Arc::from("adapter"),
            path: Arc::from("/adapter"),
            id: 1,
        });
    }
    request.skip_cache_read = rng.random_range(0..20) == 0;
    request
}

fn predicted(index: &ExactIndex, request: &Request, slot: Slot, matches: &mut ExactMatches) -> u32 {
    let chain = index.chain(&TokenPrompt {
        token_ids: &request.prompt,
        lora: request.lora.as_ref().map(|lora| &*lora.name),
        cache_salt: request.cache_salt.as_deref(),
        media: &[],
    });
    matches.reset(ENGINES);
    index.lookup(&chain, matches);
    matches.tokens(slot).total()
}

/// What the engine's own pool would find, by its own names.
fn held(engine: &Engine, request: &Request) -> usize {
    let size = engine.model.config().block_size_tokens;
    let mut chain = HashChain::new(ALGO, DEFAULT_HASH_SEED);
    let extra = ExtraKeys {
        lora: request.lora.clone(),
        cache_salt: request.cache_salt.clone(),
    };
    let mut names: Vec<engine::model::BlockHash> = Vec::new();
    for tokens in request.prompt.chunks_exact(size) {
        names.push(chain.block(names.last(), tokens.iter().copied(), &extra));
    }
    names.truncate((request.prompt.len() - 1) / size);
    engine.model.cached_blocks(&names) * size
}

#[test]
fn no_match_is_wrong_once_events_have_drained() {
    let (index, mut writer) = exact_index(ExactConfig::default());
    let mut engines: Vec<Engine> = (0..ENGINES).map(Engine::new).collect();
    for engine in &engines {
        writer.open(engine.slot, engine.model.config().block_size_tokens as u32);
    }
    let mut rng = SmallRng::seed_from_u64(11);
    let mut matches = ExactMatches::default();
    let (mut checked, mut hits) = (0, 0);
    for round in 0..400 {
        let number = rng.random_range(0..ENGINES);
        let engine = &mut engines[number];
        for _ in 0..rng.random_range(1..6) {
            engine
                .model
                .submit(Duration::from_secs(round), asked(&mut rng))
                .expect("room in the queue");
        }
        engine.drain(&mut writer);
        if round % 97 == 96 && engine.model.reset_prefix_cache() {
            let unpublished = engine.model.unpublished().to_vec();
            assert_eq!(unpublished, [CacheEvent::Cleared]);
        }
        for _ in 0..8 {
            let probe = asked(&mut rng);
            for engine in &engines {
                // A clear is told with the next step only.
                if !engine.model.unpublished().is_empty() {
                    continue;
                }
                let predicted = predicted(&index, &probe, engine.slot, &mut matches) as usize;
                assert_eq!(predicted, held(engine, &probe), "round {round}");
                checked += 1;
                hits += usize::from(predicted > 0);
            }
        }
        writer.sweep(16);
    }
    // It was worth checking: most of what was stored has been evicted, and many probes hit.
    let stored: usize = engines.iter().map(|engine| engine.stored).sum();
    let removed: usize = engines.iter().map(|engine| engine.removed).sum();
    assert!(removed * 5 > stored, "{removed} of {stored}");
    assert!(hits * 4 > checked && hits < checked, "{hits} of {checked}");
    let resident: usize = engines
        .iter()
        .map(|engine| engine.model.snapshot().cached_blocks)
        .sum();
    assert!(index.stats().held_blocks as usize <= resident);
}

#[test]
fn a_request_on_an_idle_engine_hits_what_was_predicted() {
    let (index, mut writer) = exact_index(ExactConfig::default());
    let mut engine = Engine::new(0);
    let mut rng = SmallRng::seed_from_u64(5);
    let mut matches = ExactMatches::default();
    writer.open(engine.slot, 16);
    for round in 0..300 {
        let request = asked(&mut rng);
        let reads = !request.skip_cache_read;
        let expected = predicted(&index, &request, engine.slot, &mut matches) as usize;
        engine
            .model
            .submit(Duration::from_secs(round), request)
            .expect("room in the queue");
        let events = engine.drain(&mut writer);
        let cached = events.iter().find_map(|event| match event {
            Event::Scheduled { cached_tokens, .. } => Some(*cached_tokens),
            _ => None,
        });
        assert_eq!(
            cached,
            Some(if reads { expected } else { 0 }),
            "round {round}"
        );
    }
}
