//! What must hold for every input, whatever its bytes?
//!
//! Plain functions: the fuzz targets call them with what the fuzzer thinks of, and a test of `engine-api` replays
//! the corpora through them on a stable compiler.

use engine_api::dialect::{self, Dialect};
use engine_api::kv_events::{Batch, Frames, KvEvent, Topic};
use engine_api::metrics::{self, Selector};
use engine_api::openai::{self, Route};
use engine_api::sse::{self, Event, SseReader};
use engine_api::{usage, zmtp};

const ROUTES: [Route; 6] = [
    Route::Completions,
    Route::Chat,
    Route::Messages,
    Route::Responses,
    Route::Embeddings,
    Route::Other,
];

/// Every body is read or refused on every route; what Python's `json` would not read is read by none that looks
/// inside, and streams are numbered within the count of prompts.
pub fn openai_body(data: &[u8]) {
    for route in ROUTES {
        match openai::parse(route, data) {
            Ok(view) => {
                let count = view.prompt.count();
                openai::streams(&view.prompt, |number, _| assert!(number < count));
                assert!(route == Route::Other || std::str::from_utf8(data).is_ok());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// The same events come out whole, in halves and byte by byte.
pub fn sse(data: &[u8]) {
    let whole = events([data].into_iter());
    let (head, tail) = data.split_at(data.len() / 2);
    assert_eq!(whole, events([head, tail].into_iter()));
    assert_eq!(whole, events(data.chunks(1)));
    for event in whole.iter().flatten() {
        let view = sse::read_chunk(event);
        assert_eq!(view.usage, usage::read_body(event));
    }
    sse::read_chunk(data);
    usage::read_whole(data);
}

/// `None` stands for the end mark.
fn events<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Option<Vec<u8>>> {
    let mut events = Vec::new();
    let mut on = |event: Event<'_>| {
        events.push(match event {
            Event::Data(data) => Some(data.to_vec()),
            Event::Done => None,
        });
    };
    let mut reader = SseReader::new(256);
    for piece in pieces {
        reader.push(piece, &mut on);
    }
    reader.finish(&mut on);
    events
}

/// Every page is read in every dialect; shares stay shares.
pub fn metrics_page(data: &[u8]) {
    let selectors = [
        Selector::default(),
        Selector {
            rank: Some(0),
            model: Some("m"),
        },
    ];
    for dialect in dialect::ALL {
        for selector in selectors {
            let seen = metrics::parse(data, dialect, selector);
            assert!(
                seen.kv_usage
                    .is_none_or(|usage| (0.0..=1.0).contains(&usage))
            );
        }
    }
    let known = |found: &Dialect| dialect::by_name(found.name).is_some();
    assert!(metrics::detect(data).is_none_or(known));
}

/// Every listing is read or refused.
pub fn models(data: &[u8]) {
    if let Err(error) = engine_api::models::parse(data) {
        assert!(!error.to_string().is_empty());
    }
}

/// Every payload is a batch or refused; stored blocks are full, and no more is kept than was sent.
pub fn kv_events(data: &[u8]) {
    let (topic, payload) = data.split_at(data.len().min(8));
    Topic::parse(topic);
    if let Ok(frames) = Frames::of(&[topic, topic, payload]) {
        assert_eq!(frames.payload, payload);
    }
    match Batch::decode(data) {
        Ok(batch) => {
            for event in &batch.events {
                if let KvEvent::Stored(stored) = event {
                    let blocks = stored.block_hashes.len();
                    assert_eq!(
                        stored.token_ids.len(),
                        blocks * stored.block_size_tokens as usize
                    );
                    assert!(stored.token_ids.len() <= data.len());
                    assert!(stored.extra_keys.len() <= data.len());
                }
            }
            assert!(batch.events.len() + batch.unknown_events as usize <= data.len());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Every connection's bytes are frames within the limit or refused.
pub fn zmtp(data: &[u8]) {
    const MAX_BYTES: usize = 4096;
    if let Some(greeting) = data.first_chunk() {
        let _ = zmtp::check_greeting(greeting);
    }
    let mut rest = data;
    while let Ok(Some((frame, taken))) = zmtp::frame(rest, MAX_BYTES) {
        assert!(taken >= 2 && frame.body.len() <= MAX_BYTES);
        if frame.command
            && let Ok(zmtp::Command::Ping(context)) = zmtp::command(frame.body)
        {
            let mut out = Vec::new();
            zmtp::write_pong(&context, &mut out);
            assert!(matches!(zmtp::frame(&out, 64), Ok(Some(_))));
        }
        rest = &rest[taken..];
    }
}
