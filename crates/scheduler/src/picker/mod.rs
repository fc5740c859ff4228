//! How do totals become an order?

pub(crate) mod max_score;
pub(crate) mod random;
pub(crate) mod weighted_random;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Decision;
use crate::config::{ParamError, params};

/// Parameters of `random-picker` and `weighted-random-picker`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Length of the preference list, 1..=8. When absent the list holds up to 8: one destination and the
    /// fallbacks that are tried if it fails before its first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_num_of_endpoints: Option<u32>,
}

impl params::Params for Params {}

/// Reads `maxNumOfEndpoints`.
fn max_endpoints(configured: Option<u32>) -> Result<usize, ParamError> {
    let most = Decision::MAX_PREFERENCES;
    match configured {
        None => Ok(most),
        Some(n) if (1..=most as u32).contains(&n) => Ok(n as usize),
        Some(_) => Err(ParamError::new(
            "maxNumOfEndpoints",
            "must be between 1 and 8",
        )),
    }
}

/// Rows that are kept.
fn kept_rows(keep: &[bool]) -> impl Iterator<Item = u32> + '_ {
    (0..keep.len() as u32).filter(|row| keep[*row as usize])
}
