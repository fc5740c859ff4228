//! What did each replica do when? A fixed number of buckets that grow wider as the run grows longer.

use std::time::Duration;

/// Buckets kept; when a run outgrows them, pairs are merged.
const BUCKETS: usize = 256;

/// Replicas drawn at most: more cannot be told apart.
const MAX_LANES: usize = 64;

/// First width of a bucket.
const FIRST_WIDTH_S: f64 = 1.0;

/// What one replica did in one bucket.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(crate) struct Cell {
    pub(crate) busy_s: f64,
    pub(crate) tokens: f64,
    /// Requests in the batch times seconds.
    pub(crate) request_s: f64,
}

/// One replica over time.
pub(crate) type Lane = Vec<Cell>;

/// All replicas over time.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    pub(crate) width_s: f64,
    pub(crate) lanes: Vec<Lane>,
}

impl Timeline {
    pub(crate) fn new(replicas: usize) -> Self {
        Self {
            width_s: FIRST_WIDTH_S,
            lanes: vec![Vec::new(); replicas.min(MAX_LANES)],
        }
    }

    /// A step that ended at `at`; it counts in the bucket in which it ended.
    pub(crate) fn step(
        &mut self,
        replica: usize,
        at: Duration,
        busy_s: f64,
        tokens: usize,
        requests: usize,
    ) {
        if replica >= self.lanes.len() {
            return;
        }
        while at.as_secs_f64() >= self.width_s * BUCKETS as f64 {
            self.widen();
        }
        let bucket = (at.as_secs_f64() / self.width_s) as usize;
        let lane = &mut self.lanes[replica];
        if lane.len() <= bucket {
            lane.resize(bucket + 1, Cell::default());
        }
        let cell = &mut lane[bucket];
        cell.busy_s += busy_s;
        cell.tokens += tokens as f64;
        cell.request_s += requests as f64 * busy_s;
    }

    fn widen(&mut self) {
        self.width_s *= 2.0;
        for lane in &mut self.lanes {
            *lane = lane
                .chunks(2)
                .map(|pair| {
                    pair.iter().fold(Cell::default(), |sum, cell| Cell {
                        busy_s: sum.busy_s + cell.busy_s,
                        tokens: sum.tokens + cell.tokens,
                        request_s: sum.request_s + cell.request_s,
                    })
                })
                .collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_its_sums_in_as_many_buckets() {
        let mut timeline = Timeline::new(2);
        for second in 0..5_000 {
            timeline.step(second % 2, Duration::from_secs(second as u64), 0.5, 3, 2);
        }
        let buckets = timeline.lanes.iter().map(Vec::len).max().unwrap();
        assert!(buckets <= BUCKETS, "{buckets}");
        let tokens: f64 = timeline
            .lanes
            .iter()
            .flatten()
            .map(|cell| cell.tokens)
            .sum();
        assert!((tokens - 15_000.0).abs() < 1e-6, "{tokens}");
    }
}
