//! Which endpoint is an engine that connected to us?
//!
//! Engines whose `--kv-events-config` names a host connect to it and publish there. Each connection is one engine's;
//! the topic of its first message says whose.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine_api::kv_events::{Batch, Frames, Topic};
use engine_api::zmtp::SocketType;
use fleet::EndpointSpec;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::address::Address;
use super::socket::{Connection, Message, Wire};
use super::source::host;
use crate::PoolError;
use crate::config::setting;
use crate::membership::Membership;

/// Engines that may be connected at once.
const MAX_CONNECTIONS: usize = 4_096;

/// Spacing of looks for the endpoint of a connection that belongs to none yet.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Listens for engines.
pub(crate) struct Listener {
    socket: Socket,
    topic: String,
}

enum Socket {
    Tcp(TcpListener),
    Ipc(UnixListener, PathBuf),
}

impl Listener {
    /// Listens on `bind`.
    ///
    /// # Errors
    /// The address is taken or is none.
    pub(crate) async fn bind(bind: &str, topic: &str) -> Result<Self, PoolError> {
        let wrong = |reason: String| setting("kv_events.bind", &format!("`{bind}` {reason}"));
        let cannot = |error: std::io::Error| wrong(format!("cannot be listened on: {error}"));
        let socket = match Address::parse(bind).map_err(wrong)? {
            Address::Tcp(host, port) => {
                let host = if host == "*" { "0.0.0.0" } else { &host };
                Socket::Tcp(TcpListener::bind((host, port)).await.map_err(cannot)?)
            }
            Address::Ipc(path) => {
                // What a killed process left behind refuses connections; a living one accepts them.
                if std::os::unix::net::UnixStream::connect(&path).is_err() {
                    let _ = std::fs::remove_file(&path);
                }
                Socket::Ipc(UnixListener::bind(&path).map_err(cannot)?, path)
            }
        };
        Ok(Self {
            socket,
            topic: topic.to_owned(),
        })
    }

    /// Takes engines in until stopped.
    pub(crate) async fn run(
        self,
        membership: Arc<Membership>,
        stop: CancellationToken,
        tracker: TaskTracker,
    ) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let accepting = async {
            loop {
                let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                    return;
                };
                let Some((wire, peer)) = self.socket.accept().await else {
                    // Out of file handles, most likely: others must end first.
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                };
                let (membership, topic) = (Arc::clone(&membership), self.topic.clone());
                let stopped = stop.clone();
                tracker.spawn(async move {
                    let _permit = permit;
                    let taking = take(wire, peer, &topic, &membership);
                    stopped.run_until_cancelled(taking).await;
                });
            }
        };
        stop.run_until_cancelled(accepting).await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Self::Ipc(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Socket {
    async fn accept(&self) -> Option<(Box<dyn Wire>, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await.ok()?;
                Some((Box::new(stream), Some(peer.ip())))
            }
            Self::Ipc(listener, _) => {
                let (stream, _) = listener.accept().await.ok()?;
                Some((Box::new(stream), None))
            }
        }
    }
}

/// Shakes hands, waits for the first message, and gives the connection to the endpoint it names.
async fn take(wire: Box<dyn Wire>, peer: Option<IpAddr>, topic: &str, membership: &Membership) {
    let peer_name = peer.map_or_else(|| "a local socket".to_owned(), |peer| peer.to_string());
    let first = async {
        let mut connection = Connection::accepted(wire, SocketType::Sub).await?;
        connection.subscribe(topic).await?;
        let message = connection.receive().await?;
        Ok::<_, super::socket::SocketError>((connection, message))
    };
    let (mut connection, message) = match first.await {
        Ok(first) => first,
        Err(error) => {
            tracing::warn!(peer = peer_name, %error, "KV-cache events: a connection is of no use");
            return;
        }
    };
    let mut told = false;
    loop {
        let found = membership.find(|specs| whose(&message, peer, specs));
        if let Some(watched) = found {
            connection.put_back(message);
            *watched.kv_inbox.lock() = Some(connection);
            watched.kv_arrived.notify_one();
            return;
        }
        if !told {
            told = true;
            let topic = message.first().map(|topic| String::from_utf8_lossy(topic));
            tracing::warn!(
                peer = peer_name,
                topic = topic.as_deref().unwrap_or_default(),
                "KV-cache events: an engine publishes that is no endpoint of the pool; its topic must be \
                 kv@<endpoint>@<model>"
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Number of the endpoint that `message` is from.
fn whose(message: &Message, peer: Option<IpAddr>, specs: &[&EndpointSpec]) -> Option<usize> {
    let frames: Vec<&[u8]> = message.iter().map(Vec::as_slice).collect();
    let frames = Frames::of(&frames).ok()?;
    let peer = peer.map(|peer| peer.to_canonical().to_string());
    let is = |spec: &EndpointSpec| match Topic::parse(frames.topic) {
        Some(topic) => {
            let name = topic.endpoint;
            let pod = spec.name.rsplit_once('/').map(|(_, pod)| pod);
            name == &*spec.name || name == &*spec.address || name == host(spec) || pod == Some(name)
        }
        None => peer.as_deref() == Some(host(spec)),
    };
    let named: Vec<usize> = (0..specs.len())
        .filter(|number| is(specs[*number]))
        .collect();
    let rank = match named.as_slice() {
        [] => return None,
        [only] => return Some(*only),
        _ => Batch::decode(frames.payload).ok()?.rank,
    };
    // Several of one name are the ranks of one engine; without their own they cannot be told apart.
    let mut of_rank = named
        .into_iter()
        .filter(|number| specs[*number].rank.is_some() && specs[*number].rank == rank);
    of_rank.next().filter(|_| of_rank.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint_from_url;

    #[test]
    fn topics_and_hosts_say_whose_it_is() {
        let spec = |url: &str, rank| EndpointSpec {
            rank,
            ..endpoint_from_url(url).unwrap()
        };
        let mut pod = spec("http://10.0.0.9:8000", None);
        pod.name = "space/pod-1".into();
        let specs = [
            spec("http://10.0.0.7:8000", None),
            spec("http://10.0.0.8:8000", Some(0)),
            spec("http://10.0.0.8:8000", Some(1)),
            pod,
        ];
        let specs: Vec<&EndpointSpec> = specs.iter().collect();
        let check = |topic: &str, peer: &str, rank: u8, expected: Option<usize>| {
            let message = vec![
                topic.as_bytes().to_vec(),
                vec![0; 8],
                vec![0x93, 0, 0x90, rank],
            ];
            let peer = Some(peer.parse().unwrap());
            assert_eq!(whose(&message, peer, &specs), expected, "{topic} {peer:?}");
        };
        check("kv@10.0.0.7:8000@m", "1.1.1.1", 0, Some(0));
        check("kv@10.0.0.7@m", "1.1.1.1", 0, Some(0));
        check("kv@pod-1@m", "1.1.1.1", 0, Some(3));
        check("kv@space/pod-1@m", "1.1.1.1", 0, Some(3));
        check("kv@other@m", "10.0.0.7", 0, None);
        check("", "10.0.0.7", 0, Some(0));
        check("", "10.0.0.6", 0, None);
        check("", "10.0.0.8", 1, Some(2));
        check("kv@10.0.0.8@m", "10.0.0.8", 0, Some(1));
        check("kv@10.0.0.8@m", "10.0.0.8", 5, None);
    }
}
