//! May as many files and connections be open as are served?

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Handles taken whatever is served: listeners, the log, the runtime's own.
const BASE_HANDLES: u64 = 256;

/// Handles that one endpoint may take beside requests: its probe, its scrape, its model list, its cache events and
/// their replay, and some spare.
const HANDLES_PER_ENDPOINT: u64 = 8;

/// Raises the soft limit of open files to the hard one; how many may be open then, `None` for no limit.
pub(crate) fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays as it is");
            current
        }
    }
}

/// Raises the limit, and says so where it is still too small for `endpoints` with as many requests in flight at once.
pub(crate) fn raise_for(endpoints: usize, requests: usize) {
    let Some(limit) = raise() else { return };
    let needed = needed(endpoints, requests);
    if limit < needed {
        tracing::warn!(
            limit,
            needed,
            "too few files may be open for {endpoints} endpoints and {requests} requests at once: connections will \
             fail; raise the hard limit (`ulimit -Hn`, systemd's LimitNOFILE) or lower `gateway.max_in_flight`"
        );
    }
}

/// One connection of a client and one to an engine per request, and what endpoints take beside.
fn needed(endpoints: usize, requests: usize) -> u64 {
    BASE_HANDLES + endpoints as u64 * HANDLES_PER_ENDPOINT + 2 * requests as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let limit = raise();
        let after = getrlimit(Resource::Nofile);
        assert_eq!(limit, after.current);
        assert_eq!(after.current, after.maximum);
    }

    #[test]
    fn more_of_either_needs_more() {
        assert!(needed(1_000, 0) > needed(3, 0));
        assert_eq!(needed(0, 100) - needed(0, 0), 200);
    }
}
