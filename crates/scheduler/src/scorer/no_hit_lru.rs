//! Who was longest without a cold prompt?
//!
//! A prompt nobody holds warms up whoever takes it; handing cold prompts out in turn spreads the warm ones.

use std::cell::RefCell;

use hashbrown::HashMap;
use kv_index::Slot;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units;
use crate::config::{APPROX_PREFIX_PRODUCER, ParamError, params};
use crate::{Ask, Candidates, Raw, Scorer};

/// Parameters of `no-hit-lru-scorer`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Endpoints remembered; the longest unused is forgotten first.
    pub(crate) lru_size: u32,
    /// Name of the producer of matches: an `approx-prefix-cache-producer`.
    pub(crate) prefix_match_info_producer_name: String,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            lru_size: 1024,
            prefix_match_info_producer_name: APPROX_PREFIX_PRODUCER.to_owned(),
        }
    }
}

impl params::Params for Params {
    fn references(&self) -> Vec<params::Reference> {
        vec![params::Reference {
            parameter: "prefixMatchInfoProducerName",
            name: self.prefix_match_info_producer_name.clone(),
            to: params::Target::Plugin(APPROX_PREFIX_PRODUCER),
        }]
    }
}

/// `no-hit-lru-scorer`: 0.5 for all when anyone holds a block; else 1 - (candidates used earlier) / (n - 1).
pub(crate) struct NoHitLru {
    capacity: usize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Sequence number of the last cold request each slot took; numbers start at 1.
    last: HashMap<Slot, u64>,
    next: u64,
}

thread_local! {
    static RANKS: RefCell<Vec<(u64, u32)>> = const { RefCell::new(Vec::new()) };
}

impl NoHitLru {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        if params.lru_size == 0 {
            return Err(ParamError::new("lruSize", "must be 1 or more"));
        }
        Ok(Self {
            capacity: params.lru_size as usize,
            seen: Mutex::new(Seen::default()),
        })
    }

    fn rank(&self, candidates: &Candidates, keep: &[bool], ranks: &mut Vec<(u64, u32)>) {
        let seen = self.seen.lock();
        ranks.clear();
        for (row, _) in keep.iter().enumerate().filter(|(_, kept)| **kept) {
            let last = seen
                .last
                .get(&candidates.info(row).slot)
                .copied()
                .unwrap_or(0);
            ranks.push((last, row as u32));
        }
        drop(seen);
        ranks.sort_unstable();
    }
}

fn anyone_holds(candidates: &Candidates) -> bool {
    candidates.matched_blocks.iter().any(|blocks| *blocks > 0.0)
}

impl Scorer for NoHitLru {
    fn score(&self, _ask: &Ask<'_>, candidates: &Candidates, keep: &[bool], out: &mut [f32]) {
        if anyone_holds(candidates) {
            out.fill(0.5);
            return;
        }
        RANKS.with_borrow_mut(|ranks| {
            self.rank(candidates, keep, ranks);
            let steps = ranks.len().saturating_sub(1).max(1) as f32;
            let (mut earlier, mut previous) = (0, None);
            for (position, (last, row)) in ranks.iter().enumerate() {
                // Equals (all that never took one) share a rank, so that they tie and rotate.
                if previous != Some(*last) {
                    earlier = position;
                    previous = Some(*last);
                }
                out[*row as usize] = 1.0 - earlier as f32 / steps;
            }
        });
    }

    fn raw(&self, _ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        let seen = self.seen.lock();
        let last = seen.last.get(&candidates.info(row).slot);
        // 0 for an endpoint that never took a cold request.
        let ago = last.map_or(0, |last| seen.next - last + 1);
        Raw {
            value: ago as f64,
            unit: units::LAST_COLD,
        }
    }

    fn picked(&self, _ask: &Ask<'_>, candidates: &Candidates, winner: usize) {
        if anyone_holds(candidates) {
            return;
        }
        let mut seen = self.seen.lock();
        seen.next += 1;
        let now = seen.next;
        seen.last.insert(candidates.info(winner).slot, now);
        if seen.last.len() > self.capacity {
            let oldest = seen
                .last
                .iter()
                .min_by_key(|(_, last)| **last)
                .map(|(slot, _)| *slot);
            if let Some(oldest) = oldest {
                seen.last.remove(&oldest);
            }
        }
    }

    fn reads_prefix(&self) -> bool {
        true
    }
}
