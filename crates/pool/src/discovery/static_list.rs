//! Which endpoints were named by configuration or flags?

use fleet::{Change, EndpointSpec};

use super::{resync, twice};
use crate::{PoolError, endpoint_from_url};

const SOURCE: &str = "static";

/// The membership that a list of URLs stands for; each once.
pub(super) fn read(urls: &[String]) -> Result<Change, PoolError> {
    let endpoints: Vec<EndpointSpec> = urls
        .iter()
        .map(|url| endpoint_from_url(url))
        .collect::<Result<_, _>>()?;
    if let Some(endpoint) = twice(&endpoints) {
        return Err(PoolError::Duplicate {
            name: endpoint.name.to_string(),
        });
    }
    Ok(membership(endpoints))
}

/// The membership that a list of endpoints stands for; of two with one name the last counts.
pub(crate) fn membership(endpoints: Vec<EndpointSpec>) -> Change {
    resync(SOURCE, endpoints)
}
