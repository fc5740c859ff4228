//! Which bytes of an event stream may be passed on already?
//!
//! Only whole events are: after a break, an error event can then be appended and be understood. Bytes of an
//! unfinished event wait for its end; pieces nearly always end with an event, and then nothing waits.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// Bytes of an unfinished event that wait at most; a longer event is passed on as it comes.
const MAX_HELD_BYTES: usize = 64 << 10;

/// The unfinished event at the end of what has come.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    held: BytesMut,
    /// Bytes of an unfinished event were passed on.
    torn: bool,
}

impl Tail {
    /// What of `held` and `piece` together may go on; empty when nothing may yet.
    pub(crate) fn pass(&mut self, piece: Bytes) -> Bytes {
        if self.held.is_empty() && ends_event(&piece) {
            self.torn = false;
            return piece;
        }
        if self.held.is_empty() {
            let whole = whole_events(&piece);
            self.torn &= whole == 0;
            if piece.len() - whole > MAX_HELD_BYTES {
                self.torn = true;
                return piece;
            }
            self.held.extend_from_slice(&piece[whole..]);
            return piece.slice(..whole);
        }
        self.held.extend_from_slice(&piece);
        let mut whole = whole_events(&self.held);
        self.torn &= whole == 0;
        if self.held.len() - whole > MAX_HELD_BYTES {
            whole = self.held.len();
            self.torn = true;
        }
        self.held.split_to(whole).freeze()
    }

    /// What waited, once the stream has ended well.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// Drops what waited; whether an event was passed on in part and must be closed first.
    pub(crate) fn abandon(&mut self) -> bool {
        self.held.clear();
        self.torn
    }
}

fn ends_event(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\n\n") || bytes.ends_with(b"\r\n\r\n")
}

/// Length of the whole events at the front.
fn whole_events(bytes: &[u8]) -> usize {
    let unix = memmem::rfind(bytes, b"\n\n").map_or(0, |at| at + 2);
    let internet = memmem::rfind(bytes, b"\r\n\r\n").map_or(0, |at| at + 4);
    unix.max(internet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_events_pass() {
        let stream = b"data: 1\n\ndata: 22\r\n\r\ndata: 333\n\ndata: [DO";
        for step in 1..stream.len() {
            let mut tail = Tail::default();
            let mut passed = Vec::new();
            for piece in stream.chunks(step) {
                let out = tail.pass(Bytes::copy_from_slice(piece));
                assert!(out.is_empty() || ends_event(&out), "by {step}");
                passed.extend_from_slice(&out);
            }
            assert_eq!(
                passed, b"data: 1\n\ndata: 22\r\n\r\ndata: 333\n\n",
                "by {step}"
            );
            assert_eq!(tail.rest(), b"data: [DO"[..]);
            assert!(!tail.abandon());
        }
    }

    #[test]
    fn an_overlong_event_passes_torn() {
        let mut tail = Tail::default();
        let long = Bytes::from(vec![b'x'; MAX_HELD_BYTES]);
        assert!(tail.pass(long.clone()).is_empty());
        assert_eq!(tail.pass(long.clone()).len(), 2 * MAX_HELD_BYTES);
        assert!(tail.abandon());
        assert_eq!(tail.pass(Bytes::from("\n\n")).len(), 2);
        assert!(!tail.abandon());
    }
}
