//! Which connection does a request go out on?

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use url::Url;

use super::{Connection, socket::Socket};

/// Idle connections are not used beyond this: engines close theirs after 5 s, and a race with that close costs a
/// round trip.
const MAX_IDLE: Duration = Duration::from_secs(4);

/// Why no connection could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// Nothing listens there.
    Refused,
    /// No answer in time, no route, no such name.
    Unreachable,
    /// The far end does not speak TLS as configured.
    Tls,
}

/// How an endpoint behind TLS is spoken to.
#[derive(Clone, Copy)]
pub(crate) struct Tls<'a> {
    pub(crate) config: &'a Arc<rustls::ClientConfig>,
    /// The name its certificate must carry, where that is not its host.
    pub(crate) server_name: Option<&'a str>,
}

/// An endpoint's address, taken apart once, and its idle connections.
pub(crate) struct Target {
    https: bool,
    host: String,
    port: u16,
    /// What `Host` says.
    pub(crate) authority: String,
    /// Stands before every path; empty, or `/…` without a trailing slash.
    pub(crate) base_path: String,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Target {
    fn parse(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        let authority = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str()?),
            None => url.host_str()?.to_owned(),
        };
        Some(Self {
            https: url.scheme() == "https",
            host,
            port: url.port_or_known_default()?,
            authority,
            base_path: url.path().trim_end_matches('/').to_owned(),
            idle: Mutex::default(),
        })
    }

    /// An idle connection that still looks alive, the latest used first.
    pub(crate) fn reuse(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        while let Some((connection, since)) = idle.pop() {
            if since.elapsed() > MAX_IDLE {
                // Those below it are older still.
                idle.clear();
                return None;
            }
            if connection.is_clean() {
                return Some(connection);
            }
        }
        None
    }

    /// Opens a connection.
    pub(crate) async fn connect(
        &self,
        timeout: Duration,
        tls: Option<Tls<'_>>,
    ) -> Result<Connection, ConnectError> {
        let open = tokio::time::timeout(timeout, self.open(tls));
        open.await.unwrap_or(Err(ConnectError::Unreachable))
    }

    async fn open(&self, tls: Option<Tls<'_>>) -> Result<Connection, ConnectError> {
        let socket = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::ConnectionRefused => ConnectError::Refused,
                _ => ConnectError::Unreachable,
            })?;
        // Failing to turn off a delay costs time, not correctness.
        let _ = socket.set_nodelay(true);
        if !self.https {
            return Ok(Connection::new(Socket::Plain(socket)));
        }
        let tls = tls.ok_or(ConnectError::Tls)?;
        let name = tls.server_name.unwrap_or(&self.host).to_owned();
        let name = ServerName::try_from(name).map_err(|_| ConnectError::Tls)?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(tls.config));
        let stream = connector.connect(name, socket).await.map_err(|error| {
            tracing::warn!(endpoint = self.authority, %error, "no TLS connection");
            ConnectError::Tls
        })?;
        Ok(Connection::new(Socket::Tls(Box::new(stream))))
    }

    /// Keeps a connection whose response has ended for the next request.
    pub(crate) fn keep(&self, mut connection: Connection, max_idle_connections: usize) {
        if !connection.is_clean() {
            return;
        }
        connection.rest();
        let mut idle = self.idle.lock();
        if idle.len() < max_idle_connections {
            idle.push((connection, Instant::now()));
        }
    }
}

/// Every endpoint's connections, by URL.
#[derive(Default)]
pub(crate) struct Connections {
    targets: RwLock<HashMap<Arc<str>, Arc<Target>>>,
}

impl Connections {
    /// The target behind `url`; `None` for what is no URL.
    pub(crate) fn target(&self, url: &Arc<str>) -> Option<Arc<Target>> {
        if let Some(target) = self.targets.read().get(url) {
            return Some(Arc::clone(target));
        }
        let target = Arc::new(Target::parse(url)?);
        let mut targets = self.targets.write();
        Some(Arc::clone(targets.entry(Arc::clone(url)).or_insert(target)))
    }

    /// Closes what was idle too long and forgets endpoints that `still_there` does not know.
    pub(crate) fn sweep(&self, still_there: impl Fn(&str) -> bool) {
        let mut targets = self.targets.write();
        targets.retain(|url, target| {
            target
                .idle
                .lock()
                .retain(|(_, since)| since.elapsed() <= MAX_IDLE);
            still_there(url)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let cases = [
            (
                "http://127.0.0.1:8101",
                "127.0.0.1",
                8101,
                "127.0.0.1:8101",
                "",
            ),
            ("http://engine", "engine", 80, "engine", ""),
            ("https://engine/base/", "engine", 443, "engine", "/base"),
            ("http://[::1]:8000/a/b", "::1", 8000, "[::1]:8000", "/a/b"),
        ];
        for (url, host, port, authority, base_path) in cases {
            let target = Target::parse(url).unwrap();
            let got = (
                target.host.as_str(),
                target.port,
                target.authority.as_str(),
                target.base_path.as_str(),
            );
            assert_eq!(got, (host, port, authority, base_path), "{url}");
        }
        assert!(Target::parse("engine:8000").is_none());
    }
}
