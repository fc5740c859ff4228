//! Does the tree answer as a list of its placements would, and stay as small as they are?

use std::sync::Arc;

use proptest::prelude::*;

use crate::BlockHash;
use crate::recent_tree::RecentTree;

/// Blocks that stand for `symbols`: each names all symbols up to it.
fn blocks_of(symbols: &[u8]) -> Arc<[BlockHash]> {
    let named = |(at, _)| {
        symbols[..=at]
            .iter()
            .fold(1, |name, symbol| name * 4 + u64::from(*symbol))
    };
    symbols
        .iter()
        .enumerate()
        .map(named)
        .map(BlockHash)
        .collect()
}

fn expected(placed: &[(u16, Vec<u8>)], symbols: &[u8], lane: u16) -> u32 {
    let of_lane = placed.iter().filter(|(other, _)| *other == lane);
    of_lane
        .map(|(_, p)| p.iter().zip(symbols).take_while(|(a, b)| a == b).count())
        .max()
        .unwrap_or(0) as u32
}

proptest! {
    #[test]
    fn answers_as_a_list(
        steps in proptest::collection::vec(
            (any::<bool>(), any::<prop::sample::Index>(), 0_u16..4, proptest::collection::vec(0_u8..3, 0..9)),
            1..60,
        ),
        asked in proptest::collection::vec(0_u8..3, 0..9),
    ) {
        let mut tree = RecentTree::default();
        let mut placed: Vec<(u16, Vec<u8>)> = Vec::new();
        for (add, which, lane, symbols) in steps {
            if add || placed.is_empty() {
                tree.add(lane, &blocks_of(&symbols), symbols.len());
                placed.push((lane, symbols));
            } else {
                let (lane, symbols) = placed.swap_remove(which.index(placed.len()));
                tree.remove(lane, &blocks_of(&symbols), symbols.len());
            }
            let mut runs = vec![0; 4];
            tree.raise_runs(&blocks_of(&asked), &mut runs);
            let expected: Vec<u32> = (0..4).map(|lane| expected(&placed, &asked, lane)).collect();
            let alone: Vec<u32> = (0..4).map(|lane| tree.run_of(&blocks_of(&asked), lane)).collect();
            prop_assert_eq!(&runs, &expected);
            prop_assert_eq!(alone, expected);
            prop_assert!(tree.nodes() <= placed.len() * 2, "{} nodes, {} placements", tree.nodes(), placed.len());
        }
        for (lane, symbols) in placed {
            tree.remove(lane, &blocks_of(&symbols), symbols.len());
        }
        prop_assert_eq!(tree.nodes(), 0);
    }
}
