//! What carries a client's bytes, and what was heard of it?

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Sleep;

/// A client's connection. A client that takes nothing of what waits for it ends it.
pub(super) struct Door {
    read: OwnedReadHalf,
    /// Read already, to tell the protocol by.
    begun: Bytes,
    threshold: Arc<Threshold>,
    /// Longest time for nothing to be taken.
    patience: Duration,
    /// Runs while something waits to be taken.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// The part of a door that outlives whoever speaks HTTP through it, for a last word.
pub(super) struct Threshold {
    write: Mutex<OwnedWriteHalf>,
    /// Bytes came since the last ones went out.
    heard: AtomicBool,
}

impl Threshold {
    pub(super) fn new(write: OwnedWriteHalf) -> Arc<Self> {
        Arc::new(Self {
            write: Mutex::new(write),
            heard: AtomicBool::new(false),
        })
    }

    /// Whether the client has said something that nothing was answered to.
    pub(super) fn is_owed_an_answer(&self) -> bool {
        self.heard.load(Relaxed)
    }

    /// Writes as much of `words` as the connection takes at once.
    pub(super) fn say(&self, words: &[u8]) {
        // Whether the client hears it is its own affair; the connection ends either way.
        let _ = self.write.lock().try_write(words);
    }
}

impl Door {
    pub(super) fn new(
        read: OwnedReadHalf,
        begun: Bytes,
        threshold: Arc<Threshold>,
        patience: Duration,
    ) -> Self {
        Self {
            read,
            begun,
            threshold,
            patience,
            stalled: None,
        }
    }

    /// What a write came to; one that waits for too long has failed.
    fn written(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            self.threshold.heard.store(false, Relaxed);
            return written;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        stalled
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Door {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let door = self.get_mut();
        if !door.begun.is_empty() {
            let bytes = door.begun.len().min(buffer.remaining());
            buffer.put_slice(&door.begun[..bytes]);
            door.begun.advance(bytes);
            door.threshold.heard.store(true, Relaxed);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut door.read).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            door.threshold.heard.store(true, Relaxed);
        }
        read
    }
}

impl AsyncWrite for Door {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let door = self.get_mut();
        let written = {
            let mut write = door.threshold.write.lock();
            Pin::new(&mut *write).poll_write_vectored(cx, pieces)
        };
        door.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.threshold.write.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.threshold.write.lock()).poll_shutdown(cx)
    }
}
