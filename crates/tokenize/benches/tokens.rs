//! What does tokenizing cost, the first time and with a known beginning?
//!
//! A conversation of so many tokens in turns of about 500, rendered and tokenized: with nothing known, and with all but its
//! last turn known. By the built-in tokenizer, and by byte pairs trained here on the same text (8,000 merges, the pattern
//! of the GPT-4 family).
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(
    clippy::print_stderr,
    reason = "memory is no time, so criterion does not show it"
)]

use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use tokenize::{ChatOptions, KnownTokens, Tokenizer, filler_ids};
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, TokenizerBuilder};

const SIZES_TOKENS: [usize; 3] = [1_000, 16_000, 128_000];
const TURN_TOKENS: usize = 500;
const CACHE_BYTES: usize = 64 << 20;
const PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Words in an order that does not repeat.
fn words(tokens: usize, seed: u64) -> String {
    let ids = filler_ids();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let drawn: Vec<u32> = (0..tokens)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ids[(state % ids.len() as u64) as usize]
        })
        .collect();
    Tokenizer::built_in().decode(&drawn)
}

fn conversation(tokens: usize) -> Value {
    let turns = (tokens / TURN_TOKENS).max(2);
    let turn = |number: usize| {
        let role = if number.is_multiple_of(2) {
            "user"
        } else {
            "assistant"
        };
        json!({"role": role, "content": words(TURN_TOKENS, number as u64 + 1)})
    };
    (0..turns).map(turn).collect()
}

fn byte_pairs() -> Tokenizer {
    let split = Split::new(
        SplitPattern::Regex(PATTERN.to_owned()),
        SplitDelimiterBehavior::Isolated,
        false,
    );
    let bytes = ByteLevel::new(false, false, false);
    let mut trained = TokenizerBuilder::<
        BPE,
        tokenizers::normalizers::NFC,
        Sequence,
        tokenizers::PostProcessorWrapper,
        tokenizers::DecoderWrapper,
    >::new()
    .with_model(BPE::default())
    .with_normalizer(Some(tokenizers::normalizers::NFC))
    .with_pre_tokenizer(Some(Sequence::new(vec![
        split.unwrap().into(),
        bytes.into(),
    ])))
    .with_post_processor(None)
    .with_decoder(Some(ByteLevel::new(false, false, false).into()))
    .build()
    .unwrap();
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(8_256)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![
            AddedToken::from("<|im_start|>", true),
            AddedToken::from("<|im_end|>", true),
        ])
        .build();
    let text = (0..40).map(|seed| words(2_000, 1_000 + seed));
    trained.train(&mut trainer, text).unwrap();
    let dir = tempfile::tempdir().unwrap();
    trained
        .save(dir.path().join("tokenizer.json"), false)
        .unwrap();
    std::fs::write(
        dir.path().join("chat_template.jinja"),
        include_str!("../src/chatml.jinja"),
    )
    .unwrap();
    Tokenizer::from_dir(dir.path()).unwrap()
}

fn bench(criterion: &mut Criterion) {
    let kinds = [
        ("built-in", Arc::new(Tokenizer::built_in())),
        ("byte-pairs", Arc::new(byte_pairs())),
    ];
    for (kind, tokenizer) in kinds {
        let mut group = criterion.benchmark_group(kind);
        group.sample_size(10);
        for size in SIZES_TOKENS {
            let messages = conversation(size);
            let all = messages.as_array().unwrap();
            let before = Value::from(all[..all.len() - 1].to_vec());
            let options = ChatOptions::default();
            let render =
                |messages: &Value| tokenizer.render_chat(messages, None, &options).unwrap();
            let empty = || KnownTokens::new(Arc::clone(&tokenizer), CACHE_BYTES, 1);
            let known = || {
                let known = empty();
                known.encode(&render(&before), false).unwrap();
                known
            };
            let tokens = empty().encode(&render(&messages), false).unwrap().ids.len();
            eprintln!(
                "{kind}, {size}: {tokens} tokens, {} bytes remembered",
                known().held_bytes()
            );
            let id = |what: &str| BenchmarkId::new(what, size);
            group.bench_function(id("render"), |bencher| bencher.iter(|| render(&messages)));
            let text = render(&messages);
            group.bench_function(id("first"), |bencher| {
                bencher.iter_batched(
                    empty,
                    |known| known.encode(&text, false),
                    BatchSize::LargeInput,
                );
            });
            group.bench_function(id("known"), |bencher| {
                bencher.iter_batched(
                    known,
                    |known| known.encode(&text, false),
                    BatchSize::LargeInput,
                );
            });
        }
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
