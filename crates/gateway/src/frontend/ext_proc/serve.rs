//! How are a data plane's connections served?

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessorServer;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use super::health;
use super::picker::Picker;
use super::process::Process;
use super::tls::Certificates;
use crate::gateway::Gateway;

/// Pause after the system refused a new connection, so that a lack of file handles is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Longest time for a peer to agree on TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// After the drain: how long streams still have whose request is not decided, or that the data plane holds open.
const GRACE: Duration = Duration::from_secs(10);

/// Bytes on their way on one stream, and on all of a connection. A stream holds at most a request body, whose bound
/// is the gateway's.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Streams open at once on one connection.
const MAX_STREAMS: u32 = 65_536;

/// Whose calls are answered on a port.
#[derive(Clone)]
enum Calls {
    Picker(ExternalProcessorServer<Process>, Arc<Gateway>),
    Health(Arc<Gateway>),
}

/// Serves data planes until `stop`; then says that it is not ready, serves on for the drain time, and lets streams
/// end.
pub(crate) async fn serve(
    gateway: Arc<Gateway>,
    picker: Arc<Picker>,
    listener: TcpListener,
    tls: Option<Certificates>,
    stop: CancellationToken,
) {
    let leaving = CancellationToken::new();
    let process = Process {
        gateway: Arc::clone(&gateway),
        picker: Arc::clone(&picker),
        leaving: leaving.clone(),
    };
    let server = ExternalProcessorServer::new(process)
        .max_decoding_message_size(picker.config.max_message_bytes)
        .max_encoding_message_size(usize::MAX);
    let closing = CancellationToken::new();
    let accepting = connections(
        listener,
        tls,
        Calls::Picker(server, Arc::clone(&gateway)),
        closing.clone(),
    );
    let watching = async {
        stop.cancelled().await;
        gateway.begin_draining();
        tokio::time::sleep(picker.config.drain_timeout).await;
        leaving.cancel();
        closing.cancel();
    };
    tokio::join!(accepting, watching);
}

/// Serves the health port until `stop`.
pub(crate) async fn serve_health(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    stop: CancellationToken,
) {
    connections(listener, None, Calls::Health(gateway), stop).await;
}

async fn connections(
    listener: TcpListener,
    tls: Option<Certificates>,
    calls: Calls,
    closing: CancellationToken,
) {
    let open = TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let acceptor = tls.as_ref().map(Certificates::acceptor);
        let (calls, closing, cut) = (calls.clone(), closing.clone(), cut.clone());
        open.spawn(async move {
            tokio::select! {
                () = secured(socket, acceptor, calls, closing) => {}
                () = cut.cancelled() => {}
            }
        });
    }
    drop(listener);
    open.close();
    if tokio::time::timeout(GRACE, open.wait()).await.is_err() {
        tracing::warn!(
            connections = open.len(),
            "closing connections of the data plane"
        );
        cut.cancel();
        open.wait().await;
    }
}

async fn secured(
    socket: TcpStream,
    acceptor: Option<TlsAcceptor>,
    calls: Calls,
    closing: CancellationToken,
) {
    // Failing to turn off a delay costs time, not correctness.
    let _ = socket.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        return one(socket, calls, closing).await;
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await {
        Ok(Ok(secured)) => one(secured, calls, closing).await,
        Ok(Err(error)) => tracing::debug!(%error, "a peer did not agree on TLS"),
        Err(_) => tracing::debug!("a peer took too long to agree on TLS"),
    }
}

/// Serves one connection until it ends.
async fn one(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    calls: Calls,
    closing: CancellationToken,
) {
    let service = service_fn(move |request| route(calls.clone(), request));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        // A data plane ends every stream by resetting it; that is no attack, and closing the connection for it would
        // take all other streams along.
        .max_pending_accept_reset_streams(MAX_STREAMS as usize)
        .max_local_error_reset_streams(None)
        .keep_alive_interval(Some(Duration::from_secs(60)));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "connection of a data plane ended early");
    }
}

async fn route(
    calls: Calls,
    request: Request<Incoming>,
) -> Result<http::Response<tonic::body::Body>, Infallible> {
    let is_health = request.uri().path().starts_with(health::PATH);
    match calls {
        Calls::Picker(_, gateway) | Calls::Health(gateway) if is_health => {
            health::answer(gateway, request).await
        }
        Calls::Picker(mut server, _) => server.call(request).await,
        Calls::Health(_) => Ok(health::unimplemented_call()),
    }
}
