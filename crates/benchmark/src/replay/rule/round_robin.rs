//! Replicas in turn. What a Kubernetes Service or a plain proxy does, near enough.

use std::time::Duration;

use rand::rngs::SmallRng;

use super::{Known, Rule, Sight, plain};
use crate::replay::replicas::Replicas;
use crate::replay::router::{Ask, Choice};

pub(crate) const KNOWN: Known = Known {
    name: "round-robin",
    bound: false,
    summary: "replicas in turn; source: common practice (Envoy ROUND_ROBIN, nginx default)",
    make: |_, seed| {
        Box::new(RoundRobin {
            next: seed as usize,
        })
    },
};

struct RoundRobin {
    next: usize,
}

impl Rule for RoundRobin {
    fn choose(
        &mut self,
        _: &Ask<'_>,
        sight: &Sight,
        _: &Replicas,
        _: Duration,
        _: &mut SmallRng,
    ) -> Choice {
        self.next = self.next.wrapping_add(1);
        plain(self.next % sight.len())
    }
}
