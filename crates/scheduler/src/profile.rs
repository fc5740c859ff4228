//! How do filters, scorers and a picker become one decision?

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use crate::numbers::unit;
use crate::{
    Ask, CandidateReason, Candidates, Decision, EndpointInfo, Filter, NoEndpoint, Picker, Rng,
    ScoreReason, Scorer,
};

/// A plugin under its configured name.
pub(crate) struct Named<P: ?Sized> {
    pub(crate) name: Arc<str>,
    pub(crate) plugin: Box<P>,
}

/// A scorer and what its score counts for.
pub(crate) struct Weighted {
    pub(crate) scorer: Named<dyn Scorer>,
    pub(crate) weight: f32,
}

/// One scheduling profile, ready to run; shared by all threads.
pub struct Profile {
    name: Arc<str>,
    filters: Vec<Named<dyn Filter>>,
    scorers: Vec<Weighted>,
    picker: Named<dyn Picker>,
    headers: Vec<String>,
}

/// Working memory of one thread, so that a decision allocates for its preferences and reasons only.
#[derive(Default)]
struct Scratch {
    keep: Vec<bool>,
    /// One column of scores per scorer, each as long as there are rows.
    scores: Vec<f32>,
    totals: Vec<f32>,
    order: Vec<u32>,
    /// With `explain`: which filter removed each row, and what each filter was given.
    removed: Vec<Option<usize>>,
    before: Vec<Vec<bool>>,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl Profile {
    /// The documented default: prefix 3, queue 1, KV utilisation 1, behind the overload guard.
    pub fn default_profile() -> Self {
        crate::config::default_profile()
    }

    pub(crate) fn new(
        name: Arc<str>,
        filters: Vec<Named<dyn Filter>>,
        scorers: Vec<Weighted>,
        picker: Named<dyn Picker>,
    ) -> Self {
        let mut headers: Vec<String> = scorers
            .iter()
            .flat_map(|s| s.scorer.plugin.headers())
            .chain(filters.iter().flat_map(|f| f.plugin.headers()))
            .cloned()
            .collect();
        headers.sort_unstable();
        headers.dedup();
        Self {
            name,
            filters,
            scorers,
            picker,
            headers,
        }
    }

    /// The profile's name in its document.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Request headers that configured plugins read, lower case.
    pub fn headers(&self) -> &[String] {
        &self.headers
    }

    /// Names and weights of the scorers, in their order.
    pub fn scorers(&self) -> impl Iterator<Item = (&str, f32)> {
        self.scorers.iter().map(|s| (&*s.scorer.name, s.weight))
    }

    /// Names of the filters, in their order.
    pub fn filters(&self) -> impl Iterator<Item = &str> {
        self.filters.iter().map(|f| &*f.name)
    }

    /// Name of the picker.
    pub fn picker(&self) -> &str {
        &self.picker.name
    }

    /// Whether any plugin looks at prefix matches; if none does, prompts need not be hashed.
    pub fn reads_prefix(&self) -> bool {
        self.filters.iter().any(|f| f.plugin.reads_prefix())
            || self.scorers.iter().any(|s| s.scorer.plugin.reads_prefix())
    }

    /// Whether any plugin looks at scraped engine metrics.
    pub fn reads_scrape(&self) -> bool {
        self.filters.iter().any(|f| f.plugin.reads_scrape())
            || self.scorers.iter().any(|s| s.scorer.plugin.reads_scrape())
    }

    /// Whether any plugin looks at adapters; if none does, [`Candidates::adapters`] stays empty.
    pub fn reads_adapters(&self) -> bool {
        self.scorers
            .iter()
            .any(|s| s.scorer.plugin.reads_adapters())
    }

    /// Whether any plugin looks at forecasts; if none does, [`Candidates::forecasts`] stays empty.
    pub fn reads_forecasts(&self) -> bool {
        self.scorers
            .iter()
            .any(|s| s.scorer.plugin.reads_forecasts())
    }

    /// Filters, scores and picks. `candidates` must not be empty.
    ///
    /// # Errors
    /// [`NoEndpoint::AllFiltered`] when a filter left nothing and has no fallback; [`NoEndpoint::Exhausted`]
    /// when there was no candidate to begin with.
    pub fn run(
        &self,
        ask: &Ask<'_>,
        candidates: &Candidates,
        rng: &mut Rng,
    ) -> Result<Decision, NoEndpoint> {
        if candidates.is_empty() {
            return Err(NoEndpoint::Exhausted);
        }
        // Taken out and put back: a panic in between costs the next decision an allocation, nothing else.
        let mut scratch = SCRATCH.take().unwrap_or_default();
        let decision = self.run_in(&mut scratch, ask, candidates, rng);
        SCRATCH.set(Some(scratch));
        decision
    }

    /// Tells plugins with a memory who won; called once per pick, after the reservation holds.
    pub fn picked(&self, ask: &Ask<'_>, candidates: &Candidates, winner_row: usize) {
        for filter in &self.filters {
            filter.plugin.picked(ask, candidates, winner_row);
        }
        for weighted in &self.scorers {
            weighted.scorer.plugin.picked(ask, candidates, winner_row);
        }
    }

    /// Response headers to set when `endpoint` answers: those of [`Decision::response_headers`] are the first
    /// preference's; ask again when a later one answered.
    pub fn response_headers(&self, endpoint: &EndpointInfo) -> Vec<(String, String)> {
        let of_scorers = self
            .scorers
            .iter()
            .filter_map(|s| s.scorer.plugin.response_header(endpoint));
        let of_filters = self
            .filters
            .iter()
            .filter_map(|f| f.plugin.response_header(endpoint));
        let mut headers: Vec<(String, String)> = Vec::new();
        for header in of_scorers.chain(of_filters) {
            // A session's filter and scorer say the same.
            if !headers.contains(&header) {
                headers.push(header);
            }
        }
        headers
    }

    fn run_in(
        &self,
        scratch: &mut Scratch,
        ask: &Ask<'_>,
        candidates: &Candidates,
        rng: &mut Rng,
    ) -> Result<Decision, NoEndpoint> {
        self.filter(scratch, ask, candidates, rng)?;
        self.score(scratch, ask, candidates);
        scratch.order.clear();
        self.picker.plugin.pick(
            &scratch.totals,
            candidates,
            &scratch.keep,
            rng,
            Decision::MAX_PREFERENCES,
            &mut scratch.order,
        );
        let Some(winner) = scratch.order.first().map(|row| *row as usize) else {
            return Err(NoEndpoint::Exhausted);
        };
        Ok(Decision {
            preferences: scratch
                .order
                .iter()
                .map(|row| candidates.info(*row as usize).slot)
                .collect(),
            reasons: self.reasons(scratch, ask, candidates, winner),
            response_headers: self.response_headers(candidates.info(winner)),
        })
    }

    fn filter(
        &self,
        scratch: &mut Scratch,
        ask: &Ask<'_>,
        candidates: &Candidates,
        rng: &mut Rng,
    ) -> Result<(), NoEndpoint> {
        scratch.keep.clear();
        scratch.keep.resize(candidates.len(), true);
        scratch.removed.clear();
        scratch.before.clear();
        for (index, filter) in self.filters.iter().enumerate() {
            if ask.explain {
                scratch.removed.resize(candidates.len(), None);
                scratch.before.push(scratch.keep.clone());
            }
            filter
                .plugin
                .filter(ask, candidates, rng, &mut scratch.keep);
            if ask.explain {
                let gone = scratch.before[index]
                    .iter()
                    .zip(&scratch.keep)
                    .map(|(was, is)| *was && !*is);
                for (removed, gone) in scratch.removed.iter_mut().zip(gone) {
                    *removed = if gone { Some(index) } else { *removed };
                }
            }
            if !scratch.keep.contains(&true) {
                return Err(NoEndpoint::AllFiltered {
                    filter: filter.name.to_string(),
                });
            }
        }
        Ok(())
    }

    fn score(&self, scratch: &mut Scratch, ask: &Ask<'_>, candidates: &Candidates) {
        let rows = candidates.len();
        scratch.totals.clear();
        scratch.totals.resize(rows, 0.0);
        scratch.scores.resize(rows * self.scorers.len(), 0.0);
        for (weighted, column) in self
            .scorers
            .iter()
            .zip(scratch.scores.chunks_exact_mut(rows))
        {
            weighted
                .scorer
                .plugin
                .score(ask, candidates, &scratch.keep, column);
            for (total, score) in scratch.totals.iter_mut().zip(column) {
                *score = unit(*score);
                *total += weighted.weight * *score;
            }
        }
    }

    fn reasons(
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

impl fmt::Display for Profile {
    /// One line for people: filters, scorers with weights, picker.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for filter in &self.filters {
            write!(f, "{} > ", filter.name)?;
        }
        for (index, (name, weight)) in self.scorers().enumerate() {
            let plus = if index > 0 { " + " } else { "" };
            write!(f, "{plus}{name} {weight:.1}")?;
        }
        let then = if self.scorers.is_empty() { "" } else { " > " };
        write!(f, "{then}{}", self.picker.name)
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Profile({}: {self})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::Raw;
    use crate::picker::max_score::{self, MaxScore};

    /// Says what it was told to say.
    struct Given(Vec<f32>);

    impl Scorer for Given {
        fn score(&self, _: &Ask<'_>, _: &Candidates, _: &[bool], out: &mut [f32]) {
            out.copy_from_slice(&self.0);
        }

        fn raw(&self, _: &Ask<'_>, _: &Candidates, row: usize) -> Raw {
            Raw {
                value: f64::from(self.0[row]),
                unit: "given",
            }
        }
    }

    fn rows(n: u16) -> Candidates {
        let info = |index| EndpointInfo {
            slot: kv_index::Slot::new(index, 0),
            name: format!("e{index}").into(),
            address: "".into(),
            labels: std::collections::BTreeMap::new(),
        };
        Candidates {
            infos: (0..n).map(info).collect(),
            rows: (0..u32::from(n)).collect(),
            last_pick: vec![0; usize::from(n)],
            ..Candidates::default()
        }
    }

    fn check(scores: [[f32; 3]; 3], expected: [f32; 3]) {
        let columns = [("prefix", 3.0, 0), ("queue", 1.0, 1), ("kv", 1.0, 2)];
        let scorers = columns.map(|(name, weight, column)| Weighted {
            scorer: Named {
                name: name.into(),
                plugin: Box::new(Given(scores.map(|row| row[column]).to_vec())),
            },
            weight,
        });
        let picker = MaxScore::new(&max_score::Params::default(), 0).unwrap();
        let picker = Named {
            name: "p".into(),
            plugin: Box::new(picker) as Box<dyn Picker>,
        };
        let profile = Profile::new("given".into(), Vec::new(), scorers.into(), picker);
        let ask = Ask {
            explain: true,
            ..Ask::default()
        };
        let decision = profile
            .run(&ask, &rows(3), &mut Rng::seed_from_u64(0))
            .unwrap();
        for (reason, total) in decision.reasons.iter().zip(expected) {
            assert!(
                (reason.total - total).abs() < 1e-5,
                "{} against {total}",
                reason.total
            );
        }
        assert_eq!(decision.preferences[0].index(), 0);
    }

    #[test]
    fn given_scores_of_the_documented_example_give_its_totals() {
        check(
            [[0.9, 0.7, 0.8], [0.1, 0.9, 0.9], [0.0, 0.8, 0.7]],
            [4.2, 2.1, 1.5],
        );
    }

    #[test]
    fn scores_out_of_range_count_as_the_nearest_in_range() {
        check(
            [
                [7.0, 1.0, 1.0],
                [f32::NAN, -1.0, f32::NEG_INFINITY],
                [0.0, 0.0, 0.0],
            ],
            [5.0, 0.0, 0.0],
        );
    }
}
