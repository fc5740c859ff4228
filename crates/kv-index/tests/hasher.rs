//! Does a prompt hash the same however it arrives, and differently whenever it should?

use kv_index::{BLOCK_BYTES, BlockHash, Chain, ChainHasher, HashSeed, Namespace};
use proptest::prelude::*;

const PLAIN: Namespace<'_> = Namespace {
    model: "m",
    lora: None,
    cache_salt: None,
};

fn chain(seed: u64, namespace: Namespace<'_>, bytes: &[u8]) -> Chain {
    let mut hasher = ChainHasher::new(HashSeed(seed), namespace);
    hasher.update(bytes);
    hasher.finish()
}

proptest! {
    #[test]
    fn piece_borders_do_not_show(
        bytes in proptest::collection::vec(any::<u8>(), 0..40_000),
        cuts in proptest::collection::vec(0_usize..40_000, 0..8),
        room in 0_usize..2_000,
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let mut pieces = ChainHasher::with_capacity_bytes(HashSeed(7), PLAIN, room);
        let mut from = 0;
        for cut in cuts.into_iter().chain([bytes.len()]) {
            pieces.update(&bytes[from..cut]);
            from = cut;
        }
        let (pieces, whole) = (pieces.finish(), chain(7, PLAIN, &bytes));
        prop_assert_eq!(pieces.hashes(), whole.hashes());
        prop_assert_eq!(pieces.stream_bytes(), bytes.len() as u64);
        prop_assert_eq!(whole.len(), bytes.len() / BLOCK_BYTES);
    }

    #[test]
    fn a_changed_byte_changes_its_block_and_all_after(
        mut bytes in proptest::collection::vec(any::<u8>(), 64..40_000),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let before = chain(7, PLAIN, &bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let after = chain(7, PLAIN, &bytes);
        let equal = (at / BLOCK_BYTES).min(before.len());
        let common = before.common_blocks(&after);
        prop_assert!(common <= equal && equal - common <= equal / 64, "{common} of {equal}");
        let differ = before.hashes().iter().zip(after.hashes()).skip_while(|(a, b)| a == b);
        for (a, b) in differ {
            prop_assert_ne!(a, b);
        }
    }

    #[test]
    fn appending_keeps_the_prefix(
        bytes in proptest::collection::vec(any::<u8>(), 0..20_000),
        more in proptest::collection::vec(any::<u8>(), 0..20_000),
    ) {
        let short = chain(7, PLAIN, &bytes);
        let long = chain(7, PLAIN, &[bytes, more].concat());
        let common = short.common_blocks(&long);
        prop_assert!(common <= short.len() && short.len() - common <= short.len() / 64);
        let cut = long.truncated(short.len());
        prop_assert_eq!((cut.len(), cut.common_blocks(&long)), (common, common));
    }
}

#[test]
fn namespaces_and_seeds_never_alias() {
    let namespace = |model, lora, cache_salt| Namespace {
        model,
        lora,
        cache_salt,
    };
    let all = [
        (1, namespace("m", None, None)),
        (2, namespace("m", None, None)),
        (1, namespace("ma", None, None)),
        (1, namespace("m", Some("a"), None)),
        (1, namespace("m", None, Some("a"))),
        (1, namespace("m", Some(""), None)),
        (1, namespace("m", None, Some(""))),
        (1, namespace("", Some("ma"), None)),
        (1, namespace("m", Some("ab"), Some("c"))),
        (1, namespace("m", Some("a"), Some("bc"))),
    ];
    let mut first: Vec<BlockHash> = all
        .map(|(seed, ns)| chain(seed, ns, &[b'x'; 64]).hashes()[0])
        .to_vec();
    first.sort_unstable();
    first.dedup();
    assert_eq!(first.len(), all.len());
}

#[test]
fn no_two_of_many_blocks_share_a_hash() {
    let mut bytes = Vec::new();
    let mut hashes = Vec::new();
    for start in 0_u64..800 {
        bytes.clear();
        for block in 0_u64..128 {
            bytes.extend_from_slice(&(block % 3).to_le_bytes());
            bytes.extend_from_slice(&start.to_le_bytes());
            bytes.extend_from_slice(&[0; 48]);
        }
        hashes.extend_from_slice(chain(1, PLAIN, &bytes).hashes());
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 800 * 128);
}

#[test]
fn too_short_has_no_block() {
    let chain = chain(1, PLAIN, &[b'x'; 63]);
    assert!(chain.is_empty());
    assert_eq!((chain.len(), chain.stream_bytes()), (0, 63));
}
