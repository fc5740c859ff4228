//! How is one client's connection served, and how long is it waited for?
//!
//! HTTP/1.0, HTTP/1.1 and HTTP/2 with prior knowledge are told apart by their first bytes. Who does not finish those,
//! a head, or the beginning of a request in time is not waited for any longer.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use http::Response;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use super::door::{Door, Threshold};
use super::http::{Answer, Settings};
use crate::error::Refusal;
use crate::reply::Reply;

/// How an HTTP/2 connection begins, RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of it that begin no method of HTTP/1.
const TELLING_BYTES: usize = 3;

/// Longest time for a quiet client to end its connection once it was told to.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(200);

/// Looks, in the time that a client may take nothing of a response, at which responses that is so for.
const LOOKS: u32 = 4;

/// Shortest time between two of them.
const MIN_BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// Serves one connection until it ends.
pub(super) async fn serve<F>(
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
    let (mut read, write) = socket.into_split();
    let threshold = Threshold::new(write);
    let mut begun = BytesMut::with_capacity(PREFACE.len());
    let protocol = tokio::time::timeout(
        settings.header_read_timeout,
        protocol(&mut read, &mut begun),
    );
    let protocol = tokio::select! {
        protocol = protocol => protocol,
        () = closing.cancelled() => return,
    };
    let Ok(protocol) = protocol else {
        if (1..TELLING_BYTES).contains(&begun.len()) {
            threshold.say(&Refusal::HeadSlow.write_http1());
        }
        return;
    };
    let door = |threshold| {
        Door::new(
            read,
            begun.freeze(),
            threshold,
            settings.client_write_timeout,
        )
    };
    match protocol {
        None => {}
        Some(Protocol::Http1) => {
            let ended = http1(door(threshold.clone()), client, settings, closing, answer).await;
            let slow = matches!(&ended, Err(error) if error.is_timeout());
            if slow && threshold.is_owed_an_answer() {
                threshold.say(&Refusal::HeadSlow.write_http1());
            }
        }
        Some(Protocol::Http2) => http2(door(threshold), client, settings, closing, answer).await,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Reads into `begun` until it tells the protocol; `None` for a client that left without a word.
async fn protocol(read: &mut OwnedReadHalf, begun: &mut BytesMut) -> Option<Protocol> {
    loop {
        match read.read_buf(begun).await {
            Ok(0) | Err(_) if begun.is_empty() => return None,
            Ok(0) | Err(_) => return Some(Protocol::Http1),
            Ok(_) => {}
        }
        if begun.starts_with(PREFACE) {
            return Some(Protocol::Http2);
        }
        if !PREFACE.starts_with(begun) {
            return Some(Protocol::Http1);
        }
    }
}

async fn http1<F>(
    door: Door,
    client: SocketAddr,
    settings: Settings,
    closing: CancellationToken,
    answer: impl Answer<F>,
) -> hyper::Result<()>
where
    F: Future<Output = Response<Reply>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answered = answer(request, Some(client.ip()));
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_read_timeout);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(door), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = &ended {
        tracing::trace!(%error, "client connection ended early");
    }
    ended
}

async fn http2<F>(
    door: Door,
    client: SocketAddr,
    settings: Settings,
    closing: CancellationToken,
    answer: impl Answer<F>,
) where
    F: Future<Output = Response<Reply>> + Send + 'static,
{
    let activity = Activity::new();
    let requests = activity.clone();
    let service = service_fn(move |request| {
        let open = requests.begin();
        let answered = answer(request, Some(client.ip()));
        async move { Ok::<_, Infallible>(answered.await.map(|body| open.hold(body))) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(door), service));
    let (limit, patience) = (settings.header_read_timeout, settings.client_write_timeout);
    let (mut leaving, mut told_at) = (false, None);
    let between_looks = (patience / LOOKS).max(MIN_BETWEEN_LOOKS);
    let mut look_at = Instant::now() + between_looks;
    loop {
        let due = match told_at {
            Some(told_at) => told_at + GOODBYE_TIMEOUT,
            None => activity.quiet_at(limit),
        };
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::trace!(%error, "client connection ended early");
                }
                return;
            }
            () = closing.cancelled(), if !leaving => {
                connection.as_mut().graceful_shutdown();
                leaving = true;
            }
            () = tokio::time::sleep_until(look_at) => {
                activity.end_untaken(patience);
                look_at = Instant::now() + between_looks;
            }
            () = tokio::time::sleep_until(due) => {
                if Instant::now() < activity.quiet_at(limit) {
                    told_at = None;
                } else if told_at.is_some() {
                    return;
                } else {
                    connection.as_mut().graceful_shutdown();
                    told_at = Some(Instant::now());
                }
            }
        }
    }
}
