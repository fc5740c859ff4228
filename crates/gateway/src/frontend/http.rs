//! How are HTTP clients served?
//!
//! HTTP/1.0, HTTP/1.1 and HTTP/2 with prior knowledge on one port, told apart by their first bytes.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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
    header_read_timeout: Duration,
    retry_after_seconds: u64,
}

impl Settings {
    pub(crate) fn of(gateway: &Gateway) -> Self {
        Self {
            max_connections: gateway.config.max_connections,
            header_read_timeout: Duration::from_millis(gateway.config.header_read_timeout_ms),
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
        let (socket, client) = match accepted {
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
        let serving = one(socket, client, settings, closing.clone(), answer.clone());
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

/// Serves one connection until it ends.
async fn one<F>(
    socket: TcpStream,
    client: SocketAddr,
    settings: Settings,
    closing: CancellationToken,
    answer: impl Answer<F>,
) where
    F: Future<Output = Response<Reply>> + Send + 'static,
{
    // Failing to turn off a delay costs time, not correctness.
    let _ = socket.set_nodelay(true);
    // The protocol is told by the first bytes, and only then do its own limits count.
    let mut byte = [0];
    let first = tokio::time::timeout(settings.header_read_timeout, socket.peek(&mut byte));
    let spoke = tokio::select! {
        spoke = first => matches!(spoke, Ok(Ok(1))),
        () = closing.cancelled() => false,
    };
    if !spoke {
        return;
    }
    let service = service_fn(move |request| {
        let answered = answer(request, Some(client.ip()));
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_read_timeout)
        .http2()
        .timer(TokioTimer::new());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "client connection ended early");
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
