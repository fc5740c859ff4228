//! How do queued operations become what the index holds?
//!
//! One caller at a time works through them. Housekeeping goes first: slots whose capacity shrank, then lanes
//! that were cleared, a record at a time.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;
use parking_lot::{Mutex, RwLock};

use crate::bell::Bell;
use crate::holders::LaneIndex;
use crate::lane_log::{LaneLog, LaneView};
use crate::lanes::{LaneId, Lanes};
use crate::marks::marks_within;
use crate::recent::{Recent, Ticket};
use crate::store::Store;
use crate::{BlockHash, Chain, IndexConfig};

/// Something for the writer to do.
pub(crate) enum Op {
    /// A placement was confirmed.
    Hold {
        lane: LaneId,
        chain: Chain,
        ticket: Ticket,
    },
    /// The mark number `depth` of some chain is gone, and all below it.
    Cut {
        lane: LaneId,
        first_gone: BlockHash,
        depth: usize,
    },
}

impl Op {
    /// Bytes it keeps alive while queued.
    fn bytes(&self) -> usize {
        match self {
            Self::Hold { chain, .. } => chain.marks.len() * size_of::<BlockHash>(),
            Self::Cut { .. } => 0,
        }
    }
}

/// Everything but the entry points.
pub(crate) struct Shared {
    pub(crate) config: IndexConfig,
    pub(crate) lanes: RwLock<Lanes>,
    pub(crate) recent: Recent,
    pub(crate) store: Store,
    pub(crate) queue: ArrayQueue<Op>,
    pub(crate) queued_bytes: AtomicUsize,
    pub(crate) log_bytes: AtomicUsize,
    pub(crate) evicted_blocks: AtomicU64,
    /// A capacity changed or a lane was cleared.
    chores: AtomicBool,
    pub(crate) bell: Bell,
    writer: Mutex<Writer>,
}

/// What only the one who applies operations may touch.
#[derive(Default)]
struct Writer {
    logs: Vec<LaneLog>,
    stamp: u64,
}

impl Shared {
    pub(crate) fn new(config: IndexConfig) -> Self {
        Self {
            lanes: RwLock::default(),
            recent: Recent::new(config.max_bytes / 8),
            store: Store::new(),
            queue: ArrayQueue::new(config.queue_ops.max(1)),
            queued_bytes: AtomicUsize::new(0),
            log_bytes: AtomicUsize::new(0),
            evicted_blocks: AtomicU64::new(0),
            chores: AtomicBool::new(false),
            bell: Bell::default(),
            writer: Mutex::default(),
            config,
        }
    }

    /// Queues `op`; gives it back if there is no room for it.
    pub(crate) fn push(&self, op: Op) -> Result<(), Op> {
        let bytes = op.bytes();
        if self.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > self.config.max_bytes / 8
            && bytes > 0
        {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(op);
        }
        match self.queue.push(op) {
            Ok(()) => {
                self.bell.ring();
                Ok(())
            }
            Err(op) => {
                self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
                Err(op)
            }
        }
    }

    /// A capacity changed, or a lane was cleared: there is something to tidy up.
    pub(crate) fn set_chores(&self) {
        self.chores.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Whether nothing waits for the writer.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.chores.load(Ordering::Acquire)
    }

    /// Does up to `limit` steps; returns how many there were. 0 at once if another caller is at it.
    pub(crate) fn apply_pending(&self, limit: usize) -> usize {
        let Some(mut writer) = self.writer.try_lock() else {
            return 0;
        };
        let mut done = self.do_chores(&mut writer, limit);
        while done < limit {
            let Some(op) = self.queue.pop() else { break };
            self.queued_bytes.fetch_sub(op.bytes(), Ordering::Relaxed);
            self.apply(&mut writer, op);
            done += 1;
        }
        done
    }

    fn apply(&self, writer: &mut Writer, op: Op) {
        match op {
            Op::Hold {
                lane,
                chain,
                ticket,
            } => {
                if let Some(capacity) = self.capacity_of(lane) {
                    self.hold(writer, lane.index, &chain, capacity);
                }
                // It leaves only now, so that a lookup that finds it no more finds the blocks.
                self.recent.remove(ticket, &chain);
            }
            Op::Cut {
                lane,
                first_gone,
                depth,
            } => {
                if self.capacity_of(lane).is_some() {
                    self.with_lane(writer, lane.index, |view| view.cut(first_gone, depth));
                }
            }
        }
    }

    fn hold(&self, writer: &mut Writer, lane: LaneIndex, chain: &Chain, capacity_blocks: u32) {
        let len = marks_within(capacity_blocks as usize).min(chain.marks.len());
        if len == 0 {
            return;
        }
        writer.stamp += 1;
        let stamp = writer.stamp;
        let evicted = self.with_lane(writer, lane, |view| {
            view.hold(&chain.marks, len, stamp);
            view.evict_to(capacity_blocks)
        });
        self.evicted_blocks
            .fetch_add(u64::from(evicted), Ordering::Relaxed);
        self.enforce_memory(writer);
    }

    /// Evicts the least recently used, whosever it is, until blocks and records fit their share of the cap.
    fn enforce_memory(&self, writer: &mut Writer) {
        // The rest is for placements in flight and queued operations.
        let bytes_at_most = self.config.max_bytes / 4 * 3;
        let over = || self.store.bytes() + self.log_bytes.load(Ordering::Relaxed) > bytes_at_most;
        while over() {
            let by_age = writer
                .logs
                .iter()
                .enumerate()
                .filter_map(|(lane, log)| Some((log.oldest()?, lane)));
            let Some((_, lane)) = by_age.min() else {
                return;
            };
            let evicted = self.with_lane(writer, lane as LaneIndex, |view| {
                let before = view.log.held();
                view.evict_oldest(|_| over());
                before - view.log.held()
            });
            self.evicted_blocks
                .fetch_add(u64::from(evicted), Ordering::Relaxed);
        }
    }

    fn do_chores(&self, writer: &mut Writer, limit: usize) -> usize {
        if limit == 0 || !self.chores.swap(false, Ordering::AcqRel) {
            return 0;
        }
        self.enforce_capacities(writer);
        let mut done = 0;
        while let Some(lane) = { self.lanes.read().next_retired() } {
            if done == limit {
                self.chores.store(true, Ordering::Release);
                break;
            }
            done += 1;
            if !self.with_lane(writer, lane, |view| view.evict_oldest(|_| true)) {
                self.recent.remove_lane(lane);
                self.lanes.write().release(lane);
            }
        }
        done
    }

    fn enforce_capacities(&self, writer: &mut Writer) {
        for lane in 0..writer.logs.len() {
            let capacity = self
                .lanes
                .read()
                .lanes
                .get(lane)
                .map(|lane| lane.capacity_blocks);
            if capacity.is_some_and(|capacity| writer.logs[lane].held() > capacity) {
                let evicted = self.with_lane(writer, lane as LaneIndex, |view| {
                    view.evict_to(capacity.unwrap_or(u32::MAX))
                });
                self.evicted_blocks
                    .fetch_add(u64::from(evicted), Ordering::Relaxed);
            }
        }
    }

    /// What the slot of `lane` may hold; `None` once it was cleared.
    fn capacity_of(&self, lane: LaneId) -> Option<u32> {
        let lanes = self.lanes.read();
        lanes
            .is_live(lane)
            .then(|| lanes.lanes[usize::from(lane.index)].capacity_blocks)
    }

    /// Works on one lane's log, and publishes what came of it.
    fn with_lane<T>(
        &self,
        writer: &mut Writer,
        lane: LaneIndex,
        work: impl FnOnce(&mut LaneView<'_>) -> T,
    ) -> T {
        let at = usize::from(lane);
        if writer.logs.len() <= at {
            writer.logs.resize_with(at + 1, LaneLog::default);
        }
        let log = &mut writer.logs[at];
        let before = log.bytes();
        let result = work(&mut LaneView {
            store: &self.store,
            lane,
            log,
        });
        // Wraps below zero for a moment of arithmetic only; the sum is exact.
        self.log_bytes
            .fetch_add(log.bytes().wrapping_sub(before), Ordering::Relaxed);
        self.lanes.read().lanes[at]
            .held_blocks
            .store(log.held(), Ordering::Relaxed);
        result
    }
}
