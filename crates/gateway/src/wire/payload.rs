//! What is a request's body while it is on its way out?

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use tokio::time::Sleep;

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
    /// Passed on as it comes; can be sent again while all that came is kept.
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

    /// Whether it can be sent (once more) from its beginning.
    pub(crate) fn can_be_sent(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Stream(stream) => stream.kept.is_some(),
        }
    }
}

/// What bounds a body on its way through.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Its announced length; `None` for chunked.
    pub(crate) length_bytes: Option<u64>,
    /// Bytes that may come.
    pub(crate) max_bytes: u64,
    /// Bytes kept so that they can be sent again.
    pub(crate) max_kept_bytes: u64,
    /// Longest silence of the client.
    pub(crate) silence: Duration,
}

/// A body on its way through.
pub(crate) struct Streamed {
    body: Incoming,
    length_bytes: Option<u64>,
    /// Bytes that may still come.
    allowance_bytes: u64,
    /// Bytes that may still be kept.
    keepable_bytes: u64,
    /// All that came so far; `None` once that was too much to keep.
    kept: Option<Vec<Bytes>>,
    /// The client's end was reached.
    ended: bool,
    /// Pieces of `kept` that this sending has behind it.
    resent: usize,
    /// A chunk was begun in this sending.
    begun: bool,
    /// This sending is over.
    closed: bool,
    silence: Duration,
    /// Runs while the client is silent.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Streamed {
    pub(crate) fn new(body: Incoming, bounds: Bounds) -> Self {
        Self {
            body,
            length_bytes: bounds.length_bytes,
            allowance_bytes: bounds.max_bytes,
            keepable_bytes: bounds.max_kept_bytes,
            kept: Some(Vec::new()),
            ended: false,
            resent: 0,
            begun: false,
            closed: false,
            silence: bounds.silence,
            timer: None,
        }
    }

    /// Before it is sent, the first time or once more.
    pub(super) fn rewind(&mut self) {
        self.resent = 0;
        self.begun = false;
        self.closed = false;
    }

    /// The next piece and what frames it: nothing for a known length, else a chunk's size line, which also closes
    /// the chunk before it. `None` at the end.
    pub(super) fn poll_framed(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<(Bytes, Bytes)>, BodyFault>> {
        if self.closed {
            return Poll::Ready(Ok(None));
        }
        let data = ready!(self.poll_data(cx))?;
        let chunked = self.length_bytes.is_none();
        let line = match (chunked, self.begun, &data) {
            (false, ..) => Bytes::new(),
            (true, true, Some(data)) => Bytes::from(format!("\r\n{:x}\r\n", data.len())),
            (true, false, Some(data)) => Bytes::from(format!("{:x}\r\n", data.len())),
            (true, true, None) => Bytes::from_static(b"\r\n0\r\n\r\n"),
            (true, false, None) => Bytes::from_static(b"0\r\n\r\n"),
        };
        self.begun = true;
        self.closed = data.is_none();
        Poll::Ready(Ok(Some((line, data.unwrap_or_default()))))
    }

    /// The next bytes, kept ones first; `None` at the end.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        if let Some(again) = self.kept.as_ref().and_then(|kept| kept.get(self.resent)) {
            self.resent += 1;
            return Poll::Ready(Ok(Some(again.clone())));
        }
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        let Some(data) = ready!(self.poll_client(cx))? else {
            self.ended = true;
            return Poll::Ready(Ok(None));
        };
        let bytes = data.len() as u64;
        let Some(allowance_bytes) = self.allowance_bytes.checked_sub(bytes) else {
            return Poll::Ready(Err(BodyFault::TooLarge));
        };
        self.allowance_bytes = allowance_bytes;
        match (self.keepable_bytes.checked_sub(bytes), &mut self.kept) {
            (Some(left), Some(kept)) => {
                self.keepable_bytes = left;
                kept.push(data.clone());
                self.resent += 1;
            }
            _ => self.kept = None,
        }
        Poll::Ready(Ok(Some(data)))
    }

    /// The client's next bytes, unless it is silent for too long.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        while let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.timer = None;
            let frame = frame.transpose().map_err(|_| BodyFault::Broken)?;
            let Some(frame) = frame else {
                return Poll::Ready(Ok(None));
            };
            // Trailers concern nobody here.
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return Poll::Ready(Ok(Some(data)));
            }
        }
        let silence = self.silence;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(silence)));
        timer.as_mut().poll(cx).map(|()| Err(BodyFault::Slow))
    }
}
