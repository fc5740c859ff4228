//! Which ports do the engines listen on?

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context;

/// Port of the first engine of `up`; the next ones follow.
pub(crate) const FIRST_ENGINE_PORT: u16 = 8101;

/// `count` ports from `first` on, or any free ones when `first` is 0.
///
/// # Errors
/// One of the ports is in use, or there are not that many ports above `first`.
pub(crate) fn choose(first: u16, count: u16) -> anyhow::Result<Vec<u16>> {
    // All are held until all are chosen, so that no free port is handed out twice.
    let mut held = Vec::new();
    for i in 0..count {
        let wanted = if first == 0 {
            0
        } else {
            first
                .checked_add(i)
                .context("engine ports run past 65535")?
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, wanted));
        let listener = TcpListener::bind(address).map_err(|error| {
            anyhow::anyhow!("port {wanted} for engine {} is not free ({error}); choose others with --engine-port", i + 1)
        })?;
        held.push(listener);
    }
    held.iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}
