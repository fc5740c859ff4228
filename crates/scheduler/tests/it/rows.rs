//! Rows for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use kv_index::Slot;
use rand::SeedableRng as _;
use scheduler::{Ask, Candidates, EndpointInfo, Rng};

pub(crate) fn rng(seed: u64) -> Rng {
    Rng::seed_from_u64(seed)
}

/// `n` idle endpoints named `e0`, `e1`, …
pub(crate) fn idle(n: usize) -> Candidates {
    let infos: Arc<[EndpointInfo]> = (0..n)
        .map(|i| EndpointInfo {
            slot: Slot::new(i as u16, 0),
            name: format!("e{i}").into(),
            address: format!("10.0.0.{i}:8000").into(),
            labels: BTreeMap::new(),
        })
        .collect();
    Candidates {
        infos,
        rows: (0..n as u32).collect(),
        queue_requests: vec![0.0; n],
        running_requests: vec![0.0; n],
        kv_usage: vec![0.0; n],
        active_requests: vec![0.0; n],
        active_tokens: vec![0.0; n],
        queued_tokens: vec![0.0; n],
        matched_blocks: vec![0.0; n],
        matched_tokens: vec![0.0; n],
        prefill_ms_per_token: vec![0.1; n],
        decode_ms_per_token: vec![10.0; n],
        adapters: Vec::new(),
        forecasts: Vec::new(),
        last_pick: vec![0; n],
    }
}

/// A prompt of 10 blocks, 1,000 tokens.
pub(crate) fn ask() -> Ask<'static> {
    Ask {
        model: "m",
        prompt_tokens: 1000.0,
        total_blocks: 10.0,
        ..Ask::default()
    }
}
