//! Who, by chance in proportion to the total?

use std::cell::RefCell;

use rand::Rng as _;

use super::{Params, kept_rows, max_endpoints};
use crate::config::ParamError;
use crate::numbers::load;
use crate::{Candidates, Picker, Rng};

/// `weighted-random-picker`: each row draws a waiting time, exponential with its total as rate; shortest first.
pub(crate) struct WeightedRandom {
    limit: usize,
}

impl WeightedRandom {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        Ok(Self {
            limit: max_endpoints(params.max_num_of_endpoints)?,
        })
    }
}

thread_local! {
    static DRAWS: RefCell<Vec<(f64, f64, u32)>> = const { RefCell::new(Vec::new()) };
}

impl Picker for WeightedRandom {
    fn pick(
        &self,
        totals: &[f32],
        _candidates: &Candidates,
        keep: &[bool],
        rng: &mut Rng,
        limit: usize,
        order: &mut Vec<u32>,
    ) {
        DRAWS.with_borrow_mut(|draws| {
            draws.clear();
            draws.extend(kept_rows(keep).map(|row| {
                // -ln(U) / total orders as U^(1 / total) does, without underflow. A total of 0 waits for ever;
                // rows that all do are ordered by a second draw.
                let wait =
                    -(1.0 - rng.random::<f64>()).ln() / f64::from(load(totals[row as usize]));
                (
                    if wait.is_nan() { f64::INFINITY } else { wait },
                    rng.random::<f64>(),
                    row,
                )
            }));
            let by_draw = |a: &(f64, f64, u32), b: &(f64, f64, u32)| {
                a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
            };
            let wanted = limit.min(self.limit).min(draws.len());
            if wanted < draws.len() {
                draws.select_nth_unstable_by(wanted, by_draw);
                draws.truncate(wanted);
            }
            draws.sort_unstable_by(by_draw);
            order.extend(draws.iter().map(|(_, _, row)| *row));
        });
    }
}
