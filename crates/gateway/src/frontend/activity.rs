//! Since when has nobody asked anything on a connection that can carry many requests, and which response does its client
//! take nothing of?

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::flight::Broken;
use crate::reply::Reply;

/// Responses remembered beyond twice those that are open, before ended ones are forgotten.
const SPARE_RESPONSES: usize = 8;

/// The requests of one connection.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<State>>);

struct State {
    open: usize,
    /// When the last request ended, or the connection began.
    quiet_since: Instant,
    /// Responses on their way, and some that have ended.
    responses: Vec<Weak<Mutex<Carried>>>,
}

/// One request, until its response has ended.
pub(super) struct Open(Activity);

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            open: 0,
            quiet_since: Instant::now(),
            responses: Vec::new(),
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

    /// Ends every response of which the client has taken nothing for `patience` although there is something to take.
    pub(super) fn end_untaken(&self, patience: Duration) {
        let responses: Vec<_> = {
            let mut state = self.0.lock();
            state.responses.retain(|carried| carried.strong_count() > 0);
            state.responses.iter().filter_map(Weak::upgrade).collect()
        };
        for carried in responses {
            // Dropped with no lock held: the end of a response has much to tell.
            let ended = carried.lock().take_untaken(patience);
            drop(ended);
        }
    }

    fn watch(&self, carried: &Arc<Mutex<Carried>>) {
        let mut state = self.0.lock();
        if state.responses.len() > 2 * state.open + SPARE_RESPONSES {
            state.responses.retain(|carried| carried.strong_count() > 0);
        }
        state.responses.push(Arc::downgrade(carried));
    }
}

impl Open {
    /// `body` as the response to this request.
    pub(super) fn hold(self, body: Reply) -> Held {
        let activity = self.0.clone();
        let carried = Arc::new(Mutex::new(Carried {
            body: Some(body),
            waiting_since: None,
            open: Some(self),
        }));
        activity.watch(&carried);
        Held(carried)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.open -= 1;
        state.quiet_since = Instant::now();
    }
}

/// A response body that holds its request open, and that can be ended while nobody takes it.
pub(super) struct Held(Arc<Mutex<Carried>>);

struct Carried {
    /// `None` once it was ended.
    body: Option<Reply>,
    /// Since when a piece was given that the client had no room for yet; the next one is asked for once it had.
    waiting_since: Option<Instant>,
    open: Option<Open>,
}

impl Carried {
    fn take_untaken(&mut self, patience: Duration) -> Option<(Option<Reply>, Option<Open>)> {
        let waits = self.waiting_since?.elapsed() >= patience;
        waits.then(|| (self.body.take(), self.open.take()))
    }
}

impl Body for Held {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut carried = self.0.lock();
        let Some(body) = &mut carried.body else {
            return Poll::Ready(Some(Err(Broken)));
        };
        let polled = Pin::new(body).poll_frame(cx);
        carried.waiting_since = polled.is_ready().then(Instant::now);
        polled
    }

    fn is_end_stream(&self) -> bool {
        let carried = self.0.lock();
        carried.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let carried = self.0.lock();
        carried
            .body
            .as_ref()
            .map(Body::size_hint)
            .unwrap_or_default()
    }
}
