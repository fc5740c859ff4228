//! Two replicas by chance, the less loaded of the two.
//!
//! Load is requests in flight, as sglang-router counts it. Source: Mitzenmacher, "The power of two choices in randomized
//! load balancing" (2001); the `power_of_two` of sglang-router and vllm-router.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

use super::{Known, Rule, Sight, plain};
use crate::replay::replicas::Replicas;
use crate::replay::router::{Ask, Choice};

pub(crate) const KNOWN: Known = Known {
    name: "power-of-two",
    bound: false,
    summary: "the less loaded of two by chance; source: Mitzenmacher 2001, sglang-router `power_of_two`",
    make: |_, _| Box::new(PowerOfTwo),
};

struct PowerOfTwo;

impl Rule for PowerOfTwo {
    fn choose(
        &mut self,
        _: &Ask<'_>,
        sight: &Sight,
        _: &Replicas,
        _: Duration,
        rng: &mut SmallRng,
    ) -> Choice {
        let first = rng.random_range(0..sight.len());
        if sight.len() == 1 {
            return plain(first);
        }
        let second = (first + rng.random_range(1..sight.len())) % sight.len();
        let load = |replica: usize| sight.replicas[replica].in_flight;
        plain(if load(second) < load(first) {
            second
        } else {
            first
        })
    }
}
