//! The replica with the fewest requests of ours in flight; ties by chance.

use std::time::Duration;

use rand::rngs::SmallRng;

use super::{Known, Rule, Sight, lowest, plain};
use crate::replay::replicas::Replicas;
use crate::replay::router::{Ask, Choice};

pub(crate) const KNOWN: Known = Known {
    name: "least-requests",
    bound: false,
    summary: "fewest of our requests in flight; source: Envoy LEAST_REQUEST over all hosts, AIBrix least-request",
    make: |_, _| Box::new(LeastRequests),
};

struct LeastRequests;

impl Rule for LeastRequests {
    fn choose(
        &mut self,
        _: &Ask<'_>,
        sight: &Sight,
        _: &Replicas,
        _: Duration,
        rng: &mut SmallRng,
    ) -> Choice {
        plain(lowest(
            sight.replicas.iter().map(|seen| seen.in_flight as f64),
            rng,
        ))
    }
}
