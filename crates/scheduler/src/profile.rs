//! How do filters, scorers and a picker become one decision?

mod reasons;

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use crate::around::Around;
use crate::numbers::unit;
use crate::{
    Ask, Candidates, Decision, Detector, EndpointInfo, Filter, NoEndpoint, Picker, Rng, Scorer,
    Stage,
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
    /// What the document says beside this profile; nothing in most.
    around: Option<Box<Around>>,
    /// Turns requests of priority below 0 away while the pool is full; `None` where they queue instead.
    shed: Option<Detector>,
}

/// Saturation from which they are turned away.
const FULL: f64 = 1.0;

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
            around: None,
            shed: Some(Detector::default()),
        }
    }

    /// The same with what stands around it.
    pub(crate) fn with(mut self, around: Around) -> Self {
        self.headers.extend(around.headers());
        self.headers.sort_unstable();
        self.headers.dedup();
        self.around = Some(Box::new(around));
        self
    }

    /// How full the pool is when requests of priority below 0 are turned away; `None` for never.
    pub(crate) fn shedding(mut self, shed: Option<Detector>) -> Self {
        self.shed = shed;
        self
    }

    /// Stages that may go to endpoints of their own, in the order in which they are picked.
    pub fn stages(&self) -> &[Stage] {
        self.around.as_ref().map_or(&[], |around| &around.stages)
    }

    /// Whether the request may go on at all: asked once, before [`Profile::run`].
    ///
    /// # Errors
    /// [`NoEndpoint::NotAdmitted`].
    pub fn admit(
        &self,
        ask: &Ask<'_>,
        candidates: &Candidates,
        rng: &mut Rng,
    ) -> Result<(), NoEndpoint> {
        if ask.priority < 0
            && let Some(detector) = &self.shed
        {
            let saturation = detector.mean(candidates);
            if saturation >= FULL {
                return Err(NoEndpoint::NotAdmitted {
                    admitter: "saturation".to_owned(),
                    why: format!(
                        "priority {}, and the pool's saturation is {saturation:.2}",
                        ask.priority
                    ),
                });
            }
        }
        match &self.around {
            None => Ok(()),
            Some(around) => around.admit(ask, candidates, rng),
        }
    }

    /// Whether some stage depends on [`Ask::media`].
    pub fn reads_media(&self) -> bool {
        self.stages()
            .iter()
            .any(|stage| stage.decider.plugin.reads_media())
    }

    /// The profile that runs for this request.
    fn chosen(&self, ask: &Ask<'_>) -> &Self {
        self.around
            .as_ref()
            .and_then(|around| around.chosen(ask))
            .unwrap_or(self)
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
            || self.around.as_ref().is_some_and(|a| a.reads_prefix())
    }

    /// Whether any plugin looks at scraped engine metrics.
    pub fn reads_scrape(&self) -> bool {
        self.filters.iter().any(|f| f.plugin.reads_scrape())
            || self.scorers.iter().any(|s| s.scorer.plugin.reads_scrape())
            || self.around.as_ref().is_some_and(|a| a.reads_scrape())
    }

    /// Whether any plugin looks at adapters; if none does, [`Candidates::adapters`] stays empty.
    pub fn reads_adapters(&self) -> bool {
        let own = |s: &Weighted| s.scorer.plugin.reads_adapters();
        self.scorers.iter().any(own) || self.around.as_ref().is_some_and(|a| a.reads_adapters())
    }

    /// Whether any plugin looks at forecasts; if none does, [`Candidates::forecasts`] stays empty.
    pub fn reads_forecasts(&self) -> bool {
        let own = |s: &Weighted| s.scorer.plugin.reads_forecasts();
        self.scorers.iter().any(own)
            || self.filters.iter().any(|f| f.plugin.reads_forecasts())
            || self.around.as_ref().is_some_and(|a| a.reads_forecasts())
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
        let decision = self.chosen(ask).run_in(&mut scratch, ask, candidates, rng);
        SCRATCH.set(Some(scratch));
        decision
    }

    /// Tells plugins with a memory who won; called once per pick, after the reservation holds.
    pub fn picked(&self, ask: &Ask<'_>, candidates: &Candidates, winner_row: usize) {
        let chosen = self.chosen(ask);
        for filter in &chosen.filters {
            filter.plugin.picked(ask, candidates, winner_row);
        }
        for weighted in &chosen.scorers {
            weighted.scorer.plugin.picked(ask, candidates, winner_row);
        }
    }

    /// Response headers to set when `endpoint` answers: those of [`Decision::response_headers`] are the first
    /// preference's; ask again when a later one answered.
    pub fn response_headers(&self, endpoint: &EndpointInfo) -> Vec<(String, String)> {
        let mut headers = self.own_response_headers(endpoint);
        for other in self.around.iter().flat_map(|around| around.choices()) {
            for header in other.own_response_headers(endpoint) {
                if !headers.contains(&header) {
                    headers.push(header);
                }
            }
        }
        headers
    }

    fn own_response_headers(&self, endpoint: &EndpointInfo) -> Vec<(String, String)> {
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
            response_headers: self.own_response_headers(candidates.info(winner)),
            beside: Vec::new(),
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
#[path = "profile_test.rs"]
mod tests;
