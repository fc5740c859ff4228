//! Payloads are written here by hand, byte by byte: the reader must not be tested by a writer of its own kind.

use super::*;

/// Writes what the tests need.
#[derive(Default)]
struct Pack(Vec<u8>);

impl Pack {
    fn array(mut self, count: u8) -> Self {
        self.0.push(0x90 | count);
        self
    }
    fn map(mut self, count: u8) -> Self {
        self.0.push(0x80 | count);
        self
    }
    fn text(mut self, text: &str) -> Self {
        self.0.extend([0xd9, text.len() as u8]);
        self.0.extend(text.as_bytes());
        self
    }
    fn bin(mut self, bytes: &[u8]) -> Self {
        self.0.extend([0xc4, bytes.len() as u8]);
        self.0.extend(bytes);
        self
    }
    fn u64(mut self, value: u64) -> Self {
        self.0.push(0xcf);
        self.0.extend(value.to_be_bytes());
        self
    }
    fn i64(mut self, value: i64) -> Self {
        self.0.push(0xd3);
        self.0.extend(value.to_be_bytes());
        self
    }
    fn f64(mut self, value: f64) -> Self {
        self.0.push(0xcb);
        self.0.extend(value.to_be_bytes());
        self
    }
    fn int(mut self, value: u8) -> Self {
        self.0.push(value & 0x7f);
        self
    }
    fn nil(mut self) -> Self {
        self.0.push(0xc0);
        self
    }
    fn ids(mut self, ids: &[u8]) -> Self {
        self = self.array(ids.len() as u8);
        for id in ids {
            self = self.int(*id);
        }
        self
    }
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
}

fn batch(events: u8) -> Pack {
    Pack::default().array(3).f64(1.5).array(events)
}

#[track_caller]
fn check(payload: Pack, expected: &[KvEvent], unknown_events: u32) {
    let expected = Batch {
        timestamp_s: 1.5,
        events: expected.to_vec(),
        rank: Some(2),
        unknown_events,
    };
    assert_eq!(Batch::decode(&payload.int(2).0), Ok(expected));
}

fn stored() -> Stored {
    Stored {
        block_hashes: vec![EngineHash(u64::MAX - 1), EngineHash(0x0102_0304_0506_0708)],
        parent: Some(EngineHash(9)),
        token_ids: vec![1, 2, 3, 4],
        block_size_tokens: 2,
        lora_name: Some("sql".to_owned()),
        extra_keys: vec![
            vec![ExtraKey::Text("salt".to_owned())],
            vec![ExtraKey::Media {
                hash: "abc".to_owned(),
                offset_tokens: 1,
            }],
        ],
        ..Stored::default()
    }
}

fn keys(pack: Pack) -> Pack {
    pack.array(2)
        .array(1)
        .text("salt")
        .array(1)
        .array(2)
        .text("abc")
        .int(1)
}

#[test]
fn maps_with_the_tag_anywhere_and_unknown_keys() {
    let long_hash = [&[0xaa; 24][..], &[1, 2, 3, 4, 5, 6, 7, 8]].concat();
    let pack = batch(1)
        .map(9)
        .text("locality")
        .map(1)
        .text("deep")
        .array(1)
        .nil()
        .text("block_hashes")
        .array(2)
        .i64(-2)
        .bin(&long_hash)
        .text("parent_block_hash")
        .int(9)
        .text("type")
        .text("BlockStored")
        .text("token_ids")
        .ids(&[1, 2, 3, 4])
        .text("block_size")
        .int(2)
        .text("lora_name")
        .text("sql")
        .text("medium")
        .text("GPU")
        .text("extra_keys");
    check(keys(pack), &[KvEvent::Stored(stored())], 0);
}

#[test]
fn positional_events_of_any_age() {
    let pack = batch(4)
        .array(9)
        .text("BlockStored")
        .array(2)
        .u64(u64::MAX - 1)
        .u64(0x0102_0304_0506_0708)
        .int(9)
        .ids(&[1, 2, 3, 4])
        .int(2)
        .nil()
        .text("GPU")
        .text("sql");
    let pack = keys(pack)
        .array(2)
        .text("BlockRemoved")
        .array(1)
        .u64(7)
        .array(3)
        .text("BlockRemoved")
        .array(1)
        .u64(7)
        .text("cpu")
        .array(1)
        .text("AllBlocksCleared");
    let removed = |medium| {
        KvEvent::Removed(Removed {
            block_hashes: vec![EngineHash(7)],
            medium,
            group: 0,
        })
    };
    let expected = [
        KvEvent::Stored(stored()),
        removed(Medium::Gpu),
        removed(Medium::Cpu),
        KvEvent::Cleared,
    ];
    check(pack, &expected, 0);
}

#[test]
fn unknown_kinds_are_counted_and_rank_may_be_missing() {
    let pack = batch(3)
        .map(2)
        .text("type")
        .text("BlockMoved")
        .text("block_hashes")
        .int(1)
        .array(3)
        .text("Whatever")
        .nil()
        .nil()
        .map(1)
        .text("type")
        .text("AllBlocksCleared");
    check(pack, &[KvEvent::Cleared], 2);
    let old = Pack::default().array(2).int(3).array(0);
    let batch = Batch::decode(&old.0).unwrap();
    assert_eq!((batch.timestamp_s, batch.rank), (3.0, None));
}

#[test]
fn what_is_no_batch_is_told() {
    let event = |fill: fn(Pack) -> Pack| fill(batch(1)).int(0).0;
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "byte 0"),
        (vec![0xc1], "byte 0"),
        (b"garbage".to_vec(), "no list"),
        (Pack::default().array(1).f64(0.0).0, "no timestamp"),
        (vec![0xdd, 0xff, 0xff, 0xff, 0xff], "byte 5"),
        (event(|pack| pack.array(0)), "empty list"),
        (event(|pack| pack.int(1)), "neither"),
        (
            event(|pack| pack.array(2).text("BlockRemoved").nil()),
            "without block hashes",
        ),
        (
            event(|pack| {
                pack.map(4)
                    .text("type")
                    .text("BlockStored")
                    .text("block_hashes")
                    .array(1)
                    .int(1)
                    .text("token_ids")
                    .ids(&[1, 2, 3])
                    .text("block_size")
                    .int(2)
            }),
            "3 token ids for 1 blocks of 2",
        ),
        (
            event(|pack| pack.array(3).text("BlockStored").array(1).int(1).array(0)),
            "parent that is no hash",
        ),
    ];
    for (bytes, expected) in cases {
        let error = Batch::decode(&bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
}

#[test]
fn depth_and_claimed_lengths_cost_nothing() {
    // A million lists inside each other, and a list that claims four thousand million token ids.
    let deep = batch(1)
        .array(2)
        .text("Unknown")
        .raw(&vec![0x91; 1 << 20])
        .nil();
    check(deep, &[], 1);
    let claimed = batch(1)
        .map(2)
        .text("type")
        .text("BlockStored")
        .text("token_ids")
        .raw(&[0xdd, 0xff, 0xff, 0xff, 0xff, 1]);
    assert!(matches!(
        Batch::decode(&claimed.0),
        Err(DecodeError::Pack(_))
    ));
    assert!(matches!(
        Batch::decode(&vec![0; MAX_PAYLOAD_BYTES + 1]),
        Err(DecodeError::TooLong(_))
    ));
}

#[test]
fn frames_of_live_messages_and_of_replays_old_and_new() {
    let sequence = 5u64.to_be_bytes();
    let expected = Frames {
        topic: b"t",
        sequence: 5,
        payload: b"p",
    };
    assert_eq!(Frames::of(&[b"t", &sequence, b"p"]), Ok(expected));
    assert_eq!(Frames::of(&[b"", b"t", &sequence, b"p"]), Ok(expected));
    let bare = Frames {
        topic: b"",
        ..expected
    };
    assert_eq!(Frames::of(&[&sequence, b"p"]), Ok(bare));
    let end = [0xff; 8];
    assert!(
        Frames::of(&[b"", b"", &end, b""])
            .unwrap()
            .is_end_of_replay()
    );
    assert_eq!(Frames::of(&[b"p"]), Err(DecodeError::Frames(1)));
    assert_eq!(
        Frames::of(&[b"t", b"12", b"p"]),
        Err(DecodeError::Sequence(2))
    );
}

#[test]
fn topics() {
    let topic = Topic::parse(b"kv@10.0.0.7:8000@Qwen/Qwen2.5@x").unwrap();
    assert_eq!(
        (topic.endpoint, topic.model),
        ("10.0.0.7:8000", "Qwen/Qwen2.5@x")
    );
    for other in [&b""[..], b"kv@", b"kv@a", b"kv@@m", b"\xff", b"other"] {
        assert_eq!(Topic::parse(other), None);
    }
}
