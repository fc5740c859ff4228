//! May as many files and connections be open as are served?

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Handles taken whatever is served: listeners, the log, the runtime's own.
const BASE_HANDLES: u64 = 256;

/// Handles that one endpoint may take beside requests: its probe, its scrape, its model list, its cache events and
/// their replay, and some spare.
const HANDLES_PER_ENDPOINT: u64 = 8;

/// Raises the soft limit of open files as far as the system lets it, to the hard one at most; how many may be open then,
/// `None` for no limit.
pub(crate) fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    for wanted in wanted(current, maximum) {
        let limit = Rlimit {
            current: wanted,
            maximum,
        };
        match setrlimit(Resource::Nofile, limit) {
            Ok(()) => break,
            Err(error) => tracing::debug!(%error, ?wanted, "open files cannot be that many"),
        }
    }
    getrlimit(Resource::Nofile).current
}

/// What is tried, best first: the hard limit, and below it what a system may accept that names a hard limit, or none at
/// all, which it does not let anyone reach (macOS).
fn wanted(current: Option<u64>, maximum: Option<u64>) -> Vec<Option<u64>> {
    let Some(current) = current else {
        return Vec::new();
    };
    let below = |number: &u64| *number > current && maximum.is_none_or(|maximum| *number < maximum);
    let steps = [1 << 20, 1 << 18, 1 << 16, 1 << 14, 10_240];
    let steps = steps.into_iter().filter(below).map(Some);
    let hard = (maximum != Some(current)).then_some(maximum);
    hard.into_iter().chain(steps).collect()
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
        // Elsewhere the hard limit may be one that nobody can have.
        if cfg!(target_os = "linux") {
            assert_eq!(after.current, after.maximum);
        }
    }

    #[test]
    fn less_is_tried_where_the_hard_limit_cannot_be_had() {
        let check = |current, maximum, expected: &[Option<u64>]| {
            assert_eq!(
                wanted(current, maximum),
                expected,
                "{current:?} {maximum:?}"
            );
        };
        check(None, None, &[]);
        check(Some(1_024), Some(1_024), &[]);
        check(Some(1_024), Some(4_096), &[Some(4_096)]);
        check(
            Some(1_024),
            Some(20_000),
            &[Some(20_000), Some(16_384), Some(10_240)],
        );
        let many = [
            None,
            Some(1 << 20),
            Some(1 << 18),
            Some(1 << 16),
            Some(1 << 14),
            Some(10_240),
        ];
        check(Some(256), None, &many);
        check(Some(200_000), None, &many[..3]);
    }

    #[test]
    fn more_of_either_needs_more() {
        assert!(needed(1_000, 0) > needed(3, 0));
        assert_eq!(needed(0, 100) - needed(0, 0), 200);
    }
}
