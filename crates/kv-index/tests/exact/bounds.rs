//! What happens at the edges: full memory, senseless events, expectations, several block sizes?

use std::time::Duration;

use crate::naive::{Told, prompt};
use kv_index::exact::{
    Applied, BatchOutcome, EngineHash, ExactConfig, ExactIndex, ExactMatches, ExactWriter,
    ExtraKey, KvBatch, KvBlockEvent, Media, Tier, TokenChain, TokenPrompt, exact_index,
};
use kv_index::{HashSeed, Slot};

const SLOT: Slot = Slot::new(0, 1);

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn apply(writer: &mut ExactWriter, slot: Slot, events: &[KvBlockEvent<'_>]) -> Applied {
    let batch = KvBatch {
        sequence: None,
        replay: false,
        events,
        age: Some(at(3)),
    };
    writer.apply(slot, &batch, at(9))
}

fn held(index: &ExactIndex, chain: &TokenChain, slot: Slot) -> u32 {
    let mut matches = ExactMatches::default();
    index.lookup(chain, &mut matches);
    matches.tokens(slot).total()
}

fn store(tokens: &[u32], size: u32) -> Told {
    Told::store(tokens, size, 0, usize::MAX, Tier::Gpu, false, false).expect("is there")
}

fn chain(index: &ExactIndex, tokens: &[u32]) -> TokenChain {
    index.chain(&TokenPrompt {
        token_ids: tokens,
        ..TokenPrompt::default()
    })
}

#[test]
fn memory_stays_below_its_cap_and_what_is_left_out_is_counted() {
    let max_bytes = 4 << 20;
    let (index, mut writer) = exact_index(ExactConfig {
        max_bytes,
        ..ExactConfig::default()
    });
    let mut refused = 0;
    for number in 0..400_u32 {
        let tokens: Vec<u32> = (0..16_000).map(|at| at + number * 16_000).collect();
        let applied = apply(&mut writer, SLOT, &[store(&tokens, 16).event()]);
        refused += applied.refused_blocks;
        let bytes = index.stats().bytes as usize;
        assert!(bytes <= max_bytes + (256 << 10), "{bytes}");
        assert_eq!(applied.stored_blocks + applied.refused_blocks, 1000);
    }
    assert!(refused > 100_000, "{refused}");
    assert_eq!(index.slot_stats(SLOT).unwrap().refused_blocks, refused);
    // Room that is given back is used again.
    writer.clear(SLOT);
    while writer.sweep(1) > 0 {}
    let applied = apply(
        &mut writer,
        SLOT,
        &[store(&prompt(&[1; 100], 16), 16).event()],
    );
    assert_eq!((applied.stored_blocks, applied.refused_blocks), (100, 0));
}

#[test]
fn a_held_block_costs_forty_bytes_at_most() {
    let (index, mut writer) = exact_index(ExactConfig::default());
    for number in 0..4_000_u32 {
        let slot = Slot::new((number % 16) as u16, 1);
        let tokens: Vec<u32> = (0..1_600).map(|at| at + number * 1_600).collect();
        apply(&mut writer, slot, &[store(&tokens, 16).event()]);
    }
    let stats = index.stats();
    assert_eq!(stats.held_blocks, 400_000);
    let each = stats.bytes as f64 / stats.held_blocks as f64;
    assert!(each <= 40.0, "{each}");
}

#[test]
fn senseless_events_are_counted_and_change_nothing() {
    let (index, mut writer) = exact_index(ExactConfig::default());
    let tokens = prompt(&[1, 2, 3], 16);
    let names = [EngineHash(1), EngineHash(2), EngineHash(3)];
    let stored = |token_ids, block_size_tokens, keys| KvBlockEvent::Stored {
        block_hashes: &names,
        parent: None,
        token_ids,
        block_size_tokens,
        lora: None,
        extra_keys: keys,
        tier: Tier::Gpu,
    };
    let two = [Vec::new(), Vec::new()];
    let wrong = [
        stored(&tokens, 0, &[]),
        stored(&tokens, 15, &[]),
        stored(&tokens, u32::MAX, &[]),
        stored(&tokens[..47], 16, &[]),
        stored(&[], 16, &[]),
        stored(&tokens, 16, &two),
    ];
    let applied = apply(&mut writer, SLOT, &wrong);
    assert_eq!((applied.malformed_events, applied.stored_blocks), (6, 0));
    let orphan = KvBlockEvent::Stored {
        block_hashes: &names,
        parent: Some(EngineHash(77)),
        token_ids: &tokens,
        block_size_tokens: 16,
        lora: None,
        extra_keys: &[],
        tier: Tier::Gpu,
    };
    let gone = KvBlockEvent::Removed {
        block_hashes: &names,
        tier: Tier::Disk,
    };
    let applied = apply(&mut writer, SLOT, &[orphan, gone]);
    assert_eq!((applied.orphan_blocks, applied.unknown_removals), (3, 3));
    let stats = index.slot_stats(SLOT).unwrap();
    assert_eq!(
        (
            stats.malformed_events,
            stats.orphan_blocks,
            stats.unknown_removals
        ),
        (6, 3, 3)
    );
    assert_eq!((stats.lag, stats.applied_at), (Some(at(3)), Some(at(9))));
    assert_eq!(index.stats().held_blocks, 0);
}

#[test]
fn block_sizes_are_bounded_in_number() {
    let (index, mut writer) = exact_index(ExactConfig::default());
    let mut malformed = 0;
    for size in 1..40 {
        let tokens = prompt(&[7], 4 * size as usize);
        malformed += apply(&mut writer, SLOT, &[store(&tokens, size).event()]).malformed_events;
    }
    assert_eq!(malformed, 31);
    writer.close(SLOT);
    let tokens = prompt(&[7], 400);
    apply(&mut writer, Slot::new(1, 1), &[store(&tokens, 100).event()]);
    let found = held(&index, &chain(&index, &tokens), Slot::new(1, 1));
    assert_eq!(found, 300, "the last token is always computed");
}

#[test]
fn an_old_generation_is_not_heard_and_a_new_one_starts_empty() {
    let (index, mut writer) = exact_index(ExactConfig::default());
    let tokens = prompt(&[1, 2, 3], 16);
    let told = store(&tokens, 16);
    let newer = Slot::new(0, 2);
    apply(&mut writer, SLOT, &[told.event()]);
    let chain = chain(&index, &tokens);
    assert_eq!(held(&index, &chain, SLOT), 32);
    writer.open(newer, 16);
    assert_eq!(
        (held(&index, &chain, SLOT), held(&index, &chain, newer)),
        (0, 0)
    );
    assert_eq!(
        apply(&mut writer, SLOT, &[told.event()]).outcome,
        BatchOutcome::NoSlot
    );
    writer.close(SLOT);
    apply(&mut writer, newer, &[told.event()]);
    assert_eq!(held(&index, &chain, newer), 32);
}

#[test]
fn slots_beyond_the_lanes_are_refused() {
    let (index, mut writer) = exact_index(ExactConfig::default());
    let told = store(&prompt(&[1, 2], 16), 16);
    let mut refused = 0;
    for number in 0..4_100 {
        let applied = apply(&mut writer, Slot::new(number, 1), &[told.event()]);
        refused += u64::from(applied.outcome == BatchOutcome::NoSlot);
    }
    assert_eq!((refused, index.stats().held_blocks), (4, 2 * 4_096));
    writer.close(Slot::new(0, 1));
    let applied = apply(&mut writer, Slot::new(4_099, 1), &[told.event()]);
    assert_eq!(applied.outcome, BatchOutcome::Applied);
}

#[test]
fn what_is_sent_counts_until_events_or_time_or_failure_end_it() {
    let (index, mut writer) = exact_index(ExactConfig::default());
    writer.open(SLOT, 16);
    let tokens = prompt(&[1, 2, 3, 4, 5], 16);
    let chain = chain(&index, &tokens);
    assert_eq!(held(&index, &chain, SLOT), 0);

    let sent = index.send(SLOT, &chain, at(0));
    assert_eq!(
        (held(&index, &chain, SLOT), index.stats().expected_requests),
        (64, 1)
    );
    index.forget(&sent);
    assert_eq!(
        (held(&index, &chain, SLOT), index.stats().expected_requests),
        (0, 0)
    );

    let sent = index.send(SLOT, &chain, at(0));
    index.expire(at(119_000));
    assert_eq!(held(&index, &chain, SLOT), 64);
    index.first_byte(&sent, at(1000));
    index.expire(at(2_900));
    assert_eq!(held(&index, &chain, SLOT), 64);
    index.expire(at(3_000));
    assert_eq!(
        (held(&index, &chain, SLOT), index.stats().expected_requests),
        (0, 0)
    );

    // In two events, as a chunked prefill tells of it; then all of it evicted.
    index.send(SLOT, &chain, at(0));
    let parts = [(0, 32), (32, 80)]
        .map(|(from, to)| Told::store(&tokens, 16, from, to, Tier::Gpu, false, false).unwrap());
    apply(&mut writer, SLOT, &[parts[0].event()]);
    assert_eq!(
        (held(&index, &chain, SLOT), index.stats().expected_requests),
        (64, 1)
    );
    apply(&mut writer, SLOT, &[parts[1].event()]);
    assert_eq!(
        (held(&index, &chain, SLOT), index.stats().expected_requests),
        (64, 0)
    );
    let gone = Told::Removed {
        names: Told::names(&tokens, 16, false, false),
        tier: Tier::Gpu,
    };
    apply(&mut writer, SLOT, &[gone.event()]);
    assert_eq!(held(&index, &chain, SLOT), 0);

    // Held already: nothing is expected.
    apply(&mut writer, SLOT, &[parts[0].event(), parts[1].event()]);
    index.send(SLOT, &chain, at(0));
    assert_eq!(index.stats().expected_requests, 0);
    // Of a slot that is not open: nothing either.
    index.send(Slot::new(3, 1), &chain, at(0));
    assert_eq!(index.stats().expected_requests, 0);
    // A clear ends what was expected.
    apply(&mut writer, SLOT, &[KvBlockEvent::Cleared]);
    index.send(SLOT, &chain, at(0));
    assert_eq!(held(&index, &chain, SLOT), 64);
    writer.clear(SLOT);
    assert_eq!(
        (held(&index, &chain, SLOT), index.stats().expected_requests),
        (0, 0)
    );
}

#[test]
fn other_signs_of_a_restart_count_once() {
    let (index, mut writer) = exact_index(ExactConfig::default());
    let tokens = prompt(&[1, 2, 3], 16);
    let told = store(&tokens, 16);
    let chain = {
        apply(&mut writer, SLOT, &[told.event()]);
        chain(&index, &tokens)
    };
    writer.restarted(SLOT, at(50_000));
    assert_eq!(held(&index, &chain, SLOT), 0);
    apply(&mut writer, SLOT, &[told.event()]);
    writer.restarted(SLOT, at(52_000));
    assert_eq!(
        held(&index, &chain, SLOT),
        32,
        "the same restart, seen later by a scrape"
    );
    writer.restarted(SLOT, at(90_000));
    assert_eq!(held(&index, &chain, SLOT), 0);
}

#[test]
fn keys_beside_the_tokens_keep_blocks_apart() {
    let (index, mut writer) = exact_index(ExactConfig {
        seed: HashSeed(3),
        ..ExactConfig::default()
    });
    let tokens = prompt(&[1, 2, 3, 4], 16);
    let names = Told::names(&tokens, 16, false, false);
    // A picture over tokens 20..40, an adapter, a salt: listed as engines list them.
    let lora = ExtraKey::Text("adapter");
    let picture = |offset_tokens| ExtraKey::Media {
        hash: "m1",
        offset_tokens,
    };
    let keys = [
        vec![lora, ExtraKey::Text("salt")],
        vec![lora, picture(4)],
        vec![lora, picture(-12)],
        vec![lora],
    ];
    let stored = KvBlockEvent::Stored {
        block_hashes: &names,
        parent: None,
        token_ids: &tokens,
        block_size_tokens: 16,
        lora: Some("adapter"),
        extra_keys: &keys,
        tier: Tier::Gpu,
    };
    apply(&mut writer, SLOT, &[stored]);
    let media = [Media {
        hash: "m1",
        offset_tokens: 20,
        len_tokens: 20,
    }];
    let other = [Media {
        hash: "m2",
        ..media[0]
    }];
    let moved = [Media {
        offset_tokens: 21,
        ..media[0]
    }];
    let asked = |lora, cache_salt, media| {
        let chain = index.chain(&TokenPrompt {
            token_ids: &tokens,
            lora,
            cache_salt,
            media,
        });
        held(&index, &chain, SLOT)
    };
    assert_eq!(asked(Some("adapter"), Some("salt"), &media), 48);
    assert_eq!(asked(Some("adapter"), Some("salt"), &other), 16);
    assert_eq!(asked(Some("adapter"), Some("salt"), &moved), 16);
    assert_eq!(asked(Some("adapter"), Some("salt"), &[]), 16);
    assert_eq!(asked(Some("adapter"), Some("other"), &media), 0);
    assert_eq!(asked(Some("adapter"), None, &media), 0);
    assert_eq!(asked(None, Some("salt"), &media), 0);
}

#[test]
fn names_on_the_wire_and_media_are_read_as_engines_write_them() {
    assert_eq!(
        EngineHash::from_digest(&[0xFF, 1, 2, 3, 4, 5, 6, 7, 8]),
        EngineHash(0x0102_0304_0506_0708)
    );
    assert_eq!(EngineHash::from_digest(&[1, 2]), EngineHash(0x0102));
    assert_eq!(EngineHash::from_digest(&[]), EngineHash(0));
    let tiers = [
        None,
        Some("GPU"),
        Some("cpu"),
        Some("STORAGE"),
        Some("moon"),
    ]
    .map(Tier::of_medium);
    assert_eq!(
        tiers,
        [
            Some(Tier::Gpu),
            Some(Tier::Gpu),
            Some(Tier::Cpu),
            Some(Tier::Disk),
            None
        ]
    );
}
