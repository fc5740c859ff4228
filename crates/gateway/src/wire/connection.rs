//! What happens on one connection to an engine?

use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use hyper::body::{Body, Frame, Incoming};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::Sleep;

use super::body::Piece;
use super::{Framing, ResponseHead, socket::Socket};

/// Room made for one read, bytes.
const READ_BYTES: usize = 16 << 10;

/// The same once a response has shown to be large.
const LARGE_READ_BYTES: usize = 64 << 10;

/// A body of at least this many bytes is read in larger pieces.
const LARGE_BODY_BYTES: u64 = 256 << 10;

/// How speaking to an engine can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireError {
    /// It closed or reset the connection before the message was over.
    Closed,
    /// What it said was not HTTP.
    Protocol,
    /// The client broke off its request body, or it grew too large: no fault of the engine.
    Client(BodyFault),
}

/// What was wrong with a request body that is passed on as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    Broken,
    TooLarge,
    Slow,
}

/// A request body.
pub(crate) enum Payload {
    /// All here; can be sent again.
    Whole(Bytes),
    /// Passed on as it comes; can be sent once.
    Stream(Box<Streamed>),
}

impl Payload {
    /// Its length; `None` for one that comes in chunks.
    pub(crate) fn length_bytes(&self) -> Option<u64> {
        match self {
            Self::Whole(body) => Some(body.len() as u64),
            Self::Stream(stream) => stream.length_bytes,
        }
    }
}

/// A body on its way through.
pub(crate) struct Streamed {
    pub(crate) body: Incoming,
    /// Its announced length; `None` for chunked.
    pub(crate) length_bytes: Option<u64>,
    /// Bytes that may still come.
    pub(crate) allowance_bytes: u64,
    /// Whether some of it was taken, so that it cannot be sent again.
    pub(crate) begun: bool,
    ended: bool,
    /// Longest silence of the client.
    silence: Duration,
    /// Runs while the client is silent.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Streamed {
    pub(crate) fn new(
        body: Incoming,
        length_bytes: Option<u64>,
        max_bytes: u64,
        silence: Duration,
    ) -> Self {
        Self {
            body,
            length_bytes,
            allowance_bytes: max_bytes,
            begun: false,
            ended: false,
            silence,
            timer: None,
        }
    }

    /// The client's next frame, unless it is silent for too long.
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, BodyFault>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.timer = None;
            return Poll::Ready(frame.transpose().map_err(|_| BodyFault::Broken));
        }
        let silence = self.silence;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(silence)));
        timer.as_mut().poll(cx).map(|()| Err(BodyFault::Slow))
    }
}

/// An open connection and what was read of it but not used yet.
pub(crate) struct Connection {
    socket: Socket,
    buffer: BytesMut,
    /// It carried a request before: its end may be the engine's idle limit and says nothing.
    pub(crate) reused: bool,
    large: bool,
    /// A byte of the current response has arrived.
    pub(crate) answered: bool,
}

impl Connection {
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            socket,
            buffer: BytesMut::new(),
            reused: false,
            large: false,
            answered: false,
        }
    }

    /// Whether it can take another request: nothing unread, nothing said unasked.
    pub(crate) fn is_clean(&self) -> bool {
        self.buffer.is_empty() && self.socket.is_silent()
    }

    /// Frees the read buffer beyond what the next small response needs.
    pub(crate) fn rest(&mut self) {
        self.buffer = BytesMut::new();
        self.reused = true;
        self.large = false;
    }

    /// Sends a request and reads the head of its response. Reading goes on while sending, since an engine may
    /// refuse a body before it has seen it all.
    pub(crate) async fn exchange(
        &mut self,
        method: &Method,
        head: Vec<u8>,
        payload: &mut Payload,
    ) -> Result<ResponseHead, WireError> {
        self.answered = false;
        let mut sending = Sending::new(head, payload);
        poll_fn(|cx| {
            // A failed write is not yet an answer: the engine may have said why before it closed.
            let sent = sending.poll(&mut self.socket, cx);
            if let Poll::Ready(Err(WireError::Client(fault))) = sent {
                return Poll::Ready(Err(WireError::Client(fault)));
            }
            loop {
                if let Some(head) = ResponseHead::take(&mut self.buffer, method)? {
                    return Poll::Ready(Ok(self.begin_body(head, sent.is_ready())));
                }
                match self.poll_fill(cx) {
                    Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => {
                        return Poll::Ready(Err(WireError::Closed));
                    }
                    Poll::Ready(Ok(_)) => self.answered = true,
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    fn begin_body(&mut self, mut head: ResponseHead, sent: bool) -> ResponseHead {
        // What is left of the request would be taken for the next one.
        head.keep_alive &= sent;
        self.large = matches!(head.framing, Framing::Length(bytes) if bytes >= LARGE_BODY_BYTES);
        head
    }

    /// The next piece of a response body; `None` at its end.
    pub(crate) fn poll_body(
        &mut self,
        framing: &mut Framing,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, WireError>>> {
        loop {
            match framing.take(&mut self.buffer) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::More) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => {
                    return Poll::Ready(framing.closed().err().map(Err));
                }
                Ok(_) => {}
                Err(_) => return Poll::Ready(Some(Err(WireError::Closed))),
            }
        }
    }

    /// Reads what the socket has; 0 at its end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let room = self.buffer.capacity() - self.buffer.len();
        if room < READ_BYTES / 8 {
            let bytes = if self.large {
                LARGE_READ_BYTES
            } else {
                READ_BYTES
            };
            self.buffer.reserve(bytes);
        }
        // Holds no state between polls, so a new one each time loses nothing.
        let read = pin!(self.socket.read_buf(&mut self.buffer));
        read.poll(cx)
    }
}

/// A request on its way out.
struct Sending<'a> {
    /// Head, and framing of streamed pieces.
    head: Bytes,
    body: Bytes,
    /// Where further pieces come from.
    stream: Option<&'a mut Streamed>,
    flushed: bool,
}

impl<'a> Sending<'a> {
    fn new(head: Vec<u8>, payload: &'a mut Payload) -> Self {
        let (body, stream) = match payload {
            Payload::Whole(body) => (body.clone(), None),
            Payload::Stream(streamed) => (Bytes::new(), Some(&mut **streamed)),
        };
        Self {
            head: Bytes::from(head),
            body,
            stream,
            flushed: false,
        }
    }

    /// Ready once everything is sent, or failed.
    fn poll(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        loop {
            while self.head.has_remaining() || self.body.has_remaining() {
                let pieces = [IoSlice::new(&self.head), IoSlice::new(&self.body)];
                let skip = usize::from(self.head.is_empty());
                let written =
                    ready!(Pin::new(&mut *socket).poll_write_vectored(cx, &pieces[skip..]));
                let written = match written {
                    Ok(0) | Err(_) => return Poll::Ready(Err(WireError::Closed)),
                    Ok(written) => written,
                };
                let of_head = written.min(self.head.len());
                self.head.advance(of_head);
                self.body.advance(written - of_head);
                self.flushed = false;
            }
            match self.stream.as_deref_mut() {
                Some(stream) if !stream.ended => {
                    let (head, body) = match ready!(poll_piece(stream, cx)) {
                        Ok(piece) => piece,
                        Err(fault) => return Poll::Ready(Err(WireError::Client(fault))),
                    };
                    (self.head, self.body) = (head, body);
                }
                _ if self.flushed => return Poll::Ready(Ok(())),
                _ => {
                    let flushed = ready!(Pin::new(&mut *socket).poll_flush(cx));
                    self.flushed = true;
                    if flushed.is_err() {
                        return Poll::Ready(Err(WireError::Closed));
                    }
                }
            }
        }
    }
}

/// The client's next piece and what frames it: nothing for a known length, else a chunk's size line, which also
/// closes the chunk before it.
fn poll_piece(
    stream: &mut Streamed,
    cx: &mut Context<'_>,
) -> Poll<Result<(Bytes, Bytes), BodyFault>> {
    let chunked = stream.length_bytes.is_none();
    loop {
        let frame = match ready!(stream.poll_frame(cx)) {
            Ok(frame) => frame,
            Err(fault) => return Poll::Ready(Err(fault)),
        };
        let data = match frame {
            Some(frame) => match frame.into_data() {
                Ok(data) if data.is_empty() => continue,
                Ok(data) => data,
                Err(_trailers) => continue,
            },
            None => {
                stream.ended = true;
                let last: &'static [u8] = match (chunked, stream.begun) {
                    (true, true) => b"\r\n0\r\n\r\n",
                    (true, false) => b"0\r\n\r\n",
                    (false, _) => b"",
                };
                stream.begun = true;
                return Poll::Ready(Ok((Bytes::from_static(last), Bytes::new())));
            }
        };
        let bytes = data.len() as u64;
        if bytes > stream.allowance_bytes {
            return Poll::Ready(Err(BodyFault::TooLarge));
        }
        stream.allowance_bytes -= bytes;
        let line = match (chunked, stream.begun) {
            (true, true) => Bytes::from(format!("\r\n{bytes:x}\r\n")),
            (true, false) => Bytes::from(format!("{bytes:x}\r\n")),
            (false, _) => Bytes::new(),
        };
        stream.begun = true;
        return Poll::Ready(Ok((line, data)));
    }
}
