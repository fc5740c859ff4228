//! Who is in the pool, according to whom?
//!
//! A source is a stream of [`fleet::Change`]s under a name of its own. [`start`] holds one arm per source.

mod dns;
mod file;
mod file_format;
pub(crate) mod static_list;

use std::sync::Arc;

use fleet::{Change, EndpointSpec};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{PoolConfig, PoolError};

/// Changes that may wait to be applied; a source that is faster waits.
const CHANGE_QUEUE: usize = 64;

/// Reads what can be read at once, starts a task for each source that goes on, and hands back the first
/// memberships and the stream of later ones.
pub(crate) async fn start(
    config: &PoolConfig,
    stop: &CancellationToken,
    tracker: &TaskTracker,
) -> Result<(Vec<Change>, mpsc::Receiver<Change>), PoolError> {
    let (changes, later) = mpsc::channel(CHANGE_QUEUE);
    let mut first = vec![static_list::read(&config.endpoints)?];
    if let Some(path) = &config.file {
        let (change, source) = file::File::open(path.clone()).await?;
        first.push(change);
        let (changes, stop) = (changes.clone(), stop.clone());
        tracker.spawn(async move { stop.run_until_cancelled(source.follow(changes)).await });
    }
    if let Some(dns) = &config.dns {
        let source = dns::Dns::new(dns.clone());
        let (changes, stop) = (changes.clone(), stop.clone());
        tracker.spawn(async move { stop.run_until_cancelled(source.follow(changes)).await });
    }
    Ok((first, later))
}

/// The whole membership of one source.
fn resync(source: &str, endpoints: Vec<EndpointSpec>) -> Change {
    Change::Resync {
        source: Arc::from(source),
        endpoints,
    }
}

/// The first name that stands there twice.
fn twice(endpoints: &[EndpointSpec]) -> Option<&EndpointSpec> {
    let mut seen = std::collections::HashSet::new();
    endpoints
        .iter()
        .find(|endpoint| !seen.insert(&endpoint.name))
}
