//! Every way in which messages can go missing, against a sink that only remembers.

use std::cell::RefCell;

use super::*;

#[derive(Default)]
struct Heard {
    sequences: Vec<u64>,
    clears: usize,
}

struct Recorder {
    heard: RefCell<Heard>,
    block_size_tokens: Option<u32>,
    num_blocks: Option<u64>,
}

impl Sink for &Recorder {
    fn apply(&self, batch: &Batch, sequence: u64, _replay: bool) -> Applied {
        self.heard.borrow_mut().sequences.push(sequence);
        let stored = |event: &KvEvent| match event {
            KvEvent::Stored(stored) => stored.block_hashes.len() as u64,
            _ => 0,
        };
        Applied {
            stored_blocks: batch.events.iter().map(stored).sum(),
            ..Applied::default()
        }
    }
    fn clear(&self) {
        let mut heard = self.heard.borrow_mut();
        heard.sequences.clear();
        heard.clears += 1;
    }
    fn lost(&self, state: &State) {
        assert!(!state.is_exact());
    }
    fn sequence(&self) -> Option<u64> {
        self.heard.borrow().sequences.last().copied()
    }
    fn block_size_tokens(&self) -> Option<u32> {
        self.block_size_tokens
    }
    fn num_blocks(&self) -> Option<u64> {
        self.num_blocks
    }
}

fn recorder() -> Recorder {
    Recorder {
        heard: RefCell::default(),
        block_size_tokens: Some(2),
        num_blocks: Some(3),
    }
}

/// A message that stores one block of two tokens; or of another size, or nothing that can be read.
fn message(sequence: u64, kind: &str) -> Message {
    let payload = match kind {
        "garbage" => b"\xc1".to_vec(),
        "clear" => b"\x92\x00\x91\x91\xb0AllBlocksCleared".to_vec(),
        _ => {
            let ids: &[u8] = if kind == "wide" {
                b"\x94\x01\x02\x03\x04\x04"
            } else {
                b"\x92\x01\x02\x02"
            };
            let mut payload = b"\x93\x00\x91\x95\xabBlockStored\x91\x07\xc0".to_vec();
            payload.extend_from_slice(ids);
            payload.push(if kind == "rank" { 5 } else { 0 });
            payload
        }
    };
    vec![Vec::new(), sequence.to_be_bytes().to_vec(), payload]
}

/// `heard` is what the index holds in the end, by batch number.
async fn check(messages: &[(u64, &str)], why: Why, heard: &[u64]) -> String {
    let recorder = recorder();
    let mut follower = Follower::new(&recorder, Some(0));
    follower.connected(None).await;
    for (sequence, kind) in messages {
        follower.message(&message(*sequence, kind), None).await;
    }
    let state = follower.state();
    assert_eq!(state.why, why, "{}", state.reason);
    assert_eq!(recorder.heard.borrow().sequences, heard);
    state.reason
}

#[tokio::test]
async fn without_a_replay() {
    check(&[], Why::Waiting, &[]).await;
    check(&[(0, ""), (1, "")], Why::Follows, &[0, 1]).await;
    let reason = check(&[(0, ""), (3, "")], Why::Gap, &[3]).await;
    assert!(reason.starts_with("batches 1 to 2 were lost"), "{reason}");
    assert!(reason.ends_with("(1 of 3 blocks)"), "{reason}");
    check(&[(7, ""), (8, "")], Why::LateStart, &[7, 8]).await;
    // Three blocks stored since: as many as there is room for.
    check(&[(7, ""), (8, ""), (9, "")], Why::Follows, &[7, 8, 9]).await;
    // Another process.
    check(&[(0, ""), (1, ""), (0, "")], Why::Follows, &[0]).await;
    check(&[(0, ""), (5, ""), (2, "")], Why::LateStart, &[2]).await;
    check(&[(0, ""), (5, ""), (6, "clear")], Why::Follows, &[5, 6]).await;
    let reason = check(&[(0, ""), (1, "garbage")], Why::Garbage, &[]).await;
    assert!(reason.contains("batch 1 cannot be read"), "{reason}");
    check(&[(0, ""), (1, "garbage"), (2, "")], Why::Garbage, &[2]).await;
    let reason = check(&[(0, ""), (1, "wide")], Why::BlockSize, &[0, 1]).await;
    assert!(reason.contains("blocks of 4 tokens"), "{reason}");
    check(&[(0, ""), (1, "wide"), (2, "")], Why::Follows, &[0, 1, 2]).await;
    check(&[(0, "rank")], Why::Rank, &[]).await;
}

#[tokio::test]
async fn an_interruption_and_a_message_that_is_none() {
    let recorder = recorder();
    let mut follower = Follower::new(&recorder, None);
    follower.connected(None).await;
    follower.message(&message(0, ""), None).await;
    follower.connected(None).await;
    assert_eq!(follower.state().why, Why::Disconnected);
    assert_eq!(recorder.heard.borrow().sequences, [0_u64; 0]);
    follower.message(&message(0, ""), None).await;
    assert!(follower.state().is_exact());
    follower.message(&vec![b"alone".to_vec()], None).await;
    assert_eq!(follower.state().why, Why::Garbage);
}

#[tokio::test]
async fn dropped_by_somebody_else() {
    let recorder = recorder();
    let mut follower = Follower::new(&recorder, None);
    follower.connected(None).await;
    follower.message(&message(0, ""), None).await;
    (&&recorder).clear();
    follower.message(&message(1, ""), None).await;
    assert_eq!(follower.state().why, Why::LateStart);
}
