//! Which endpoint is a session bound to?

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;
use kv_index::Slot;
use parking_lot::Mutex;

/// Most sessions remembered; beyond it the longest unused are forgotten.
const MAX_SESSIONS: usize = 65_536;

/// Bound map from session id to slot, with expiry.
pub(super) struct Sessions {
    ttl: Duration,
    sweep: Duration,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    bound: HashMap<Box<str>, Binding>,
    /// Every use in order of time; an entry whose time is not the binding's last use is out of date.
    uses: VecDeque<(Duration, Box<str>)>,
    swept: Duration,
}

struct Binding {
    slot: Slot,
    used: Duration,
}

impl Sessions {
    pub(super) fn new(ttl: Duration, sweep: Duration) -> Self {
        Self {
            ttl,
            sweep,
            table: Mutex::new(Table::default()),
        }
    }

    /// The slot `id` was last sent to; `None` when unknown or expired.
    pub(super) fn get(&self, id: &str, now: Duration) -> Option<Slot> {
        let table = self.table.lock();
        let binding = table.bound.get(id)?;
        (now.saturating_sub(binding.used) <= self.ttl).then_some(binding.slot)
    }

    /// Binds `id` to `slot` from `now` on.
    pub(super) fn bind(&self, id: &str, slot: Slot, now: Duration) {
        let mut table = self.table.lock();
        table.bound.insert(id.into(), Binding { slot, used: now });
        table.uses.push_back((now, id.into()));
        if now.saturating_sub(table.swept) >= self.sweep {
            table.swept = now;
            table.drop_until(|used| now.saturating_sub(used) > self.ttl);
        }
        while table.bound.len() > MAX_SESSIONS || table.uses.len() > 2 * MAX_SESSIONS {
            table.drop_oldest();
        }
    }
}

impl Table {
    fn drop_until(&mut self, expired: impl Fn(Duration) -> bool) {
        while self.uses.front().is_some_and(|(used, _)| expired(*used)) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((used, id)) = self.uses.pop_front() else {
            return;
        };
        if self
            .bound
            .get(&id)
            .is_some_and(|binding| binding.used == used)
        {
            self.bound.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_binding_lasts_as_long_as_it_is_used() {
        let sessions = Sessions::new(at(300), at(10));
        let (a, b) = (Slot::new(0, 0), Slot::new(1, 0));
        assert_eq!(sessions.get("s", at(0)), None);
        sessions.bind("s", a, at(0));
        assert_eq!(sessions.get("s", at(300)), Some(a));
        assert_eq!(sessions.get("s", at(301)), None);
        sessions.bind("s", b, at(200));
        assert_eq!(sessions.get("s", at(500)), Some(b));
        sessions.bind("other", a, at(501));
        assert_eq!(sessions.table.lock().bound.len(), 1, "swept");
    }

    #[test]
    fn memory_is_bounded() {
        let sessions = Sessions::new(at(1_000_000), at(10));
        for i in 0..(MAX_SESSIONS + 10) as u64 {
            sessions.bind(&format!("s{i}"), Slot::new(0, 0), Duration::from_millis(i));
        }
        assert_eq!(sessions.table.lock().bound.len(), MAX_SESSIONS);
        assert_eq!(sessions.get("s0", at(1)), None);
        for i in 0..(2 * MAX_SESSIONS) as u64 {
            sessions.bind("one", Slot::new(0, 0), Duration::from_millis(100_000 + i));
        }
        assert!(sessions.table.lock().uses.len() <= 2 * MAX_SESSIONS);
        assert_eq!(sessions.get("one", at(300)), Some(Slot::new(0, 0)));
    }
}
