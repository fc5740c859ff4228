//! This repository's index.

use std::time::Duration;

use kv_index::Slot;
use kv_index::exact::{
    EngineHash, ExactConfig, ExactIndex, ExactMatches, ExactWriter, KvBatch, KvBlockEvent, Tier,
    TokenChain, TokenPrompt, exact_index,
};

use crate::{BLOCK_TOKENS, Index, WORKERS, tokens};

pub struct Ours {
    pub index: ExactIndex,
    pub writer: ExactWriter,
    matches: ExactMatches,
}

/// What arrives from an engine: names and tokens, nothing hashed.
pub struct Event {
    worker: usize,
    names: Vec<EngineHash>,
    parent: Option<EngineHash>,
    tokens: Vec<u32>,
}

pub fn slot(worker: usize) -> Slot {
    Slot::new(worker as u16, 1)
}

impl Ours {
    pub fn new(max_bytes: usize) -> Self {
        let (index, mut writer) = exact_index(ExactConfig {
            max_bytes,
            ..ExactConfig::default()
        });
        (0..WORKERS).for_each(|worker| writer.open(slot(worker), BLOCK_TOKENS as u32));
        Self {
            index,
            writer,
            matches: ExactMatches::default(),
        }
    }
}

impl Index for Ours {
    type Asked = TokenChain;
    type Event = Event;

    const NAME: &'static str = "prefixgate";

    fn asked(&self, prompt: &[u64]) -> TokenChain {
        let mut token_ids: Vec<u32> = prompt.iter().flat_map(|block| tokens(*block)).collect();
        // The last token is never reused; with one more, all blocks can be.
        token_ids.push(0);
        self.index.chain(&TokenPrompt {
            token_ids: &token_ids,
            ..TokenPrompt::default()
        })
    }

    fn event(&self, worker: usize, prompt: &[u64], names: &[u64], from: usize) -> Event {
        Event {
            worker,
            names: names[from..].iter().copied().map(EngineHash).collect(),
            parent: from.checked_sub(1).map(|before| EngineHash(names[before])),
            tokens: prompt[from..].iter().flat_map(|b| tokens(*b)).collect(),
        }
    }

    fn apply(&mut self, event: Event) {
        let told = KvBlockEvent::Stored {
            block_hashes: &event.names,
            parent: event.parent,
            token_ids: &event.tokens,
            block_size_tokens: BLOCK_TOKENS as u32,
            lora: None,
            extra_keys: &[],
            tier: Tier::Gpu,
        };
        let batch = KvBatch {
            sequence: None,
            replay: false,
            events: &[told],
            age: None,
        };
        let applied = self
            .writer
            .apply(slot(event.worker), &batch, Duration::ZERO);
        assert_eq!(applied.stored_blocks as usize, event.names.len());
    }

    fn find(&mut self, asked: &TokenChain) {
        self.matches.reset(WORKERS);
        self.index.lookup(asked, &mut self.matches);
    }

    fn found(&self) -> [u32; WORKERS] {
        std::array::from_fn(|worker| {
            self.matches.tokens(slot(worker)).total() / BLOCK_TOKENS as u32
        })
    }
}
