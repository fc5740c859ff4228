//! Do tables and holder groups answer as a plain map does, through growth and shrinking?

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use crate::BlockHash;
use crate::store::Store;
use crate::table::{CELL_BYTES_AT_MOST, Table};

/// Keys that crowd together at both ends of the table, where probing wraps around.
fn key() -> impl Strategy<Value = u64> {
    prop_oneof![
        (0_u64..40).prop_map(|k| u64::MAX - k),
        0_u64..40,
        any::<u64>()
    ]
}

proptest! {
    #[test]
    fn table_is_a_map(steps in proptest::collection::vec((any::<bool>(), key()), 0..600)) {
        let (mut table, mut map) = (Table::default(), HashMap::new());
        for (at, (add, key)) in steps.iter().enumerate() {
            let word = at as u64 + 1;
            if *add {
                match table.get_mut(*key) {
                    Some(place) => *place = word,
                    None => table.insert_new(*key, word),
                }
                map.insert(*key, word);
            } else {
                table.remove(*key);
                map.remove(key);
            }
            prop_assert_eq!(table.len(), map.len());
            prop_assert!(table.allocated_bytes() <= (table.len() * CELL_BYTES_AT_MOST).max(128));
        }
        for (_, key) in &steps {
            prop_assert_eq!(table.get(*key), map.get(key).copied());
        }
        prop_assert_eq!(table.words_mut().count(), map.len());
    }

    #[test]
    fn holders_are_a_map(
        steps in proptest::collection::vec((0_u8..3, 0_u64..6, 0_u16..12, 1_u64..1_000), 0..400),
    ) {
        // Lanes far apart, so that their bits are in several words.
        let lane = |lane: u16| lane * 37;
        let (store, mut map) = (Store::new(), BTreeMap::new());
        for (action, block, who, stamp) in steps {
            let block = BlockHash(block);
            let changed = if action > 0 {
                (store.hold(block, lane(who), stamp), map.insert((block, lane(who)), stamp).is_none())
            } else {
                (store.release(block, lane(who)), map.remove(&(block, lane(who))).is_some())
            };
            prop_assert_eq!(changed.0, changed.1);
        }
        for block in (0..6).map(BlockHash) {
            let mut bits = [0_u64; 8];
            store.fill(block, &mut bits);
            for lane in (0..12).map(lane) {
                let expected = map.get(&(block, lane)).copied();
                prop_assert_eq!(store.stamp(block, lane), expected);
                prop_assert_eq!(bits[usize::from(lane) / 64] >> (lane % 64) & 1 == 1, expected.is_some());
            }
        }
        for (block, lane) in map.into_keys() {
            store.release(block, lane);
        }
        prop_assert!(store.bytes() < 16 * 1024, "{} bytes for nothing", store.bytes());
    }
}

#[test]
fn a_hot_block_goes_back_to_one_word_a_holder() {
    let (store, block) = (Store::new(), BlockHash(9));
    assert!((0..2_000).all(|lane| store.hold(block, lane, 5)));
    let all = store.bytes();
    assert!((1..2_000).rev().all(|lane| store.release(block, lane)));
    assert_eq!(store.stamp(block, 0), Some(5));
    assert!(store.bytes() < all / 20, "{} of {all} bytes", store.bytes());
}
