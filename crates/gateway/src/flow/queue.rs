//! Who waits, and who is first?
//!
//! The highest priority first; inside it each flow's first in turn, or the first of all; inside a flow by its key.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use scheduler::{Fairness, FlowSettings};

/// What orders a flow: lowest first, the earlier one where equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) at: Duration,
    /// Unique, and in order of arrival.
    pub(super) id: u64,
}

struct Entry<T> {
    bytes: u64,
    fairness: Arc<str>,
    value: T,
}

/// One priority.
struct Band<T> {
    flows: HashMap<Arc<str>, BTreeMap<Key, Entry<T>>>,
    /// Flows that hold something, the next one first.
    turns: VecDeque<Arc<str>>,
    held: Held,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) requests: u64,
    pub(super) bytes: u64,
}

impl Held {
    fn with(self, bytes: u64) -> Self {
        Self {
            requests: self.requests + 1,
            bytes: self.bytes.saturating_add(bytes),
        }
    }

    fn without(&mut self, bytes: u64) {
        self.requests -= 1;
        self.bytes -= bytes;
    }
}

/// Everything that waits.
pub(super) struct Queue<T> {
    bands: BTreeMap<Reverse<i32>, Band<T>>,
    places: HashMap<u64, (i32, Arc<str>, Key)>,
    held: Held,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            bands: BTreeMap::new(),
            places: HashMap::new(),
            held: Held::default(),
        }
    }
}

impl<T> Queue<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.held.requests == 0
    }

    /// Enters `value`, or says that its band or the whole is full.
    pub(super) fn push(
        &mut self,
        settings: &FlowSettings,
        priority: i32,
        fairness: &str,
        key: Key,
        bytes: u64,
        value: T,
    ) -> bool {
        let limits = settings.band(priority);
        let held = self.bands.get(&Reverse(priority));
        let of_band = held.map(|band| band.held).unwrap_or_default().with(bytes);
        let of_all = self.held.with(bytes);
        let too_many = of_band.requests > limits.max_requests
            || of_band.bytes > limits.max_bytes
            || settings
                .max_requests
                .is_some_and(|most| of_all.requests > most)
            || settings.max_bytes.is_some_and(|most| of_all.bytes > most);
        if too_many {
            return false;
        }
        let fairness: Arc<str> = Arc::from(fairness);
        let flow = match limits.fairness {
            Fairness::RoundRobin => Arc::clone(&fairness),
            Fairness::GlobalStrict => Arc::from(""),
        };
        let band = self.bands.entry(Reverse(priority)).or_insert_with(|| Band {
            flows: HashMap::new(),
            turns: VecDeque::new(),
            held: Held::default(),
        });
        band.held = of_band;
        self.held = of_all;
        let queue = band.flows.entry(Arc::clone(&flow)).or_insert_with(|| {
            band.turns.push_back(Arc::clone(&flow));
            BTreeMap::new()
        });
        let entry = Entry {
            bytes,
            fairness,
            value,
        };
        queue.insert(key, entry);
        self.places.insert(key.id, (priority, flow, key));
        true
    }

    /// The first, taken out.
    pub(super) fn pop(&mut self) -> Option<(u64, T)> {
        let mut first = self.bands.first_entry()?;
        let band = first.get_mut();
        let flow = band.turns.pop_front()?;
        let queue = band.flows.get_mut(&flow)?;
        let (key, entry) = queue.pop_first()?;
        match queue.is_empty() {
            true => drop(band.flows.remove(&flow)),
            false => band.turns.push_back(flow),
        }
        band.held.without(entry.bytes);
        if band.held.requests == 0 {
            first.remove();
        }
        self.held.without(entry.bytes);
        self.places.remove(&key.id);
        Some((key.id, entry.value))
    }

    /// Takes one out wherever it stands; nothing where it is not there.
    pub(super) fn remove(&mut self, id: u64) {
        let Some((priority, flow, key)) = self.places.remove(&id) else {
            return;
        };
        let Some(band) = self.bands.get_mut(&Reverse(priority)) else {
            return;
        };
        let Some(queue) = band.flows.get_mut(&flow) else {
            return;
        };
        if let Some(entry) = queue.remove(&key) {
            band.held.without(entry.bytes);
            self.held.without(entry.bytes);
        }
        if queue.is_empty() {
            band.flows.remove(&flow);
            band.turns.retain(|other| *other != flow);
        }
        if band.held.requests == 0 {
            self.bands.remove(&Reverse(priority));
        }
    }

    /// What waits, by priority and whom it counts for.
    pub(super) fn held(&self) -> BTreeMap<(i32, Arc<str>), Held> {
        let mut all: BTreeMap<(i32, Arc<str>), Held> = BTreeMap::new();
        for (Reverse(priority), band) in &self.bands {
            for entry in band.flows.values().flat_map(BTreeMap::values) {
                let key = (*priority, Arc::clone(&entry.fairness));
                let held = all.entry(key).or_default();
                *held = held.with(entry.bytes);
            }
        }
        all
    }
}

#[cfg(test)]
#[path = "queue_test.rs"]
mod tests;
