//! Which batches can still be asked for again?

use std::collections::VecDeque;

use bytes::Bytes;

/// One published batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) sequence: u64,
    pub(super) payload: Bytes,
}

/// The last `capacity` batches.
#[derive(Debug)]
pub(super) struct Ring {
    batches: VecDeque<Batch>,
    capacity: usize,
}

impl Ring {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            batches: VecDeque::new(),
            capacity,
        }
    }

    pub(super) fn push(&mut self, batch: Batch) {
        if self.capacity == 0 {
            return;
        }
        if self.batches.len() == self.capacity {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
    }

    /// Those from `sequence` on. What was dropped since is left out without a word, as vLLM does: the first sequence of
    /// the answer shows it.
    pub(super) fn since(&self, sequence: u64) -> Vec<Batch> {
        let from = self
            .batches
            .partition_point(|batch| batch.sequence < sequence);
        self.batches.range(from..).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        for (capacity, since, expected) in [
            (3, 0, vec![2, 3, 4]),
            (3, 3, vec![3, 4]),
            (3, 9, vec![]),
            (9, 0, vec![0, 1, 2, 3, 4]),
            (0, 0, vec![]),
        ] {
            let mut ring = Ring::new(capacity);
            for sequence in 0..5 {
                let payload = Bytes::new();
                ring.push(Batch { sequence, payload });
            }
            let got: Vec<u64> = ring
                .since(since)
                .iter()
                .map(|batch| batch.sequence)
                .collect();
            assert_eq!(got, expected, "{capacity} since {since}");
        }
    }
}
