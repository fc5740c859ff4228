//! How does a subscriber that missed batches get them again?
//!
//! It sends `["", first sequence as 8 big-endian bytes]` to a ROUTER socket and gets one message `["", topic, sequence,
//! payload]` for every batch from there on that is still kept, then `["", "", FF FF FF FF FF FF FF FF, ""]`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use zeromq::{RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use super::endpoint::Bound;
use super::publish::{frames, sequence_frame};
use super::ring::Ring;

/// Sequence of the message after the last.
const END: u64 = u64::MAX;
/// A client that takes nothing for so long is not waited for: others ask too.
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// Answers until `stop`.
pub(super) async fn serve(
    bound: Bound,
    topic: Bytes,
    ring: Arc<Mutex<Ring>>,
    stop: CancellationToken,
) {
    let Bound {
        listener,
        endpoint,
        _file,
    } = bound;
    let mut socket = RouterSocket::new();
    if let Err(error) = socket.bind_listener(listener).await {
        tracing::error!(%endpoint, %error, "KV events cannot be replayed");
        return;
    }
    loop {
        let request = tokio::select! {
            request = socket.recv() => request,
            () = stop.cancelled() => return,
        };
        let Ok(request) = request else { continue };
        tokio::select! {
            () = answer(&mut socket, &request, &topic, &ring) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn answer(
    socket: &mut RouterSocket,
    request: &ZmqMessage,
    topic: &Bytes,
    ring: &Mutex<Ring>,
) {
    let Some((client, first)) = read(request) else {
        tracing::warn!(
            frames = request.len(),
            "a replay request is not an empty frame and a sequence"
        );
        return;
    };
    let kept = ring.lock().since(first);
    let batches = kept.iter().map(|batch| frames(topic, batch));
    let mut end = ZmqMessage::from(Bytes::new());
    end.push_back(sequence_frame(END));
    end.push_back(Bytes::new());
    for mut message in batches.chain([end]) {
        message.push_front(Bytes::new());
        message.push_front(client.clone());
        match tokio::time::timeout(SEND_WITHIN, socket.send(message)).await {
            Ok(Ok(())) => {}
            _ => {
                tracing::debug!("a replay ended early: its client is gone or does not read");
                return;
            }
        }
    }
}

/// Who asks, and from which sequence on.
fn read(request: &ZmqMessage) -> Option<(&Bytes, u64)> {
    let [client, empty, first] = [request.get(0)?, request.get(1)?, request.get(2)?];
    // Any length is a big-endian integer to vLLM; more than eight bytes is more than any sequence.
    if request.len() != 3 || !empty.is_empty() || first.len() > 8 {
        return None;
    }
    let first = first
        .iter()
        .fold(0, |number, &byte| (number << 8) | u64::from(byte));
    Some((client, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_requests_are_answered() {
        let check = |frames: &[&[u8]], expected: Option<u64>| {
            let frames: Vec<Bytes> = frames
                .iter()
                .map(|frame| Bytes::copy_from_slice(frame))
                .collect();
            let message = ZmqMessage::try_from(frames).unwrap();
            assert_eq!(read(&message).map(|(_, first)| first), expected);
        };
        check(&[b"id", b"", &[0, 0, 0, 0, 0, 0, 1, 2]], Some(258));
        check(&[b"id", b"", &[5]], Some(5));
        check(&[b"id", b"", b""], Some(0));
        check(&[b"id", b"", &[0; 9]], None);
        check(&[b"id", b"x", &[0; 8]], None);
        check(&[b"id", &[0; 8]], None);
        check(&[b"id", b"", &[0; 8], b""], None);
    }
}
