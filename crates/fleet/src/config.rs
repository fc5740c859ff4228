//! Which figures does a fleet's belief depend on?

use std::time::Duration;

use kv_index::HashSeed;
use scheduler::Wiring;

/// Settings of one pool's state machine.
#[derive(Clone, Debug)]
pub struct FleetConfig {
    /// Pool name, for messages.
    pub pool: String,
    /// Memory cap of the prefix index, bytes.
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
    /// What the scheduling document says about prefix and load bookkeeping.
    pub wiring: Wiring,
}

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
            wiring: Wiring::default(),
        }
    }
}
