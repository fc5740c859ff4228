//! In which pieces does an answer leave, and what can go wrong on the way?

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{self, StreamExt};
use http_body::{Frame, SizeHint};

use super::reply;
use crate::fault::{Fault, Kind};

/// A fault wants the connection closed here.
#[derive(Debug, thiserror::Error)]
#[error("connection cut by an injected fault")]
pub(crate) struct Cut;

/// A break right behind a chunk would take the chunk along.
const CUT_AFTER: Duration = Duration::from_millis(20);

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, Cut>> + Send>>;

/// The body of an answer: whole, or chunk by chunk.
pub(crate) enum Body {
    Full(Option<Bytes>),
    Chunks(Chunks),
}

impl Body {
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self::Full((!bytes.is_empty()).then_some(bytes))
    }

    pub(crate) fn chunks(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self::Chunks(Box::pin(chunks.map(Ok)))
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Chunks(_))
    }

    /// Bytes of a whole body; 0 for a stream, which ends later than anyone asks.
    pub(crate) fn known_bytes(&self) -> u64 {
        match self {
            Self::Full(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::Chunks(_) => 0,
        }
    }

    /// The same body under a fault of the answer stage.
    pub(crate) fn with(self, fault: &Fault) -> Self {
        let (chunks, after) = match self {
            Self::Chunks(chunks) => (chunks, fault.after as usize),
            // A whole body has no chunks to count: half of it passes, a drip takes small bites.
            Self::Full(bytes) => {
                let bytes = bytes.unwrap_or_default();
                let bite = if fault.kind == Kind::Drip {
                    64
                } else {
                    bytes.len().div_ceil(2)
                };
                (whole_in_bites(bytes, bite), 1)
            }
        };
        let delay = Duration::from_millis(fault.delay_ms);
        Self::Chunks(match fault.kind {
            Kind::Stall => Box::pin(chunks.take(after).chain(stream::pending())),
            Kind::Cut => Box::pin(chunks.take(after).chain(stream::once(cut()))),
            Kind::Error => {
                let last = [
                    reply::error_event(),
                    Bytes::from_static(super::stream::DONE),
                ];
                Box::pin(chunks.take(after).chain(stream::iter(last.map(Ok))))
            }
            Kind::Drip => Box::pin(chunks.then(move |chunk| async move {
                tokio::time::sleep(delay).await;
                chunk
            })),
            _ => chunks,
        })
    }
}

/// Breaks the body off, once what was sent before has had time to leave.
async fn cut() -> Result<Bytes, Cut> {
    tokio::time::sleep(CUT_AFTER).await;
    Err(Cut)
}

fn whole_in_bites(bytes: Bytes, bite: usize) -> Chunks {
    Box::pin(stream::unfold(bytes, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        let next = rest.split_to(bite.clamp(1, rest.len()));
        Some((Ok(next), rest))
    }))
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Chunks(chunks) => chunks
                .as_mut()
                .poll_next(cx)
                .map(|chunk| chunk.map(|chunk| chunk.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Chunks(_) => SizeHint::default(),
        }
    }
}
