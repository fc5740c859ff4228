//! Which service is looked at next?

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Changes within this time are one look.
const DEBOUNCE: Duration = Duration::from_millis(50);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// A conflict says that somebody else was quicker, not that the server wants rest.
const LONGEST_CONFLICT_RETRY: Duration = Duration::from_secs(5);

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// Services to look at, each at most once, and none twice at a time. Holds no more than there are services.
#[derive(Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    due: BTreeMap<Key, Instant>,
    running: BTreeSet<Key>,
    failures: BTreeMap<Key, u32>,
}

impl Queue {
    /// Something about the service changed.
    pub(crate) fn push(&self, key: Key) {
        self.push_after(key, DEBOUNCE);
    }

    fn push_after(&self, key: Key, delay: Duration) {
        let at = Instant::now() + delay;
        let mut inner = self.inner.lock();
        let due = inner.due.entry(key).or_insert(at);
        *due = (*due).min(at);
        drop(inner);
        self.changed.notify_waiters();
    }

    /// Waits for a service that is due and not being looked at.
    pub(crate) async fn next(&self) -> Key {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let wait = match self.take() {
                Ok(key) => return key,
                Err(wait) => wait,
            };
            match wait {
                Some(until) => {
                    let _ = tokio::time::timeout_at(until, changed).await;
                }
                None => changed.await,
            }
        }
    }

    fn take(&self) -> Result<Key, Option<Instant>> {
        let mut inner = self.inner.lock();
        let soonest = inner
            .due
            .iter()
            .filter(|(key, _)| !inner.running.contains(*key))
            .min_by_key(|(_, at)| **at)
            .map(|(key, at)| (key.clone(), *at));
        let Some((key, at)) = soonest else {
            return Err(None);
        };
        if at > Instant::now() {
            return Err(Some(at));
        }
        inner.due.remove(&key);
        inner.running.insert(key.clone());
        Ok(key)
    }

    /// The look ended; the next one is no later than `again` from now.
    pub(crate) fn done(&self, key: &Key, again: Option<Duration>) {
        self.inner.lock().running.remove(key);
        match again {
            Some(again) => self.push_after(key.clone(), again),
            None => self.changed.notify_waiters(),
        }
    }

    pub(crate) fn succeeded(&self, key: &Key) {
        self.inner.lock().failures.remove(key);
    }

    /// How long to wait after one more failure: doubled each time, up to a minute, or to seconds after a conflict.
    pub(crate) fn failed(&self, key: &Key, conflict: bool) -> Duration {
        let mut inner = self.inner.lock();
        let failures = inner.failures.entry(key.clone()).or_default();
        *failures = failures.saturating_add(1);
        let doubled = FIRST_RETRY.saturating_mul(1 << (*failures - 1).min(10));
        let longest = if conflict {
            LONGEST_CONFLICT_RETRY
        } else {
            LONGEST_RETRY
        };
        super::jittered(doubled.min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_service_is_looked_at_once_for_many_changes_and_never_twice_at_a_time() {
        let queue = Queue::default();
        let (a, b) = (Key::new("n", "a"), Key::new("n", "b"));
        queue.push(a.clone());
        queue.push(a.clone());
        queue.push(b.clone());
        assert_eq!(queue.next().await, a);
        queue.push(a.clone());
        assert_eq!(queue.next().await, b);
        // `a` changed while it is looked at: its turn comes when that ends.
        assert!(
            tokio::time::timeout(Duration::from_secs(5), queue.next())
                .await
                .is_err()
        );
        queue.done(&a, None);
        assert_eq!(queue.next().await, a);
        queue.done(&a, Some(Duration::from_secs(60)));
        let before = Instant::now();
        assert_eq!(queue.next().await, a);
        assert!(before.elapsed() >= Duration::from_secs(59));
    }

    #[tokio::test(start_paused = true)]
    async fn retries_slow_down() {
        let queue = Queue::default();
        let key = Key::new("n", "a");
        let first = queue.failed(&key, false);
        assert!(queue.failed(&key, false) > first);
        for _ in 0..40 {
            assert!(queue.failed(&key, false) <= LONGEST_RETRY.mul_f64(1.11));
        }
        assert!(queue.failed(&key, true) <= LONGEST_CONFLICT_RETRY.mul_f64(1.11));
        queue.succeeded(&key);
        assert!(queue.failed(&key, false) < Duration::from_secs(1));
    }
}
