//! What is a filter, a scorer, a picker?

use crate::{Ask, Candidates, EndpointInfo};

/// Seeded by whoever owns randomness.
pub type Rng = rand::rngs::SmallRng;

/// The figure behind a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Raw {
    pub value: f64,
    pub unit: &'static str,
}

/// Answers one question about every candidate with a number in 0..=1; infallible, never NaN.
pub trait Scorer: Send + Sync {
    /// Writes one score per row into `out` (same length as `candidates`). Rows with `keep[row] == false`
    /// were filtered out: they must not influence normalisation and their score is ignored.
    fn score(&self, ask: &Ask<'_>, candidates: &Candidates, keep: &[bool], out: &mut [f32]);

    /// What the score of `row` was made from.
    fn raw(&self, ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw;

    /// Told once after the pick, for scorers with a memory.
    fn picked(&self, _ask: &Ask<'_>, _candidates: &Candidates, _winner: usize) {}

    /// A response header to set when `endpoint` answers.
    fn response_header(&self, _endpoint: &EndpointInfo) -> Option<(String, String)> {
        None
    }

    /// Request headers this scorer reads, lower case.
    fn headers(&self) -> &[String] {
        &[]
    }

    /// Whether scores depend on `matched_blocks` or `matched_tokens`: without such a plugin no prompt needs hashing.
    fn reads_prefix(&self) -> bool {
        false
    }

    /// Whether scores depend on scraped engine metrics.
    fn reads_scrape(&self) -> bool {
        false
    }

    /// Whether scores depend on `adapters`.
    fn reads_adapters(&self) -> bool {
        false
    }

    /// Whether scores depend on `forecasts`.
    fn reads_forecasts(&self) -> bool {
        false
    }
}

/// Narrows the candidates.
pub trait Filter: Send + Sync {
    /// Sets `keep[row] = false` for rows to remove; never sets one back to true.
    fn filter(&self, ask: &Ask<'_>, candidates: &Candidates, rng: &mut Rng, keep: &mut [bool]);

    /// Why `row` was removed, in words with figures; `before` is what the filter was given.
    fn reason(&self, ask: &Ask<'_>, candidates: &Candidates, before: &[bool], row: usize)
    -> String;

    /// Told once after the pick, for filters with a memory.
    fn picked(&self, _ask: &Ask<'_>, _candidates: &Candidates, _winner: usize) {}

    /// A response header to set when `endpoint` answers.
    fn response_header(&self, _endpoint: &EndpointInfo) -> Option<(String, String)> {
        None
    }

    /// Request headers this filter reads, lower case.
    fn headers(&self) -> &[String] {
        &[]
    }

    /// Whether it looks at `matched_blocks` or `matched_tokens`.
    fn reads_prefix(&self) -> bool {
        false
    }

    /// Whether it looks at scraped engine metrics.
    fn reads_scrape(&self) -> bool {
        false
    }

    /// Whether it looks at `forecasts`.
    fn reads_forecasts(&self) -> bool {
        false
    }
}

/// Says whether a request may go on at all, before any endpoint is left out.
pub trait Admitter: Send + Sync {
    /// # Errors
    /// Why not, in words with figures.
    fn admit(&self, ask: &Ask<'_>, candidates: &Candidates, rng: &mut Rng) -> Result<(), String>;

    /// Request headers it reads, lower case.
    fn headers(&self) -> &[String] {
        &[]
    }

    /// Whether it looks at `matched_blocks` or `matched_tokens`.
    fn reads_prefix(&self) -> bool {
        false
    }

    /// Whether it looks at scraped engine metrics.
    fn reads_scrape(&self) -> bool {
        false
    }

    /// Whether it looks at `forecasts`.
    fn reads_forecasts(&self) -> bool {
        false
    }
}

/// What a [`Decider`] says, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub split: bool,
    /// With figures.
    pub words: String,
}

impl Verdict {
    pub(crate) fn yes(words: String) -> Self {
        Self { split: true, words }
    }

    pub(crate) fn no(words: String) -> Self {
        Self {
            split: false,
            words,
        }
    }
}

/// Says whether a stage of a request goes to an endpoint of its own.
pub trait Decider: Send + Sync {
    /// `row` is the endpoint picked already: where the request decodes, or with the stage first, where that runs.
    fn decide(&self, ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Verdict;

    /// Whether it looks at `matched_tokens`.
    fn reads_prefix(&self) -> bool {
        false
    }

    /// Whether it looks at [`Ask::media`].
    fn reads_media(&self) -> bool {
        false
    }
}

/// Turns totals into an order.
pub trait Picker: Send + Sync {
    /// Pushes kept rows onto `order`, best first, at most `limit`. Ties never go by row. `order` comes
    /// empty and may be used as working space.
    fn pick(
        &self,
        totals: &[f32],
        candidates: &Candidates,
        keep: &[bool],
        rng: &mut Rng,
        limit: usize,
        order: &mut Vec<u32>,
    );
}
