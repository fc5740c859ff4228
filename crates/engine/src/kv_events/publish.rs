//! How do batches reach subscribers without anyone waiting for them?
//!
//! A task of its own takes batches off a bounded queue and hands them to a PUB socket, which drops for a subscriber what
//! that one is too slow for. Where the socket connects, the task also keeps looking for the one it connects to.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use zeromq::{PubSocket, Socket, SocketEvent, SocketSend, ZmqMessage};

use super::endpoint::Bound;
use super::ring::Batch;

/// Wait before another try to connect, after one failed in a way that waiting alone does not mend.
const RETRY: Duration = Duration::from_secs(1);

/// Publishes to whoever connects, until the queue's other end is gone.
pub(super) async fn bound(bound: Bound, topic: Bytes, mut queue: mpsc::Receiver<Batch>) {
    let Bound {
        listener,
        endpoint,
        _file,
    } = bound;
    let mut socket = PubSocket::new();
    if let Err(error) = socket.bind_listener(listener).await {
        tracing::error!(%endpoint, %error, "KV events cannot be published");
        return;
    }
    while let Some(batch) = queue.recv().await {
        send(&mut socket, &topic, batch).await;
    }
}

/// Publishes to the one at `endpoint`, whenever it is there.
pub(super) async fn connected(endpoint: String, topic: Bytes, mut queue: mpsc::Receiver<Batch>) {
    loop {
        // A socket anew each time: one that lost its peer keeps nothing worth having.
        let mut socket = PubSocket::new();
        let mut events = socket.monitor();
        let connected = {
            let mut connecting = std::pin::pin!(socket.connect(&endpoint));
            loop {
                tokio::select! {
                    connected = &mut connecting => break connected,
                    // Nobody is there to get it; whoever comes later sees the gap and asks for a replay.
                    batch = queue.recv() => if batch.is_none() { return },
                }
            }
        };
        if let Err(error) = connected {
            tracing::warn!(%endpoint, %error, "KV events have no consumer yet");
            tokio::time::sleep(RETRY).await;
            continue;
        }
        tracing::info!(%endpoint, "KV events have a consumer");
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(SocketEvent::Disconnected(_)) | None => break,
                    Some(_) => {}
                },
                batch = queue.recv() => match batch {
                    Some(batch) => send(&mut socket, &topic, batch).await,
                    None => return,
                },
            }
        }
        tracing::warn!(%endpoint, "KV events lost their consumer");
    }
}

async fn send(socket: &mut PubSocket, topic: &Bytes, batch: Batch) {
    let frames = frames(topic, &batch);
    if let Err(error) = socket.send(frames).await {
        tracing::warn!(sequence = batch.sequence, %error, "a batch of KV events was not published");
    }
}

/// Topic, sequence, payload.
pub(super) fn frames(topic: &Bytes, batch: &Batch) -> ZmqMessage {
    let mut message = ZmqMessage::from(topic.clone());
    message.push_back(sequence_frame(batch.sequence));
    message.push_back(batch.payload.clone());
    message
}

pub(super) fn sequence_frame(sequence: u64) -> Bytes {
    Bytes::copy_from_slice(&sequence.to_be_bytes())
}
