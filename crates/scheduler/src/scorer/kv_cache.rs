//! Where is the KV cache emptiest?

use super::units;
use crate::numbers::unit;
use crate::{Ask, Candidates, Raw, Scorer};

/// `kv-cache-utilization-scorer`: 1 - used share.
pub(crate) struct KvCache;

impl Scorer for KvCache {
    fn score(&self, _ask: &Ask<'_>, candidates: &Candidates, _keep: &[bool], out: &mut [f32]) {
        for (score, usage) in out.iter_mut().zip(&candidates.kv_usage) {
            *score = 1.0 - unit(*usage);
        }
    }

    fn raw(&self, _ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        Raw {
            value: f64::from(candidates.kv_usage[row]),
            unit: units::KV_SHARE,
        }
    }

    fn reads_scrape(&self) -> bool {
        true
    }
}
