//! How does the outside learn what this engine's prefix cache holds?
//!
//! After every step that changed the cache, one batch of events goes out over ZeroMQ: topic, sequence from 0 on, payload.
//! The engine's loop only encodes, counts and puts into bounded places; sockets belong to tasks of their own, so no
//! subscriber, slow or gone, holds up a step. What was dropped on the way shows as a gap in the sequence, and can be
//! asked for again while it is kept.

mod config;
mod endpoint;
mod msgpack;
mod payload;
mod publish;
#[cfg(test)]
mod recorded;
mod replay;
mod ring;

use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use config::{
    DEFAULT_BUFFER_STEPS, DEFAULT_ENDPOINT, DEFAULT_HWM, DEFAULT_MAX_QUEUE_SIZE, KvEventsConfig,
    Publisher,
};
pub(crate) use payload::Form;
pub use payload::{Encoding, HashForm};

use crate::model::CacheEvent;
use ring::{Batch, Ring};

/// Where batches go in. Dropping it ends the sockets' tasks.
#[derive(Debug)]
pub(crate) struct KvEvents {
    form: Form,
    queue: mpsc::Sender<Batch>,
    ring: Arc<Mutex<Ring>>,
    next_sequence: u64,
    /// Ends the replay task.
    _stop: DropGuard,
}

impl KvEvents {
    /// Takes the addresses and starts the tasks; must be called inside a tokio runtime. Returns the publisher and what
    /// `/kv_event_sources` says of it. `own` is the address of the HTTP side.
    ///
    /// # Errors
    /// An endpoint that is none or cannot be listened on.
    pub(crate) fn start(
        config: &KvEventsConfig,
        form: Form,
        own: &str,
    ) -> anyhow::Result<(Self, Value)> {
        let topic = Bytes::copy_from_slice(config.topic.as_bytes());
        let (queue, batches) = mpsc::channel(config.max_queue_size.max(1));
        let ring = Arc::new(Mutex::new(Ring::new(config.buffer_steps)));
        let stop = CancellationToken::new();
        let replay = match &config.replay_endpoint {
            Some(endpoint) => Some(listen(endpoint, form.rank, own).context("replay_endpoint")?),
            None => None,
        };
        let mut endpoint = endpoint::of_rank(&config.endpoint, form.rank).context("endpoint")?;
        if endpoint::binds(&endpoint) {
            let bound = endpoint::bind(&endpoint, own).context("endpoint")?;
            endpoint.clone_from(&bound.endpoint);
            tokio::spawn(publish::bound(bound, topic.clone(), batches));
        } else {
            tokio::spawn(publish::connected(endpoint.clone(), topic.clone(), batches));
        }
        let source = json!({
            "enable_kv_cache_events": true,
            "publisher": "zmq",
            "endpoint": endpoint,
            "replay_endpoint": replay.as_ref().map(|bound| &bound.endpoint),
            "buffer_steps": config.buffer_steps,
            "hwm": config.hwm,
            "max_queue_size": config.max_queue_size,
            "topic": config.topic,
        });
        if let Some(bound) = replay {
            tokio::spawn(replay::serve(bound, topic, Arc::clone(&ring), stop.clone()));
        }
        let events = Self {
            form,
            queue,
            ring,
            next_sequence: 0,
            _stop: stop.drop_guard(),
        };
        Ok((events, source))
    }

    /// Publishes what one step changed. Never waits: with a full queue the batch is kept for replay only.
    pub(crate) fn publish(&mut self, unix_s: f64, events: &[CacheEvent]) {
        let batch = Batch {
            sequence: self.next_sequence,
            payload: payload::encode(&self.form, unix_s, events).into(),
        };
        self.next_sequence += 1;
        self.ring.lock().push(batch.clone());
        if self.queue.try_send(batch).is_err() {
            tracing::warn!(
                sequence = self.next_sequence - 1,
                "a batch of KV events was dropped: the queue is full"
            );
        }
    }
}

fn listen(endpoint: &str, rank: u32, own: &str) -> anyhow::Result<endpoint::Bound> {
    endpoint::bind(&endpoint::of_rank(endpoint, rank)?, own)
}
