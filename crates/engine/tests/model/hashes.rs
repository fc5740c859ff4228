use engine::model::{ExtraKeys, HashAlgo, HashChain, Lora};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    seed: String,
    tokens: Tokens,
    block_size: usize,
    lora: Option<(String, String)>,
    salt: Option<String>,
    none_hash: String,
    hashes: Vec<String>,
    last_wire_int: String,
}

#[derive(Deserialize)]
struct Tokens {
    start: u32,
    len: u32,
    step: u32,
}

#[test]
fn sha256_cbor_is_bit_exact() {
    let file: File = serde_json::from_str(include_str!("../vectors/sha256_cbor.json")).unwrap();
    file.cases.iter().for_each(check);
}

fn check(case: &Case) {
    let mut chain = HashChain::new(HashAlgo::Sha256Cbor, &case.seed);
    assert_eq!(
        format!("{:?}", chain.none_hash()),
        case.none_hash,
        "{}",
        case.name
    );
    let tokens: Vec<u32> = (0..case.tokens.len)
        .map(|i| case.tokens.start + i * case.tokens.step)
        .collect();
    let extra = ExtraKeys {
        lora: case.lora.as_ref().map(|(name, path)| Lora {
            name: name.as_str().into(),
            path: path.as_str().into(),
            id: 1,
        }),
        cache_salt: case.salt.as_deref().map(Into::into),
    };
    let mut parent = None;
    for (block, expected) in tokens.chunks_exact(case.block_size).zip(&case.hashes) {
        let hash = chain.block(parent.as_ref(), block.iter().copied(), &extra);
        assert_eq!(format!("{hash:?}"), *expected, "{}", case.name);
        parent = Some(hash);
    }
    let wire = parent.unwrap().wire_int(HashAlgo::Sha256Cbor);
    assert_eq!(wire.to_string(), case.last_wire_int, "{}", case.name);
}

#[test]
fn first_parent_is_the_recorded_one() {
    let none = HashChain::new(HashAlgo::Sha256Cbor, engine::model::DEFAULT_HASH_SEED).none_hash();
    assert_eq!(
        format!("{none:?}"),
        "9bd96a485ad84efdafb72ee48a1d7a69bcead0f8f0433173941b276b9581eef0"
    );
}

#[test]
fn the_cheap_algorithm_chains_too() {
    let mut chain = HashChain::new(HashAlgo::XxhashCbor, "seed");
    let extra = ExtraKeys::default();
    let first = chain.block(None, [1, 2].into_iter(), &extra);
    let second = chain.block(Some(&first), [3, 4].into_iter(), &extra);
    assert_ne!(second, chain.block(None, [3, 4].into_iter(), &extra));
    assert_eq!(first.as_bytes()[16..], [0; 16]);
    assert_ne!(first.wire_int(HashAlgo::XxhashCbor), 0);
}
