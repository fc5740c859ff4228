//! What does a sequence number say about what we have missed?
//!
//! Engines number their batches from 0, anew in each process. The last batch applied is kept with a digest of its
//! bytes: a replay that gives the same bytes for that number comes from the same process, and what follows can be
//! added; one that does not comes from another, and nothing known before holds.

use xxhash_rust::xxh3::xxh3_64;

/// How far an endpoint's history has been followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Number and digest of the last batch applied; `None` before any.
    last: Option<(u64, u64)>,
    /// Live batches up to here were applied from a replay on this connection already.
    replayed_to: Option<u64>,
    /// Nothing was published before what is heard, as a replay has shown.
    beginning: bool,
}

/// What is to be done with a live batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It follows the last one.
    Next,
    /// The first of all that is heard, and the first that the engine sent.
    Beginning,
    /// It was applied before.
    Again,
    /// Batches from `missing` on were not heard.
    Gap { missing: u64 },
    /// The numbers began anew: another process, nothing known holds. Its batches from 0 on are missing unless this
    /// is the first one.
    Restart { first: bool },
}

impl Known {
    /// Judges a live batch before it is applied.
    pub(super) fn step(&self, sequence: u64) -> Step {
        match self.last {
            None if sequence == 0 => Step::Beginning,
            None => Step::Gap { missing: 0 },
            Some((last, _)) if last.checked_add(1) == Some(sequence) => Step::Next,
            Some((last, _)) if sequence > last => Step::Gap { missing: last + 1 },
            Some(_) if self.replayed_to.is_some_and(|to| sequence <= to) => Step::Again,
            Some(_) => Step::Restart {
                first: sequence == 0,
            },
        }
    }

    /// The batch was applied, or its content given up.
    pub(super) fn passed(&mut self, sequence: u64, payload: &[u8]) {
        self.last = Some((sequence, xxh3_64(payload)));
    }

    /// As [`passed`](Self::passed), from a replay: the same may come live.
    pub(super) fn replayed(&mut self, sequence: u64, payload: &[u8]) {
        self.passed(sequence, payload);
        self.replayed_to = Some(sequence);
    }

    /// A replay from the beginning held nothing.
    pub(super) fn nothing_yet(&mut self) {
        self.beginning = true;
    }

    /// Whether it is known that nothing was published yet.
    pub(super) fn is_beginning(&self) -> bool {
        self.beginning && self.last.is_none()
    }

    /// Another connection: what comes on it was not heard before.
    pub(super) fn connected(&mut self) {
        self.replayed_to = None;
    }

    /// Nothing holds any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Number of the last batch.
    pub(super) fn last(&self) -> Option<u64> {
        self.last.map(|(sequence, _)| sequence)
    }

    /// Whether a replayed batch is the last one applied, so its sender the same process.
    pub(super) fn is_last(&self, sequence: u64, payload: &[u8]) -> bool {
        self.last == Some((sequence, xxh3_64(payload)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_says_something() {
        let mut known = Known::default();
        assert_eq!(known.step(0), Step::Beginning);
        assert_eq!(known.step(7), Step::Gap { missing: 0 });
        known.passed(0, b"a");
        assert_eq!(known.step(1), Step::Next);
        assert_eq!(known.step(3), Step::Gap { missing: 1 });
        assert_eq!(known.step(0), Step::Restart { first: true });
        known.replayed(1, b"b");
        known.replayed(2, b"c");
        assert_eq!(known.step(1), Step::Again);
        assert_eq!(known.step(2), Step::Again);
        assert_eq!(known.step(3), Step::Next);
        known.passed(3, b"d");
        assert_eq!(known.step(3), Step::Restart { first: false });
        known.connected();
        assert_eq!(known.step(1), Step::Restart { first: false });
        assert!(known.is_last(3, b"d"));
        assert!(!known.is_last(3, b"e") && !known.is_last(2, b"c"));
        known.forget();
        assert_eq!(known.step(0), Step::Beginning);
        known.passed(u64::MAX, b"");
        assert_eq!(known.step(5), Step::Restart { first: false });
    }
}
