//! Do many threads see what they placed, and nothing that was cleared?

use std::sync::atomic::{AtomicBool, Ordering};

use kv_index::{
    ApproximateIndex, Chain, ChainHasher, HashSeed, IndexConfig, Matches, Namespace, Slot,
};

const ROUNDS: u32 = 400;

fn chain(thread: u32, round: u32) -> Chain {
    let mut hasher = ChainHasher::new(HashSeed(1), Namespace::default());
    hasher.update(&[b's'; 64 * 20]);
    for part in [thread, round] {
        hasher.update(&part.to_le_bytes().repeat(64));
    }
    hasher.finish()
}

/// Places, confirms or forgets, and looks at the result, on a slot that no other thread clears.
fn place_and_look(index: &ApproximateIndex, thread: u32) {
    let (slot, mut matches) = (Slot::new(thread as u16, 0), Matches::default());
    for round in 0..ROUNDS {
        let chain = chain(thread, round);
        let placement = index.place(slot, &chain);
        let mut seen = || {
            matches.reset(8);
            index.lookup(&chain, &mut matches);
            matches.blocks(slot)
        };
        assert_eq!(seen(), 28, "placed");
        if round % 3 == 0 {
            index.forget(placement);
            let shared = if round == 0 { 0 } else { 20 };
            assert!((shared..=24).contains(&seen()), "forgotten");
        } else {
            index.confirm(placement);
            // On its way from one table to the other it is never in neither.
            (0..20).for_each(|_| assert_eq!(seen(), 28, "confirmed"));
        }
    }
}

/// Fills and clears a slot of its own: after a clear nothing of it matches.
fn fill_and_clear(index: &ApproximateIndex, thread: u32) {
    let (slot, mut matches) = (Slot::new(thread as u16, 0), Matches::default());
    for round in 0..ROUNDS {
        let chain = chain(thread, round);
        index.confirm(index.place(slot, &chain));
        if round % 5 == 0 {
            index.clear(slot);
            matches.reset(8);
            index.lookup(&chain, &mut matches);
            assert_eq!(matches.blocks(slot), 0, "cleared");
        }
    }
}

#[test]
fn threads_see_what_is_there() {
    let index = ApproximateIndex::new(IndexConfig {
        max_bytes: 1 << 26,
        default_capacity_blocks: 50_000,
        queue_ops: 4_096,
    });
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if index.apply_pending(16) == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let mut others = Vec::new();
        for thread in 0..3 {
            let index = &index;
            others.push(scope.spawn(move || place_and_look(index, thread)));
        }
        others.push(scope.spawn(|| fill_and_clear(&index, 3)));
        let results: Vec<_> = others.into_iter().map(|other| other.join()).collect();
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        results.into_iter().for_each(|result| result.unwrap());
    });
    while index.apply_pending(64) > 0 {}
    let stats = index.stats();
    assert_eq!((stats.pending_ops, stats.dropped_ops), (0, 0));
    assert!(stats.held_blocks > 0);
}

/// A writer that sleeps until it is called misses nothing, whenever the call comes.
#[test]
fn a_sleeping_writer_is_called() {
    let index = ApproximateIndex::new(IndexConfig {
        max_bytes: 64 << 20,
        default_capacity_blocks: 1 << 20,
        queue_ops: 1 << 16,
    });
    let (call, calls) = std::sync::mpsc::sync_channel(1);
    index.on_work(move || {
        // Full means that it was called already.
        let _ = call.try_send(());
    });
    let (index, done) = (&index, &AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                if index.arm() {
                    calls.recv().unwrap();
                }
                while index.apply_pending(16) > 0 {}
            }
        });
        for round in 0..ROUNDS {
            index.confirm(index.place(Slot::new(0, 0), &chain(0, round)));
            // Nobody else calls: what was missed once stays.
            while index.stats().pending_ops > 0 {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Release);
        index.clear(Slot::new(0, 0));
    });
}
