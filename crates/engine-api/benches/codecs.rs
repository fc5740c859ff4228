//! How near to a memory scan does reading a body come, and how much dearer is a tree?

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine_api::dialect::VLLM;
use engine_api::metrics::{self, Selector};
use engine_api::openai::{self, Route};
use engine_api::sse::{self, SseReader};
use serde_json::{Value, json};

const PAGE: &[u8] = include_bytes!("../tests/it/golden/vllm.txt");
const CHUNK: &[u8] = br#"{"id":"chatcmpl-7f3c","object":"chat.completion.chunk","created":1750000000,"model":"Qwen/Qwen2.5-3B-Instruct","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null,"token_ids":null}]}"#;

/// A chat of about `bytes` bytes in messages of at most 4 KiB, a line break in every 80 characters.
fn chat(bytes: usize) -> Vec<u8> {
    let line = "The quick brown fox jumps over the lazy dog and runs back into the dark wood. \n";
    let text: String = line.chars().cycle().take(bytes).collect();
    let messages: Vec<Value> = text
        .as_bytes()
        .chunks(4096)
        .map(|piece| json!({"role": "user", "content": String::from_utf8_lossy(piece)}))
        .collect();
    let body = json!({"model": "m", "stream": true, "messages": messages, "max_tokens": 50});
    body.to_string().into_bytes()
}

/// One long text without escapes, as a completion.
fn completion(bytes: usize) -> Vec<u8> {
    json!({"model": "m", "prompt": "words ".repeat(bytes / 6)})
        .to_string()
        .into_bytes()
}

fn tokens(count: u32) -> Vec<u8> {
    let ids: Vec<u32> = (0..count)
        .map(|n| n.wrapping_mul(2_654_435_761) % 150_000)
        .collect();
    json!({"model": "m", "prompt": ids})
        .to_string()
        .into_bytes()
}

fn bodies(c: &mut Criterion) {
    let mut group = c.benchmark_group("body");
    let inputs = [
        ("chat-200B", Route::Chat, chat(130)),
        ("chat-16KB", Route::Chat, chat(16_000)),
        ("chat-400KB", Route::Chat, chat(400_000)),
        ("text-400KB", Route::Completions, completion(400_000)),
        ("tokens-64k", Route::Completions, tokens(65_536)),
    ];
    for (name, route, body) in &inputs {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::new("parse", name), body, |b, body| {
            b.iter(|| openai::parse(*route, black_box(body)).map(|view| view.max_tokens));
        });
        group.bench_with_input(BenchmarkId::new("parse+stream", name), body, |b, body| {
            b.iter(|| {
                let mut bytes = 0;
                if let Ok(view) = openai::parse(*route, black_box(body)) {
                    openai::streams(&view.prompt, |_, piece| bytes += piece.len());
                }
                bytes
            });
        });
        group.bench_with_input(BenchmarkId::new("utf8-scan", name), body, |b, body| {
            b.iter(|| simdutf8::basic::from_utf8(black_box(body)).is_ok());
        });
        group.bench_with_input(BenchmarkId::new("tree", name), body, |b, body| {
            b.iter(|| serde_json::from_slice::<Value>(black_box(body)).is_ok());
        });
    }
    group.finish();
}

fn answers(c: &mut Criterion) {
    let mut group = c.benchmark_group("answer");
    group.bench_function("chunk", |b| {
        b.iter(|| sse::read_chunk(black_box(CHUNK)).has_content)
    });
    group.bench_function("chunk/tree", |b| {
        b.iter(|| serde_json::from_slice::<Value>(black_box(CHUNK)).is_ok());
    });
    let event = [b"data: ", CHUNK, b"\n\n"].concat();
    let mut reader = SseReader::new(1 << 20);
    group.bench_function("event", |b| {
        b.iter(|| {
            let mut content = false;
            reader.push(black_box(&event), |event| {
                if let sse::Event::Data(data) = event {
                    content |= sse::read_chunk(data).has_content;
                }
            });
            content
        });
    });
    group.throughput(Throughput::Bytes(PAGE.len() as u64));
    group.bench_function("metrics-page", |b| {
        b.iter(|| metrics::parse(black_box(PAGE), &VLLM, Selector::default()).waiting);
    });
    group.finish();
}

criterion_group!(benches, bodies, answers);
criterion_main!(benches);
