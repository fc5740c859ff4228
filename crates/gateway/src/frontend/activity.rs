//! Since when has nobody asked anything on a connection that can carry many requests?

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

/// The requests of one connection.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<State>>);

struct State {
    open: usize,
    /// When the last request ended, or the connection began.
    quiet_since: Instant,
}

/// One request, until its response has ended.
pub(super) struct Open(Activity);

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            open: 0,
            quiet_since: Instant::now(),
        })))
    }

    pub(super) fn begin(&self) -> Open {
        self.0.lock().open += 1;
        Open(self.clone())
    }

    /// When the connection will have been quiet for `limit`, as it is now.
    pub(super) fn quiet_at(&self, limit: Duration) -> Instant {
        let state = self.0.lock();
        match state.open {
            0 => state.quiet_since + limit,
            _ => Instant::now() + limit,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.open -= 1;
        state.quiet_since = Instant::now();
    }
}

/// A response body that holds its request open.
pub(super) struct Held<B> {
    pub(super) body: B,
    pub(super) _open: Open,
}

impl<B: Body + Unpin> Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
