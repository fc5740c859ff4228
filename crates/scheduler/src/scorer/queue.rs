//! Where is the queue shortest?

use super::{lowest_is_best, units};
use crate::{Ask, Candidates, Raw, Scorer};

/// `queue-scorer`: (max - q) / (max - min) over the candidates; all equal gives 1.
pub(crate) struct Queue;

impl Scorer for Queue {
    fn score(&self, _ask: &Ask<'_>, candidates: &Candidates, keep: &[bool], out: &mut [f32]) {
        lowest_is_best(&candidates.queue_requests, keep, out);
    }

    fn raw(&self, _ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        Raw {
            value: f64::from(candidates.queue_requests[row]),
            unit: units::WAITING,
        }
    }

    fn reads_scrape(&self) -> bool {
        true
    }
}
