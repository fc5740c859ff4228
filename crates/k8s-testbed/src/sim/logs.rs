//! What have containers printed?

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

/// Lines kept of each container.
const KEPT_LINES: usize = 500;

#[derive(Default)]
struct Log {
    now: VecDeque<String>,
    before: VecDeque<String>,
}

/// By namespace and name of the pod: its first container's output, and that of its last life.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<BTreeMap<(String, String), Log>>>);

impl Logs {
    /// A new life begins.
    pub(crate) fn begin(&self, namespace: &str, name: &str) {
        let mut logs = self.0.lock();
        let log = logs
            .entry((namespace.to_owned(), name.to_owned()))
            .or_default();
        log.before = std::mem::take(&mut log.now);
    }

    pub(crate) fn push(&self, namespace: &str, name: &str, line: String) {
        let mut logs = self.0.lock();
        let log = logs
            .entry((namespace.to_owned(), name.to_owned()))
            .or_default();
        if log.now.len() == KEPT_LINES {
            log.now.pop_front();
        }
        log.now.push_back(line);
    }

    /// The last `tail` lines.
    pub(crate) fn of(
        &self,
        namespace: &str,
        name: &str,
        previous: bool,
        tail: usize,
    ) -> Option<String> {
        let logs = self.0.lock();
        let log = logs.get(&(namespace.to_owned(), name.to_owned()))?;
        let lines = if previous { &log.before } else { &log.now };
        let skip = lines.len().saturating_sub(tail);
        Some(
            lines
                .iter()
                .skip(skip)
                .map(|line| format!("{line}\n"))
                .collect(),
        )
    }

    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.0
            .lock()
            .remove(&(namespace.to_owned(), name.to_owned()));
    }
}
