//! Do readers see only what is true while the writer stores, evicts and clears?

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::naive::{Told, prompt};
use kv_index::Slot;
use kv_index::exact::{ExactConfig, ExactMatches, KvBatch, Tier, TokenPrompt, exact_index};

const SIZE: u32 = 2;
/// Blocks of a prompt that slot 0 holds at all times.
const KEPT: usize = 300;
const SHARED: Slot = Slot::new(0, 1);
const CHURNING: Slot = Slot::new(1, 1);

/// Begins as every prompt does, then goes its own way.
fn branch(number: u8) -> Vec<u32> {
    let mut symbols = vec![0; 40];
    symbols.extend((0..20).map(|at| number * 20 + at));
    prompt(&symbols, 20)
}

fn store(tokens: &[u32], from: usize, to: usize) -> Told {
    Told::store(tokens, SIZE, from, to, Tier::Gpu, false, false).expect("a block at least")
}

#[test]
fn readers_never_see_more_than_there_ever_was_nor_less_than_there_always_is() {
    let (index, mut writer) = exact_index(ExactConfig::default());
    let tell = |writer: &mut kv_index::exact::ExactWriter, slot, told: &[Told]| {
        let events: Vec<_> = told.iter().map(Told::event).collect();
        let batch = KvBatch {
            sequence: None,
            replay: false,
            events: &events,
            age: None,
        };
        let applied = writer.apply(slot, &batch, Duration::ZERO);
        assert_eq!((applied.malformed_events, applied.refused_blocks), (0, 0));
    };
    let kept_tokens = KEPT * SIZE as usize;
    // Runs that are full, partly full and shared, with branches at many depths.
    tell(&mut writer, SHARED, &[store(&branch(0), 0, kept_tokens)]);
    let stop = AtomicBool::new(false);
    let chains: Vec<_> = (0..8)
        .map(|number| {
            index.chain(&TokenPrompt {
                token_ids: &branch(number),
                ..TokenPrompt::default()
            })
        })
        .collect();
    let looked: u64 = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|reader| {
                let (index, chains, stop) = (&index, &chains, &stop);
                scope.spawn(move || {
                    let (mut matches, mut looked, mut partial) = (ExactMatches::default(), 0, 0);
                    while !stop.load(Relaxed) || looked < 1000 {
                        let at = (looked as usize + reader) % chains.len();
                        matches.reset(2);
                        index.lookup(&chains[at], &mut matches);
                        let shared = matches.tokens(SHARED).total() as usize;
                        assert_eq!(shared, kept_tokens);
                        let churning = matches.tokens(CHURNING).total() as usize;
                        // Odd branches are stored to 1,000 tokens at most, even ones never beyond the shared part.
                        let most = if at % 2 == 1 { 1000 } else { 800 };
                        assert!(churning <= most, "{churning} of {at}");
                        partial += u64::from(churning > 0);
                        looked += 1;
                    }
                    assert!(partial > 0);
                    looked
                })
            })
            .collect();
        for round in 0..120_u32 {
            let tokens = branch((round % 4) as u8 * 2 + 1);
            let names = Told::names(&tokens, SIZE, false, false);
            tell(
                &mut writer,
                CHURNING,
                &[store(&tokens, 0, 900), store(&tokens, 900, 1000)],
            );
            let gone = |from: usize, to: usize| Told::Removed {
                names: names[from..to].to_vec(),
                tier: Tier::Gpu,
            };
            match round % 5 {
                0 => tell(&mut writer, CHURNING, &[Told::Cleared]),
                1 => tell(&mut writer, CHURNING, &[gone(300, 500)]),
                // A hole in what is shared, filled again.
                2 => tell(
                    &mut writer,
                    CHURNING,
                    &[gone(100, 120), store(&tokens, 200, 240), gone(40, 500)],
                ),
                3 => tell(
                    &mut writer,
                    CHURNING,
                    &(0..500)
                        .rev()
                        .map(|at| gone(at, at + 1))
                        .collect::<Vec<_>>(),
                ),
                _ => {
                    writer.clear(CHURNING);
                    writer.sweep(3);
                }
            }
            writer.sweep(2);
            // A reader gets its turn even on one core.
            std::thread::yield_now();
        }
        stop.store(true, Relaxed);
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .sum()
    });
    assert!(looked >= 3000, "{looked}");
}
