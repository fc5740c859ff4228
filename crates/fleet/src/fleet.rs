//! Where does the state live?

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use kv_index::exact::{ExactConfig, ExactIndex, ExactWriter, exact_index};
use kv_index::{ApproximateIndex, BLOCK_BYTES, HashSeed, IndexConfig, Slot};
use parking_lot::Mutex;
use scheduler::Profile;

use crate::forecast::PoolRates;
use crate::learn::{DEFAULT_BYTES_PER_TOKEN, Ratios};
use crate::member::Members;
use crate::slot_state::AtomicF64;
use crate::{FleetConfig, ScrapeMark, View};

/// Index writes that may wait; beyond it they are dropped and counted, never waited for.
const INDEX_QUEUE_OPS: usize = 16_384;

/// One pool's state machine; shared by all threads.
///
/// Readers (picks) take the published view and the live counters; one lock guards what only observations write.
pub struct Fleet {
    pub(crate) config: FleetConfig,
    pub(crate) profile: ArcSwap<Profile>,
    pub(crate) view: ArcSwap<View>,
    pub(crate) members: Mutex<Members>,
    pub(crate) index: ApproximateIndex,
    pub(crate) exact: ExactIndex,
    pub(crate) exact_writer: Mutex<ExactWriter>,
    pub(crate) ratios: Ratios,
    pub(crate) pool_rates: PoolRates,
    /// Output tokens of an answer, learned; 0 for not yet.
    pub(crate) output_tokens: AtomicF64,
    /// Picks ever, over all endpoints.
    pub(crate) sequence: AtomicU64,
    relief: OnceLock<Relief>,
}

/// Told that load or membership may have changed for the better.
type Relief = Box<dyn Fn() + Send + Sync>;

impl Fleet {
    pub fn new(config: FleetConfig, profile: Profile) -> Self {
        let prefix = &config.wiring.prefix;
        let capacity_tokens =
            u64::from(prefix.capacity_blocks) * u64::from(prefix.block_size_tokens);
        let capacity_bytes = capacity_tokens as f64 * DEFAULT_BYTES_PER_TOKEN;
        let index = ApproximateIndex::new(IndexConfig {
            max_bytes: config.index_max_bytes / 2,
            default_capacity_blocks: ((capacity_bytes / BLOCK_BYTES as f64) as u32).max(1),
            queue_ops: INDEX_QUEUE_OPS,
        });
        let (exact, exact_writer) = exact_index(ExactConfig {
            max_bytes: config.index_max_bytes / 2,
            seed: config.seed,
            ..ExactConfig::default()
        });
        Self {
            config,
            profile: ArcSwap::from_pointee(profile),
            view: ArcSwap::from_pointee(View::default()),
            members: Mutex::default(),
            index,
            exact,
            exact_writer: Mutex::new(exact_writer),
            ratios: Ratios::default(),
            pool_rates: PoolRates::default(),
            output_tokens: AtomicF64::default(),
            sequence: AtomicU64::new(0),
            relief: OnceLock::new(),
        }
    }

    /// Has `told` called after every end of an attempt, every scrape and every change of membership or health, for whoever
    /// waits for room. Once only; it must not call back into what changes the fleet.
    pub fn on_relief(&self, told: Box<dyn Fn() + Send + Sync>) {
        // A second one waits for nothing that the first is not told of.
        let _ = self.relief.set(told);
    }

    pub(crate) fn relieved(&self) {
        if let Some(told) = self.relief.get() {
            told();
        }
    }

    /// Pool name.
    pub fn pool(&self) -> &str {
        &self.config.pool
    }

    /// Key for [`kv_index::ChainHasher`].
    pub fn hash_seed(&self) -> HashSeed {
        self.config.seed
    }

    /// Replaces the scheduling profile (configuration reload).
    pub fn set_profile(&self, profile: Profile) {
        self.profile.store(Arc::new(profile));
    }

    /// The profile in force.
    pub fn profile(&self) -> Arc<Profile> {
        self.profile.load_full()
    }

    /// Lower-case request headers that the profile's plugins read.
    pub fn headers(&self) -> Vec<String> {
        self.profile.load().headers().to_vec()
    }

    /// The published membership and health.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Call before a scrape is sent; give the mark back with its [`crate::Event::Scrape`].
    pub fn scrape_begin(&self, slot: Slot) -> ScrapeMark {
        self.view
            .load()
            .get(slot)
            .map_or_else(ScrapeMark::default, |endpoint| endpoint.state.mark())
    }

    /// Lets ejected endpoints whose time is up be picked again; call every 100 ms or so.
    pub fn tick(&self, now: Duration) {
        self.exact.expire(now);
        let due = self.members.lock().end_ejections(now);
        if due {
            self.publish(now);
        }
    }

    /// What to call when there is something to write again after [`Fleet::arm_index`]; it is called on the thread of a
    /// request, for instance, and must not wait.
    pub fn on_index_work(&self, ring: impl Fn() + Send + Sync + 'static) {
        self.index.on_work(ring);
    }

    /// Asks to be called, once, when there is something to write; false if there is already.
    pub fn arm_index(&self) -> bool {
        self.index.arm()
    }

    /// Applies pending index writes, at most `limit`; returns how many. A write costs up to milliseconds for a
    /// prompt of 100k tokens: call from a thread of its own, every few milliseconds, never from a request.
    pub fn write_index(&self, limit: usize) -> usize {
        let swept = self.exact_writer.lock().sweep(limit);
        swept + self.index.apply_pending(limit)
    }
}
