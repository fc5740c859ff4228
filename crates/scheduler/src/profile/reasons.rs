//! What is said of each candidate of a decision?

use std::sync::Arc;

use super::{Profile, Scratch};
use crate::{Ask, CandidateReason, Candidates, ScoreReason};

impl Profile {
    pub(super) fn reasons(
        &self,
        scratch: &Scratch,
        ask: &Ask<'_>,
        candidates: &Candidates,
        winner: usize,
    ) -> Vec<CandidateReason> {
        if ask.explain {
            (0..candidates.len())
                .map(|row| self.reason(scratch, ask, candidates, row))
                .collect()
        } else {
            vec![self.reason(scratch, ask, candidates, winner)]
        }
    }

    fn reason(
        &self,
        scratch: &Scratch,
        ask: &Ask<'_>,
        candidates: &Candidates,
        row: usize,
    ) -> CandidateReason {
        let info = candidates.info(row);
        let removed = scratch.removed.get(row).copied().flatten().map(|index| {
            let filter = &self.filters[index];
            let words = filter
                .plugin
                .reason(ask, candidates, &scratch.before[index], row);
            (Arc::clone(&filter.name), words)
        });
        let mut scores = Vec::new();
        if removed.is_none() {
            scores.reserve_exact(self.scorers.len());
            for (weighted, column) in self
                .scorers
                .iter()
                .zip(scratch.scores.chunks_exact(candidates.len()))
            {
                let raw = weighted.scorer.plugin.raw(ask, candidates, row);
                scores.push(ScoreReason {
                    scorer: Arc::clone(&weighted.scorer.name),
                    raw: raw.value,
                    unit: raw.unit,
                    score: column[row],
                    weight: weighted.weight,
                });
            }
        }
        let total = if removed.is_none() {
            scratch.totals[row]
        } else {
            0.0
        };
        CandidateReason {
            slot: info.slot,
            name: Arc::clone(&info.name),
            total,
            scores,
            removed,
        }
    }
}
