//! How does one connection carry requests, over whatever bytes come and go on?

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::route;
use super::shell::Shell;

/// An idle connection is closed after this, as uvicorn does.
const IDLE: Duration = Duration::from_secs(5);
/// Bytes of an answer that wait for a slow reader; tokens beyond them wait unformatted in the mailbox. Also
/// the limit of a request's headers.
const BUFFER_BYTES: usize = 64 * 1024;
/// Streams one HTTP/2 connection may open at once.
const MAX_STREAMS: u32 = 1024;

/// Serves HTTP/1.1 or HTTP/2 (by its preface) until either side closes or `stop` is cancelled and the
/// requests under way are answered.
pub(crate) async fn serve<IO>(shell: Arc<Shell>, io: IO, peer: SocketAddr, stop: CancellationToken)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(BUFFER_BYTES);
    let service = service_fn(move |request| route::answer(Arc::clone(&shell), peer, request));
    let connection = builder.serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}
