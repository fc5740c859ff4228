//! Which figures does a fleet's belief depend on?

use std::time::Duration;

use kv_index::HashSeed;
use scheduler::Wiring;

/// Settings of one pool's state machine.
#[derive(Clone, Debug)]
pub struct FleetConfig {
    /// Pool name, for messages.
    pub pool: String,
    /// Memory cap of the prefix indexes, bytes: half for the approximate one, half for the exact one.
    pub index_max_bytes: usize,
    /// Key of prompt hashes.
    pub seed: HashSeed,
    /// Consecutive failures before a first byte that eject an endpoint that still answers probes.
    pub eject_after_failures: u32,
    /// First ejection; doubled for each further one up to `eject_max`.
    pub eject_base: Duration,
    pub eject_max: Duration,
    /// Consecutive failed probes that make an endpoint unready.
    pub unready_after_probes: u32,
    /// Whether a new endpoint must pass a probe before it is picked.
    pub require_probe: bool,
    /// What a token held in an engine's own memory, its host's and further away is worth to the scorers.
    pub tier_credits: [f32; 3],
    /// What the scheduling document says about prefix and load bookkeeping.
    pub wiring: Wiring,
}

/// A block from the host is copied, not computed: most of its worth; from disk, less.
const DEFAULT_TIER_CREDITS: [f32; 3] = [1.0, 0.8, 0.25];

impl Default for FleetConfig {
    fn default() -> Self {
        Self {
            pool: "default".to_owned(),
            index_max_bytes: 512 << 20,
            seed: HashSeed(0),
            eject_after_failures: 3,
            eject_base: Duration::from_secs(1),
            eject_max: Duration::from_secs(30),
            unready_after_probes: 2,
            require_probe: true,
            tier_credits: DEFAULT_TIER_CREDITS,
            wiring: Wiring::default(),
        }
    }
}
