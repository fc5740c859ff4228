//! Which endpoint holds a stored response?
//!
//! `/v1/responses` keeps state at the engine that made it, so what continues, reads or cancels a response must go
//! there. Ids are learned from the responses that pass through.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use kv_index::Slot;
use parking_lot::Mutex;

/// Where a response lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) pool: Arc<str>,
    pub(crate) slot: Slot,
}

/// Response id -> home; bounded. The oldest goes first, but one used since it was last considered stays another
/// round.
#[derive(Debug)]
pub(crate) struct StoredResponses {
    state: Mutex<State>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    homes: HashMap<Arc<str>, Entry>,
    /// Every id of `homes` once, in the order in which they are considered.
    queue: VecDeque<Arc<str>>,
}

#[derive(Debug)]
struct Entry {
    home: Home,
    used: bool,
}

impl StoredResponses {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::default(),
            capacity,
        }
    }

    pub(crate) fn learn(&self, id: &str, home: Home) {
        let mut state = self.state.lock();
        if let Some(entry) = state.homes.get_mut(id) {
            *entry = Entry { home, used: true };
            return;
        }
        let id: Arc<str> = Arc::from(id);
        state.queue.push_back(Arc::clone(&id));
        state.homes.insert(id, Entry { home, used: false });
        while state.homes.len() > self.capacity {
            state.forget_one();
        }
    }

    pub(crate) fn home(&self, id: &str) -> Option<Home> {
        let mut state = self.state.lock();
        let entry = state.homes.get_mut(id)?;
        entry.used = true;
        Some(entry.home.clone())
    }
}

impl State {
    /// Ends: each entry passed over loses its mark.
    fn forget_one(&mut self) {
        while let Some(id) = self.queue.pop_front() {
            match self.homes.get_mut(&id) {
                Some(entry) if entry.used => {
                    entry.used = false;
                    self.queue.push_back(id);
                }
                _ => {
                    self.homes.remove(&id);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_unused_is_forgotten() {
        let home = |index| Home {
            pool: Arc::from("p"),
            slot: Slot::new(index, 1),
        };
        let stored = StoredResponses::new(2);
        stored.learn("a", home(0));
        stored.learn("b", home(1));
        assert_eq!(stored.home("a"), Some(home(0)));
        stored.learn("c", home(2));
        assert_eq!(stored.home("b"), None);
        assert_eq!(stored.home("a"), Some(home(0)));
        assert_eq!(stored.home("c"), Some(home(2)));
        stored.learn("c", home(0));
        assert_eq!(stored.home("c"), Some(home(0)));
    }
}
