//! May this request enter?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts what is inside and lets no more in than `limit`.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    inside: Arc<AtomicUsize>,
    limit: usize,
}

/// The right to be inside; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    inside: Arc<AtomicUsize>,
}

impl Gate {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            inside: Arc::default(),
            limit,
        }
    }

    /// A permit, or `None` when full.
    pub(crate) fn admit(&self) -> Option<Permit> {
        let permit = Permit {
            inside: Arc::clone(&self.inside),
        };
        // Counted first and looked at after, so that two at the last place cannot both see it free; a refused
        // one takes itself off again by being dropped.
        (self.inside.fetch_add(1, Relaxed) < self.limit).then_some(permit)
    }

    /// Whether a permit would be refused now; says nothing about a moment later.
    pub(crate) fn is_full(&self) -> bool {
        self.inside() >= self.limit
    }

    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.inside.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_enter() {
        let gate = Gate::new(2);
        let first = gate.admit().unwrap();
        let _second = gate.admit().unwrap();
        assert!(gate.is_full());
        assert!(gate.admit().is_none());
        assert_eq!(gate.inside(), 2);
        drop(first);
        assert!(gate.admit().is_some());
    }
}
