//! How does a document become a profile?

use std::sync::Arc;

use crate::filter::overload_guard::{self, OverloadGuard};
use crate::picker::max_score::{self, MaxScore};
use crate::profile::{Named, Profile, Weighted};
use crate::scorer::{kv_cache::KvCache, prefix_cache, queue::Queue};
use crate::{Filter, Picker, Scorer};

pub(crate) const APPROX_PREFIX_PRODUCER: &str = "approx-prefix-cache-producer";
pub(crate) const INFLIGHT_LOAD_PRODUCER: &str = "inflight-load-producer";

#[derive(Debug)]
pub(crate) struct ParamError {
    pub(crate) parameter: &'static str,
    pub(crate) message: String,
}

impl ParamError {
    pub(crate) fn new(parameter: &'static str, message: &str) -> Self {
        Self {
            parameter,
            message: message.to_owned(),
        }
    }
}

pub(crate) fn default_profile() -> Profile {
    let guard = OverloadGuard::new(&overload_guard::Params::default());
    let prefix = prefix_cache::PrefixCache::new(&prefix_cache::Params::default());
    let picker = MaxScore::new(&max_score::Params::default());
    let (Ok(guard), Ok(prefix), Ok(picker)) = (guard, prefix, picker) else {
        unreachable!("defaults are valid")
    };
    let scorer = |name: &str, plugin: Box<dyn Scorer>, weight| Weighted {
        scorer: Named {
            name: name.into(),
            plugin,
        },
        weight,
    };
    Profile::new(
        Arc::from("default"),
        vec![Named {
            name: "overload-guard".into(),
            plugin: Box::new(guard) as Box<dyn Filter>,
        }],
        vec![
            scorer("prefix-cache-scorer", Box::new(prefix), 3.0),
            scorer("queue-scorer", Box::new(Queue), 1.0),
            scorer("kv-cache-utilization-scorer", Box::new(KvCache), 1.0),
        ],
        Named {
            name: "max-score-picker".into(),
            plugin: Box::new(picker) as Box<dyn Picker>,
        },
    )
}
