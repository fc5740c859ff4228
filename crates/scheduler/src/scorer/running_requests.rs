//! Where do the fewest requests run?

use super::{lowest_is_best, units};
use crate::{Ask, Candidates, Raw, Scorer};

/// `running-requests-size-scorer`: (max - r) / (max - min) over the candidates; all equal gives 1.
pub(crate) struct RunningRequests;

impl Scorer for RunningRequests {
    fn score(&self, _ask: &Ask<'_>, candidates: &Candidates, keep: &[bool], out: &mut [f32]) {
        lowest_is_best(&candidates.running_requests, keep, out);
    }

    fn raw(&self, _ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        Raw {
            value: f64::from(candidates.running_requests[row]),
            unit: units::RUNNING,
        }
    }

    fn reads_scrape(&self) -> bool {
        true
    }
}
