//! Who, by chance alone?

use rand::Rng as _;

use super::{Params, kept_rows, max_endpoints};
use crate::config::ParamError;
use crate::{Candidates, Picker, Rng};

/// `random-picker`: every kept row has the same chance at every place.
pub(crate) struct Random {
    limit: usize,
}

impl Random {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        Ok(Self {
            limit: max_endpoints(params.max_num_of_endpoints)?,
        })
    }
}

impl Picker for Random {
    fn pick(
        &self,
        _totals: &[f32],
        _candidates: &Candidates,
        keep: &[bool],
        rng: &mut Rng,
        limit: usize,
        order: &mut Vec<u32>,
    ) {
        order.extend(kept_rows(keep));
        let wanted = limit.min(self.limit).min(order.len());
        for place in 0..wanted {
            let other = rng.random_range(place..order.len());
            order.swap(place, other);
        }
        order.truncate(wanted);
    }
}
