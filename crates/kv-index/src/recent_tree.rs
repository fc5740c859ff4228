//! Which lanes were just sent a prompt that begins like this one?
//!
//! A radix tree over the chains in flight. A node is a run of blocks that the same placements pass through,
//! and counts them by lane, so a thousand placements behind one system prompt cost a lookup one node, and
//! taking one placement out leaves what the others vouch for. Nodes are found by the hash of their first
//! block: being chained, it names the whole path, so no links are kept.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::BlockHash;
use crate::chain::common_run;
use crate::holders::LaneIndex;

/// The tree; a forest, strictly: one root per distinct first block.
#[derive(Default)]
pub(crate) struct RecentTree {
    nodes: HashMap<BlockHash, Node>,
}

struct Node {
    /// A chain that passes through here, for the hashes of the run.
    blocks: Arc<[BlockHash]>,
    /// Depth at which the run ends, exclusive; the last block that is this node's.
    end: usize,
    /// Placements through here by lane, sorted by it.
    lanes: Vec<(LaneIndex, u32)>,
    /// Sum over `lanes`.
    placements: u32,
    /// Number of nodes that continue here.
    children: u32,
    /// Keys of all children combined by exclusive or: with one child, its key.
    children_keys: u64,
}

impl Node {
    fn new(blocks: Arc<[BlockHash]>, end: usize) -> Self {
        Self {
            blocks,
            end,
            lanes: Vec::new(),
            placements: 0,
            children: 0,
            children_keys: 0,
        }
    }

    fn count(&mut self, lane: LaneIndex) {
        self.placements += 1;
        match self.lanes.binary_search_by_key(&lane, |(lane, _)| *lane) {
            Ok(at) => self.lanes[at].1 += 1,
            Err(at) => self.lanes.insert(at, (lane, 1)),
        }
    }

    fn discount(&mut self, lane: LaneIndex) {
        if let Ok(at) = self.lanes.binary_search_by_key(&lane, |(lane, _)| *lane) {
            self.placements -= 1;
            self.lanes[at].1 -= 1;
            if self.lanes[at].1 == 0 {
                self.lanes.remove(at);
            }
        }
    }
}

impl RecentTree {
    /// Adds a placement of the first `len` blocks of `blocks` on `lane`.
    pub(crate) fn add(&mut self, lane: LaneIndex, blocks: &Arc<[BlockHash]>, len: usize) {
        let (mut depth, mut parent) = (0, None);
        while depth < len {
            let key = blocks[depth];
            let end = match self.nodes.get(&key) {
                Some(node) => {
                    let end = common_run(&node.blocks[..node.end], &blocks[..len], depth + 1);
                    if end < node.end {
                        self.split(key, end);
                    }
                    end
                }
                None => {
                    self.nodes.insert(key, Node::new(Arc::clone(blocks), len));
                    self.link(parent, key, true);
                    len
                }
            };
            if let Some(node) = self.nodes.get_mut(&key) {
                node.count(lane);
            }
            (depth, parent) = (end, Some(key));
        }
    }

    /// Takes out a placement that [`add`](Self::add) was given.
    pub(crate) fn remove(&mut self, lane: LaneIndex, blocks: &[BlockHash], len: usize) {
        let (mut depth, mut path, mut cut_off) = (0, Vec::new(), false);
        while depth < len {
            let key = blocks[depth];
            let Some(node) = self.nodes.get_mut(&key) else {
                break;
            };
            node.discount(lane);
            depth = node.end;
            if node.placements > 0 {
                path.push(key);
                continue;
            }
            self.nodes.remove(&key);
            if !cut_off {
                // Nodes below had only this placement too: they go in the next rounds, linked to nothing.
                self.link(path.last().copied(), key, false);
                cut_off = true;
            }
        }
        for key in path.into_iter().rev() {
            self.join(key);
        }
    }

    /// Raises `runs`, by lane, to the leading blocks of `blocks` placed there.
    pub(crate) fn raise_runs(&self, blocks: &[BlockHash], runs: &mut [u32]) {
        let mut depth = 0;
        while depth < blocks.len() {
            let Some(node) = self.nodes.get(&blocks[depth]) else {
                return;
            };
            depth = common_run(&node.blocks[..node.end], blocks, depth + 1);
            for (lane, _) in &node.lanes {
                if let Some(run) = runs.get_mut(usize::from(*lane)) {
                    *run = (depth as u32).max(*run);
                }
            }
            if depth < node.end {
                return;
            }
        }
    }

    /// Leading blocks of `blocks` placed on `lane`.
    pub(crate) fn run_of(&self, blocks: &[BlockHash], lane: LaneIndex) -> u32 {
        let (mut depth, mut ended) = (0, false);
        while depth < blocks.len() && !ended {
            let Some(node) = self.nodes.get(&blocks[depth]) else {
                break;
            };
            if node
                .lanes
                .binary_search_by_key(&lane, |(lane, _)| *lane)
                .is_err()
            {
                break;
            }
            depth = common_run(&node.blocks[..node.end], blocks, depth + 1);
            ended = depth < node.end;
        }
        depth as u32
    }

    /// Ends the node `key` at depth `end`; a new one continues it with the same placements.
    fn split(&mut self, key: BlockHash, end: usize) {
        let Some(node) = self.nodes.get_mut(&key) else {
            return;
        };
        let lower_key = node.blocks[end];
        let lower = Node {
            blocks: Arc::clone(&node.blocks),
            end: node.end,
            lanes: node.lanes.clone(),
            placements: node.placements,
            children: node.children,
            children_keys: node.children_keys,
        };
        node.end = end;
        (node.children, node.children_keys) = (1, lower_key.0);
        self.nodes.insert(lower_key, lower);
    }

    /// Makes one run of `key` and its only child where nothing ends in between, so that the tree stays as
    /// small as what is in flight however its past branched.
    fn join(&mut self, key: BlockHash) {
        let Some(node) = self.nodes.get(&key) else {
            return;
        };
        let child_key = BlockHash(node.children_keys);
        let placements = node.placements;
        if node.children != 1
            || self
                .nodes
                .get(&child_key)
                .is_none_or(|child| child.placements != placements)
        {
            return;
        }
        if let Some(child) = self.nodes.remove(&child_key) {
            self.nodes.insert(key, child);
        }
    }

    fn link(&mut self, parent: Option<BlockHash>, key: BlockHash, add: bool) {
        if let Some(node) = parent.and_then(|parent| self.nodes.get_mut(&parent)) {
            node.children = if add {
                node.children + 1
            } else {
                node.children.saturating_sub(1)
            };
            node.children_keys ^= key.0;
        }
    }

    #[cfg(test)]
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }
}
