//! How are HTTP clients served?
//!
//! Accepts their connections, and lets those end that are open when a stop is asked for; `client.rs` serves one.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client;
use crate::admit::Gate;
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::path;
use crate::reply::Reply;

/// Pause after the system refused a new connection, so that a lack of file handles is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often idle connections to engines are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

/// Longest time to tell a client that there are too many connections.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(200);

/// Serves clients of the data path until `stop`, then drains.
pub(crate) async fn serve(gateway: Arc<Gateway>, listener: TcpListener, stop: CancellationToken) {
    let closing = CancellationToken::new();
    let delay = Duration::from_millis(gateway.config.drain_delay_ms);
    let drain_timeout = Duration::from_millis(gateway.config.drain_timeout_ms);
    let accepting = connections(
        listener,
        Settings::of(&gateway),
        closing.clone(),
        drain_timeout,
        {
            let gateway = Arc::clone(&gateway);
            move |request, client| path::carry(Arc::clone(&gateway), request, client)
        },
    );
    let watching = async {
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = sweep.tick() => sweep_connections(&gateway),
            }
        }
        gateway.begin_draining();
        tokio::time::sleep(delay).await;
        closing.cancel();
    };
    tokio::join!(accepting, watching);
}

fn sweep_connections(gateway: &Gateway) {
    let routes = gateway.routes.load();
    gateway.connections.sweep(|url| {
        routes.pools.iter().any(|pool| {
            let view = pool.fleet().view();
            view.endpoints
                .iter()
                .any(|endpoint| &*endpoint.spec.url == url)
        })
    });
}

/// What bounds client connections.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    max_connections: usize,
    pub(super) header_read_timeout: Duration,
    pub(super) client_write_timeout: Duration,
    retry_after_seconds: u64,
}

impl Settings {
    pub(crate) fn of(gateway: &Gateway) -> Self {
        Self {
            max_connections: gateway.config.max_connections,
            header_read_timeout: Duration::from_millis(gateway.config.header_read_timeout_ms),
            client_write_timeout: Duration::from_millis(gateway.config.client_write_timeout_ms),
            retry_after_seconds: gateway.config.retry_after_seconds,
        }
    }
}

/// Something that answers requests.
pub(crate) trait Answer<F>:
    Fn(Request<Incoming>, Option<IpAddr>) -> F + Clone + Send + 'static
{
}

impl<F, A: Fn(Request<Incoming>, Option<IpAddr>) -> F + Clone + Send + 'static> Answer<F> for A {}

/// Accepts connections until `closing`, then lets requests in flight end within `drain_timeout`.
pub(crate) async fn connections<F>(
    listener: TcpListener,
    settings: Settings,
    closing: CancellationToken,
    drain_timeout: Duration,
    answer: impl Answer<F>,
) where
    F: Future<Output = Response<Reply>> + Send + 'static,
{
    let gate = Gate::new(settings.max_connections);
    let open = TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(permit) = gate.admit() else {
            let refusal = Refusal::Connections {
                retry_after_seconds: settings.retry_after_seconds,
            };
            open.spawn(say_goodbye(socket, refusal.write_http1()));
            continue;
        };
        let serving = client::serve(socket, address, settings, closing.clone(), answer.clone());
        let cut = cut.clone();
        open.spawn(async move {
            tokio::select! {
                () = serving => {}
                () = cut.cancelled() => {}
            }
            drop(permit);
        });
    }
    drop(listener);
    open.close();
    if tokio::time::timeout(drain_timeout, open.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            connections = open.len(),
            "drain timed out; closing connections"
        );
        cut.cancel();
        open.wait().await;
    }
}

async fn say_goodbye(mut socket: TcpStream, words: Vec<u8>) {
    // Whether the client hears it is its own affair; it is not let in either way.
    let said = async {
        let _ = socket.write_all(&words).await;
        let _ = socket.shutdown().await;
    };
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, said).await;
}
