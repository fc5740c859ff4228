//! A ring of virtual nodes; a request goes to the node that follows its key.
//!
//! The key is the session (vllm-router `consistent_hash` on a session header: 160 virtual nodes), or the hash of the
//! prompt up to and with its second block of 512 tokens: the first is often common to all (a system prompt), the second
//! tells conversations apart. Neither looks at load.

use std::time::Duration;

use rand::rngs::SmallRng;

use super::{Known, Rule, Sight, plain};
use crate::replay::replicas::Replicas;
use crate::replay::router::{Ask, Choice};
use crate::workload::jobs::key;

/// Virtual nodes of a replica: vllm-router's number.
const VIRTUAL_NODES: u64 = 160;

/// Canonical blocks (16 tokens) in two blocks of 512 tokens.
const TWO_BLOCKS: usize = 64;

pub(crate) const SESSION: Known = Known {
    name: "consistent-hash-session",
    bound: false,
    summary: "ring of 160 virtual nodes, key: session; source: vllm-router 0.1.17 `consistent_hash`",
    make: |replicas, seed| Box::new(Ring::new(replicas, seed, true)),
};

pub(crate) const SECOND_BLOCK: Known = Known {
    name: "consistent-hash-block2",
    bound: false,
    summary: "the same ring, key: the prompt up to its second 512-token block; source: prefix hashing (SMG `prefix_hash`)",
    make: |replicas, seed| Box::new(Ring::new(replicas, seed, false)),
};

struct Ring {
    nodes: Vec<(u64, usize)>,
    by_session: bool,
}

impl Ring {
    fn new(replicas: usize, seed: u64, by_session: bool) -> Self {
        let mut nodes: Vec<(u64, usize)> = (0..replicas)
            .flat_map(|replica| {
                (0..VIRTUAL_NODES).map(move |node| (key(&[seed, replica as u64, node]), replica))
            })
            .collect();
        nodes.sort_unstable();
        Self { nodes, by_session }
    }
}

impl Rule for Ring {
    fn choose(
        &mut self,
        ask: &Ask<'_>,
        _: &Sight,
        _: &Replicas,
        _: Duration,
        _: &mut SmallRng,
    ) -> Choice {
        let blocks = &ask.blocks;
        let point = if self.by_session {
            key(&[ask.session])
        } else {
            let last = blocks.get(TWO_BLOCKS - 1).or(blocks.last());
            key(&[last.copied().unwrap_or(ask.number)])
        };
        let at = self.nodes.partition_point(|(node, _)| *node < point);
        plain(self.nodes[at % self.nodes.len()].1)
    }

    fn wants_blocks(&self) -> bool {
        !self.by_session
    }
}
