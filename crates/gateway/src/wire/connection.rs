//! What happens on one connection to an engine?

use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::body::Piece;
use super::payload::{BodyFault, Payload, Streamed};
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
            Payload::Stream(streamed) => {
                streamed.rewind();
                (Bytes::new(), Some(&mut **streamed))
            }
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
            let piece = match self.stream.as_deref_mut() {
                Some(stream) => match ready!(stream.poll_framed(cx)) {
                    Ok(piece) => piece,
                    Err(fault) => return Poll::Ready(Err(WireError::Client(fault))),
                },
                None => None,
            };
            match piece {
                Some(piece) => (self.head, self.body) = piece,
                None if self.flushed => return Poll::Ready(Ok(())),
                None => {
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
