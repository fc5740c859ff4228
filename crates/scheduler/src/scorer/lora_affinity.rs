//! Is the model's adapter loaded there already?

use super::units;
use crate::{AdapterFit, Ask, Candidates, Raw, Scorer};

/// `lora-affinity-scorer`: running 1, a free slot 0.8, waiting 0.6, else 0.
pub(crate) struct LoraAffinity;

fn points(fit: AdapterFit) -> f32 {
    match fit {
        AdapterFit::Running => 1.0,
        AdapterFit::FreeSlot => 0.8,
        AdapterFit::Waiting => 0.6,
        AdapterFit::Full => 0.0,
    }
}

impl Scorer for LoraAffinity {
    fn score(&self, _ask: &Ask<'_>, candidates: &Candidates, _keep: &[bool], out: &mut [f32]) {
        // No column, no preference: 0 for all.
        out.fill(0.0);
        for (score, fit) in out.iter_mut().zip(&candidates.adapters) {
            *score = points(*fit);
        }
    }

    fn raw(&self, _ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        let fit = candidates.adapters.get(row);
        Raw {
            value: fit.map_or(0.0, |fit| f64::from(points(*fit))),
            unit: units::ADAPTER,
        }
    }

    fn reads_scrape(&self) -> bool {
        true
    }

    fn reads_adapters(&self) -> bool {
        true
    }
}
