//! Are our payloads byte for byte those that a real vLLM published for the same requests?
//!
//! `tests/vectors/kv_events.json` holds prompts, outputs, cached tokens and payloads recorded from vLLM 0.32.0 (CPU). Only
//! the time stamp is left out of the comparison.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::payload::{Form, encode};
use super::{Encoding, HashForm};
use crate::backend::{Backend, BackendError, Profile, Step};
use crate::model::{BatchConfig, BatchModel, Event, Lora, Request, RequestId};

/// Bytes of `[time stamp, …`: the array's head, the float's marker and the float.
const BEFORE_EVENTS: usize = 10;

#[derive(Deserialize)]
struct Run {
    source: String,
    block_size: usize,
    num_gpu_blocks: usize,
    max_model_len: usize,
    max_num_batched_tokens: usize,
    loras: Vec<(String, String)>,
    rounds: Vec<Round>,
}

#[derive(Deserialize)]
struct Round {
    name: String,
    #[serde(default)]
    reset: bool,
    salt: Option<String>,
    model: Option<String>,
    skip_cache_read: bool,
    prompt: Vec<u32>,
    output: Vec<u32>,
    cached: usize,
    /// Hexadecimal.
    payloads: Vec<String>,
}

/// Says what the recorded engine said.
struct Script(HashMap<RequestId, Vec<u32>>);

impl Backend for Script {
    fn run(&mut self, step: &Step<'_>, sampled: &mut Vec<u32>) -> Result<Duration, BackendError> {
        let sampling = step.sequences.iter().filter(|sequence| sequence.samples);
        sampled.extend(sampling.map(|sequence| self.0[&sequence.id][sequence.output.len()]));
        Ok(Duration::from_millis(1))
    }
}

#[test]
fn payloads_are_vllms() {
    let text = include_str!("../../tests/vectors/kv_events.json");
    let runs: Vec<Run> = serde_json::from_str(text).unwrap();
    runs.iter().for_each(check);
}

fn check(run: &Run) {
    let config = BatchConfig {
        block_size_tokens: run.block_size,
        num_gpu_blocks: run.num_gpu_blocks,
        max_num_batched_tokens: run.max_num_batched_tokens,
        max_model_len_tokens: run.max_model_len,
        record_cache_events: true,
        ..BatchConfig::for_profile(&Profile::named("h100").unwrap())
    };
    let form = Form {
        encoding: Encoding::Map,
        hashes: HashForm::Int,
        algo: config.hash_algo,
        block_size_tokens: config.block_size_tokens,
        rank: 0,
    };
    let outputs = (0..)
        .map(RequestId)
        .zip(run.rounds.iter().map(|round| round.output.clone()));
    let mut engine = BatchModel::new(config, Box::new(Script(outputs.collect()))).unwrap();
    let mut now = Duration::ZERO;
    for round in &run.rounds {
        let place = format!("{}: {}", run.source, round.name);
        if round.reset {
            assert!(engine.reset_prefix_cache(), "{place}");
        }
        engine.submit(now, request(run, round)).unwrap();
        let mut events = Vec::new();
        while let Some(at) = engine.next_wake() {
            now = at;
            engine.advance(at, &mut events);
        }
        let mut payloads = Vec::new();
        for event in &events {
            match event {
                Event::Scheduled { cached_tokens, .. } => {
                    assert_eq!(*cached_tokens, round.cached, "{place}: cached tokens");
                }
                Event::Cache { events, .. } => payloads.push(encode(&form, 0.0, events)),
                _ => {}
            }
        }
        let ours: Vec<&[u8]> = payloads
            .iter()
            .map(|bytes| &bytes[BEFORE_EVENTS..])
            .collect();
        let theirs: Vec<Vec<u8>> = round.payloads.iter().map(|text| bytes(text)).collect();
        let theirs: Vec<&[u8]> = theirs.iter().map(|bytes| &bytes[BEFORE_EVENTS..]).collect();
        assert_eq!(ours, theirs, "{place}: payloads");
    }
}

fn request(run: &Run, round: &Round) -> Request {
    let lora = round.model.as_ref().map(|name| {
        let index = run.loras.iter().position(|lora| lora.0 == *name).unwrap();
        Lora {
            name: name.as_str().into(),
            path: run.loras[index].1.as_str().into(),
            id: index as u32 + 1,
        }
    });
    Request {
        cache_salt: round.salt.as_deref().map(Arc::from),
        lora,
        skip_cache_read: round.skip_cache_read,
        ..Request::new(round.prompt.clone(), round.output.len())
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2);
    digits
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}
