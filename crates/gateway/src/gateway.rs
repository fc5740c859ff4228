//! What does everyone who carries a request share?

use std::sync::Arc;

use pool::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{GatewayConfig, PoolRoute};

/// The data path and its admin API; shared by all connections.
pub struct Gateway {
    config: GatewayConfig,
    clock: Clock,
}

impl Gateway {
    /// A gateway before `pools`. `seed` fixes every chance it takes.
    pub fn new(config: GatewayConfig, pools: Vec<PoolRoute>, clock: Clock, seed: u64) -> Arc<Self> {
        let _ = (pools, seed);
        Arc::new(Self { config, clock })
    }

    /// Replaces the pools (configuration reload); requests in flight end where they are.
    pub fn set_pools(&self, pools: Vec<PoolRoute>) {
        drop(pools);
    }

    /// Serves clients until `stop`; then `/readyz` turns 503, nothing new is accepted and requests in flight may
    /// end within `drain_timeout_ms`. Returns once all connections are closed.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let _ = (listener, &self.config, self.clock.now());
        stop.cancelled().await;
    }

    /// Serves `/metrics`, `/healthz`, `/readyz` and `/admin/…` until `stop`.
    pub async fn serve_admin(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        drop(listener);
        stop.cancelled().await;
    }
}
