//! Which addresses does a name have right now?

use std::net::SocketAddr;

use fleet::{Change, EndpointSpec};
use tokio::sync::mpsc;

use super::resync;
use crate::config::ms;
use crate::{DnsConfig, endpoint_from_url};

const SOURCE: &str = "dns";

/// A name, and the addresses it last had.
pub(super) struct Dns {
    config: DnsConfig,
    last: Vec<SocketAddr>,
    failing: bool,
}

impl Dns {
    pub(super) fn new(config: DnsConfig) -> Self {
        Self {
            config,
            last: Vec::new(),
            failing: false,
        }
    }

    /// Sends each new membership until nobody listens.
    pub(super) async fn follow(mut self, changes: mpsc::Sender<Change>) {
        loop {
            let found = self.look_up().await;
            if let Some(change) = self.take(found)
                && changes.send(change).await.is_err()
            {
                return;
            }
            tokio::time::sleep(ms(self.config.interval_ms)).await;
        }
    }

    async fn look_up(&self) -> Result<Vec<SocketAddr>, String> {
        let name = (self.config.host.as_str(), self.config.port);
        match tokio::net::lookup_host(name).await {
            Ok(found) => Ok(found.collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A look-up that fails or finds nothing leaves the last view in force: a name server's trouble is no reason
    /// to send every endpoint away.
    fn take(&mut self, found: Result<Vec<SocketAddr>, String>) -> Option<Change> {
        let found = found.and_then(|found| {
            if found.is_empty() {
                Err("the name has no address".to_owned())
            } else {
                Ok(found)
            }
        });
        let mut found = match found {
            Ok(found) => found,
            Err(reason) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        host = self.config.host, %reason, endpoints = self.last.len(),
                        "name not resolved; the endpoints stay as they were"
                    );
                }
                return None;
            }
        };
        if std::mem::take(&mut self.failing) {
            tracing::info!(host = self.config.host, "name resolves again");
        }
        // Name servers turn the order to spread load.
        found.sort_unstable();
        found.dedup();
        if found == self.last {
            return None;
        }
        self.last = found;
        Some(resync(SOURCE, self.endpoints()))
    }

    fn endpoints(&self) -> Vec<EndpointSpec> {
        let scheme = self.config.scheme.name();
        let specs = self
            .last
            .iter()
            // An address and a port always make a URL.
            .filter_map(|address| endpoint_from_url(&format!("{scheme}://{address}")).ok());
        specs.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(change: Option<Change>) -> Option<Vec<String>> {
        match change? {
            Change::Resync { endpoints, .. } => Some(
                endpoints
                    .iter()
                    .map(|endpoint| endpoint.url.to_string())
                    .collect(),
            ),
            other => panic!("not a resync: {other:?}"),
        }
    }

    #[test]
    fn only_a_new_set_of_addresses_is_a_change() {
        let mut dns = Dns::new(DnsConfig {
            host: "engines".to_owned(),
            ..DnsConfig::default()
        });
        let mut check = |found: Result<&[&str], &str>, expected: Option<&[&str]>| {
            let found = found
                .map(|all| all.iter().map(|one| one.parse().unwrap()).collect())
                .map_err(str::to_owned);
            let expected = expected.map(|all| all.iter().map(|one| (*one).to_owned()).collect());
            assert_eq!(names(dns.take(found)), expected);
        };
        check(Err("no such host"), None);
        check(
            Ok(&["10.0.0.2:80", "10.0.0.1:80", "10.0.0.2:80"]),
            Some(&["http://10.0.0.1:80", "http://10.0.0.2:80"]),
        );
        check(Ok(&["10.0.0.2:80", "10.0.0.1:80"]), None);
        check(Err("server failure"), None);
        check(Ok(&[]), None);
        check(Ok(&["10.0.0.1:80", "10.0.0.2:80"]), None);
        check(Ok(&["[fd00::1]:80"]), Some(&["http://[fd00::1]:80"]));
    }
}
