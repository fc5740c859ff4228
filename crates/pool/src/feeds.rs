//! What runs for one pool, and who can nudge it?

use std::sync::Arc;

use fleet::{EndpointSpec, Fleet};
use kv_index::Slot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Clock, PoolConfig, PoolError};

/// The running feeds of one pool; they end with the token given to [`Feeds::start`], not with this value.
pub struct Feeds {}

impl Feeds {
    /// Starts discovery, probes, scrapes, model reads and the fleet's tick. When it returns, the endpoints of the
    /// static list and of the file are members.
    ///
    /// # Errors
    /// A mistake in `config`, or an endpoint file that cannot be read.
    pub async fn start(
        config: &PoolConfig,
        fleet: Arc<Fleet>,
        clock: Clock,
        api_key: Option<String>,
        stop: CancellationToken,
        tracker: &TaskTracker,
    ) -> Result<Self, PoolError> {
        let _ = (config, fleet, clock, api_key, stop, tracker);
        Ok(Self {})
    }

    /// Replaces the static list (a reload, or replicas that `up` started or gave up).
    pub fn update_endpoints(&self, endpoints: Vec<EndpointSpec>) {
        let _ = endpoints;
    }

    /// Asks for a health check of `slot` now instead of at its time.
    pub fn probe_now(&self, slot: Slot) {
        let _ = slot;
    }
}
