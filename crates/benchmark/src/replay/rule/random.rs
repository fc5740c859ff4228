//! Any replica, by chance.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

use super::{Known, Rule, Sight, plain};
use crate::replay::replicas::Replicas;
use crate::replay::router::{Ask, Choice};

pub(crate) const KNOWN: Known = Known {
    name: "random",
    bound: false,
    summary: "any replica, by chance; source: llm-d's random-picker, every router's `random`",
    make: |_, _| Box::new(Random),
};

struct Random;

impl Rule for Random {
    fn choose(
        &mut self,
        _: &Ask<'_>,
        sight: &Sight,
        _: &Replicas,
        _: Duration,
        rng: &mut SmallRng,
    ) -> Choice {
        plain(rng.random_range(0..sight.len()))
    }
}
