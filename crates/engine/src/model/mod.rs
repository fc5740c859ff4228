//! What does a model server do with a batch of requests, step by step?
//!
//! [`BatchModel`] is the whole answer: a paged block pool with a prefix cache, one token budget per step, running
//! requests first, then the queue in order of arrival, preemption by recompute. What a step costs and which tokens it
//! yields comes from a [`Backend`](crate::backend::Backend).
//!
//! The model never reads a clock and does no I/O. The caller passes `now`, any `Duration` since an origin of its own
//! choosing, and is told by [`BatchModel::next_wake`] when to come back; so the same code runs against the real clock, a
//! paused one, or a virtual one with many engines in one thread. The same calls in the same order give the same events.
//!
//! ```
//! use engine::{backend::{Profile, SimulatedBackend, SimulatedOptions}, model::{BatchConfig, BatchModel, Event, Request}};
//! let profile = Profile::named("h100").expect("built in");
//! let backend = SimulatedBackend::new(profile.clone(), SimulatedOptions::default());
//! let mut engine = BatchModel::new(BatchConfig::for_profile(&profile), Box::new(backend))?;
//! engine.submit(std::time::Duration::ZERO, Request::new((0..100).collect::<Vec<u32>>(), 4))?;
//! let mut events = Vec::new();
//! while let Some(at) = engine.next_wake() {
//!     engine.advance(at, &mut events);
//! }
//! assert!(events.iter().any(|event| matches!(event, Event::Finished { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod block_pool;
mod cbor;
mod config;
mod event;
mod free_queue;
mod hash;
mod metrics;
mod request;
mod resident;
mod scheduler;
mod sequence;
mod step;

pub use batch::{BatchModel, Work};
pub use block_pool::{BlockId, BlockPool};
pub use config::{BatchConfig, ConfigError, DEFAULT_HASH_SEED};
pub use event::{CacheEvent, Event, FinishReason, RequestTimings};
pub use hash::{BlockHash, DEFAULT_HASH_ALGO, ExtraKeys, HashAlgo, HashChain};
pub use metrics::{Counters, Snapshot};
pub use request::{Generation, Lora, Rejected, Request, RequestId, Text};
