//! What body does a client get?

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::flight::{Broken, Flight};

/// A response body: one of our own, or an engine's on its way through.
pub(crate) enum Reply {
    Whole(Option<Bytes>),
    Passing(Box<Flight>),
}

impl Reply {
    pub(crate) fn whole(body: impl Into<Bytes>) -> Self {
        Self::Whole(Some(body.into()))
    }

    pub(crate) fn empty() -> Self {
        Self::Whole(None)
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(body) => Poll::Ready(
                body.take()
                    .filter(|body| !body.is_empty())
                    .map(|body| Ok(Frame::data(body))),
            ),
            Self::Passing(flight) => flight
                .poll_piece(cx)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.as_ref().is_none_or(Bytes::is_empty),
            Self::Passing(flight) => flight.has_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Self::Passing(flight) => match flight.remaining_bytes() {
                Some(bytes) => SizeHint::with_exact(bytes),
                None => SizeHint::default(),
            },
        }
    }
}
