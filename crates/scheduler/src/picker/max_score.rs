//! Who has the highest total, and who among equals has waited longest?

use std::cmp::Ordering;

use rand::RngCore as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{kept_rows, max_endpoints};
use crate::config::{ParamError, params};
use crate::numbers::mix;
use crate::{Candidates, Decision, Picker, Rng};

/// Totals this close to the best of their tier are equal.
const TIE_MARGIN: f64 = 0.01;

/// Parameters of `max-score-picker`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Length of the preference list, 1..=8. When absent the list holds up to 8: one destination and the
    /// fallbacks that are tried if it fails before its first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_num_of_endpoints: Option<u32>,
    /// Totals within this distance of the best of their tier are ties.
    pub(crate) tie_margin: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            max_num_of_endpoints: None,
            tie_margin: TIE_MARGIN,
        }
    }
}

impl params::Params for Params {}

/// `max-score-picker`: descending totals; ties by least recent pick, then by chance.
pub(crate) struct MaxScore {
    limit: usize,
    tie_margin: f32,
    seed: u64,
}

impl MaxScore {
    pub(crate) fn new(params: &Params, seed: u64) -> Result<Self, ParamError> {
        if !(params.tie_margin >= 0.0 && params.tie_margin.is_finite()) {
            return Err(ParamError::new("tieMargin", "must be 0 or more"));
        }
        Ok(Self {
            limit: max_endpoints(params.max_num_of_endpoints)?,
            tie_margin: params.tie_margin as f32,
            seed,
        })
    }
}

impl Picker for MaxScore {
    fn pick(
        &self,
        totals: &[f32],
        candidates: &Candidates,
        keep: &[bool],
        rng: &mut Rng,
        limit: usize,
        order: &mut Vec<u32>,
    ) {
        let limit = limit.min(self.limit);
        let seed = rng.next_u64() ^ self.seed;
        let last_pick = |row: u32| candidates.last_pick[row as usize];
        let draw = |row: u32| mix(seed ^ u64::from(row));
        let before = |a: u32, b: u32| match last_pick(a).cmp(&last_pick(b)) {
            Ordering::Equal => draw(a) < draw(b),
            other => other == Ordering::Less,
        };

        // Only rows within a tie of the limit-th best can be in the list: two passes, no sort of all.
        let floor = nth_best(totals, keep, limit) - self.tie_margin;
        order.extend(kept_rows(keep).filter(|row| totals[*row as usize] >= floor));

        let mut placed = 0;
        while placed < limit.min(order.len()) {
            let rest = &mut order[placed..];
            let best = rest.iter().fold(f32::NEG_INFINITY, |best, row| {
                best.max(totals[*row as usize])
            });
            let tier = move_to_front(rest, |row| totals[row as usize] >= best - self.tie_margin);
            let wanted = tier.min(limit - placed);
            first_in_front(&mut rest[..tier], wanted, &before);
            placed += wanted;
        }
        order.truncate(limit);
    }
}

/// The `n`-th highest total of kept rows; minus infinity, which no row is below, when there are fewer.
fn nth_best(totals: &[f32], keep: &[bool], n: usize) -> f32 {
    let mut best = [f32::NEG_INFINITY; Decision::MAX_PREFERENCES];
    let best = &mut best[..n.clamp(1, Decision::MAX_PREFERENCES)];
    let last = best.len() - 1;
    let mut threshold = f32::NEG_INFINITY;
    for (total, kept) in totals.iter().zip(keep) {
        if *total > threshold && *kept {
            let at = best.partition_point(|other| other.total_cmp(total) != Ordering::Less);
            best[at..].rotate_right(1);
            best[at] = *total;
            threshold = best[last];
        }
    }
    threshold
}

/// Moves rows that are `wanted` before the others; how many there are.
fn move_to_front(rows: &mut [u32], wanted: impl Fn(u32) -> bool) -> usize {
    let mut front = 0;
    for at in 0..rows.len() {
        if wanted(rows[at]) {
            rows.swap(front, at);
            front += 1;
        }
    }
    front
}

/// Puts the `wanted` first rows by `before` in front, in order; one pass, most rows are compared once.
fn first_in_front(rows: &mut [u32], wanted: usize, before: &impl Fn(u32, u32) -> bool) {
    for at in 0..rows.len() {
        let mut place = at;
        if at >= wanted {
            place = wanted - 1;
            if !before(rows[at], rows[place]) {
                continue;
            }
            rows.swap(at, place);
        }
        while place > 0 && before(rows[place], rows[place - 1]) {
            rows.swap(place, place - 1);
            place -= 1;
        }
    }
}
