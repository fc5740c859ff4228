//! How does an engine's response reach the client, and how does that end?
//!
//! The client's task reads the engine's connection itself. A clean end gives the connection back; a break before
//! the first byte is told to whoever tries endpoints; a break after it ends an event stream with an error event
//! and any other body visibly short. The attempt's outcome is told exactly once, a vanished client included.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fleet::Failure;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use tokio::time::{Instant, Sleep};

use crate::attempt::Attempt;
use crate::body::is_encoded;
use crate::error;
use crate::record::Record;
use crate::rename::Rename;
use crate::tail::Tail;
use crate::watch::Watch;
use crate::wire::{Connection, Framing, ResponseHead, Target, WireError};

/// What has come of a response is looked through up to this many bytes, before any is passed on, for a break right
/// behind it.
const MAX_HELD_BYTES: usize = 64 << 10;

/// A whole answer up to this size is held until its end where the model's name in it is changed, so that its new length
/// can be announced; a longer one is passed on without a length.
const MAX_RENAMED_BYTES: u64 = 1 << 20;

/// The transfer to the client is broken off, so that it cannot be taken for a whole one.
#[derive(Debug, thiserror::Error)]
#[error("the engine broke off its response")]
pub(crate) struct Broken;

/// Times that bound a response body.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) idle: Duration,
    /// End of the whole request.
    pub(crate) deadline: Instant,
    pub(crate) max_idle_connections: usize,
}

/// A response on its way through.
pub(crate) struct Flight {
    /// `None` once over.
    line: Option<Line>,
    /// Read but not passed on yet.
    ready: VecDeque<Bytes>,
    /// Puts the client's name for the model back.
    rename: Option<Rename>,
    /// Set when the response is an event stream.
    tail: Option<Tail>,
    watch: Watch,
    pub(crate) attempt: Attempt,
    /// Set once this response is the one passed on.
    pub(crate) record: Option<Box<Record>>,
    status: u16,
    passed: bool,
    /// A piece was given away that may not be on the wire yet.
    unflushed: bool,
    /// A break that waits for it.
    broken: Option<Failure>,
    limits: Limits,
    last_piece: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The connection and what of the body it still owes.
struct Line {
    connection: Connection,
    framing: Framing,
    keep_alive: bool,
    target: Arc<Target>,
}

/// What came next.
enum Next {
    Piece(Bytes),
    End,
    Failed(Failure),
}

impl Flight {
    /// Takes over `connection` after `head` was read from it.
    pub(crate) fn new(
        connection: Connection,
        target: Arc<Target>,
        head: &mut ResponseHead,
        attempt: Attempt,
        limits: Limits,
        asked: Option<&str>,
    ) -> Self {
        let good = head.status.is_success();
        let events = is_type(&head.headers, "text/event-stream");
        let json = is_type(&head.headers, "application/json");
        let watch = match (good, events) {
            (true, true) => Watch::events(),
            (true, false) if json => Watch::json(),
            _ => Watch::Nothing,
        };
        let readable = (events || json) && !is_encoded(&head.headers);
        let empty = head.framing == Framing::Length(0);
        let asked = asked.filter(|_| readable && !empty);
        if asked.is_some() {
            head.headers.remove(CONTENT_LENGTH);
        }
        // An event can be appended only where nothing announced the length.
        let open_ended = !matches!(head.framing, Framing::Length(_));
        Self {
            line: Some(Line {
                connection,
                framing: std::mem::replace(&mut head.framing, Framing::Length(0)),
                keep_alive: head.keep_alive,
                target,
            }),
            ready: VecDeque::new(),
            rename: asked.map(|asked| Rename::new(asked, events)),
            tail: (events && open_ended).then(Tail::default),
            watch,
            attempt,
            record: None,
            status: head.status.as_u16(),
            passed: false,
            unflushed: false,
            broken: None,
            limits,
            last_piece: Instant::now(),
            timer: None,
        }
    }

    /// Reads until there is a byte to pass on, or the body has ended without one; and on, while bytes are at hand.
    ///
    /// # Errors
    /// A break before anything was passed on; also an error event that comes before any content. The latter's bytes are
    /// kept, so that the response can still be passed on.
    pub(crate) async fn first_byte(&mut self) -> Result<(), Failure> {
        let whole = self.wants_whole();
        let mut held_bytes = 0;
        while let Some(next) = poll_fn(|cx| self.poll_early(whole, cx)).await {
            match next {
                Next::Piece(piece) => {
                    held_bytes += piece.len();
                    self.ready.push_back(piece);
                    if held_bytes > MAX_HELD_BYTES && !whole {
                        break;
                    }
                }
                Next::End => break,
                Next::Failed(_) if self.all_said() => {
                    self.land_broken();
                    break;
                }
                Next::Failed(failure) => {
                    self.ready.clear();
                    return Err(failure);
                }
            }
        }
        match &self.watch {
            Watch::Events(events) if events.seen.is_failure() && !events.seen.content => {
                return Err(Failure::InBand);
            }
            _ => {}
        }
        if self.line.is_none() {
            self.settle();
        }
        Ok(())
    }

    /// What comes next before anything is passed on; nothing once there is something to pass on and no more at hand.
    fn poll_early(&mut self, whole: bool, cx: &mut Context<'_>) -> Poll<Option<Next>> {
        match self.poll_next(cx) {
            Poll::Ready(next) => Poll::Ready(Some(next)),
            Poll::Pending if self.ready.is_empty() => Poll::Pending,
            Poll::Pending if whole => self.poll_limits(cx).map(|it| Some(Next::Failed(it))),
            Poll::Pending => Poll::Ready(None),
        }
    }

    /// Whether the answer's length must be known before it is passed on, and can be.
    fn wants_whole(&self) -> bool {
        let framing = self.line.as_ref().map(|line| &line.framing);
        let short = matches!(framing, Some(Framing::Length(bytes)) if *bytes <= MAX_RENAMED_BYTES);
        self.rename.is_some() && self.tail.is_none() && short
    }

    /// The next piece for the client; `None` at the end.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Some(ready) = self.ready.pop_front() {
            self.begin_passing();
            return Poll::Ready(Some(Ok(ready)));
        }
        let next = match self.broken.take() {
            Some(failure) => Poll::Ready(Next::Failed(failure)),
            None => self.poll_next(cx),
        };
        let next = match next {
            Poll::Pending => self.poll_limits(cx).map(Next::Failed),
            ready => ready,
        };
        match next {
            Poll::Ready(Next::Piece(piece)) => {
                self.begin_passing();
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(Next::End) => Poll::Ready(None),
            Poll::Ready(Next::Failed(failure)) if self.unflushed => {
                // Told at once, the break would take what was given away before it with it, the head included.
                self.unflushed = false;
                self.broken = Some(failure);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Next::Failed(failure)) => Poll::Ready(self.break_off(failure)),
            Poll::Pending => {
                self.unflushed = false;
                Poll::Pending
            }
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.line.is_none() && self.ready.is_empty()
    }

    /// Bytes still to be passed on, where the engine announced them.
    pub(crate) fn remaining_bytes(&self) -> Option<u64> {
        let ready = self.ready.iter().map(Bytes::len).sum::<usize>() as u64;
        match &self.line {
            None => Some(ready),
            Some(Line {
                framing: Framing::Length(left),
                ..
            }) if self.tail.is_none() && self.rename.is_none() => Some(ready + left),
            Some(_) => None,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            let Some(line) = &mut self.line else {
                return Poll::Ready(Next::End);
            };
            let piece = match line.connection.poll_body(&mut line.framing, cx) {
                Poll::Ready(Some(Ok(piece))) => piece,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Next::Failed(failure(error))),
                Poll::Ready(None) => {
                    let rest = self.tail.as_mut().map(Tail::rest).unwrap_or_default();
                    self.land();
                    return Poll::Ready(if rest.is_empty() {
                        Next::End
                    } else {
                        Next::Piece(rest)
                    });
                }
                Poll::Pending => return Poll::Pending,
            };
            let over = line.framing == Framing::Length(0);
            self.last_piece = Instant::now();
            self.look(&piece);
            let piece = match &mut self.rename {
                Some(rename) => rename.edit(piece),
                None => piece,
            };
            let piece = match &mut self.tail {
                Some(tail) => tail.pass(piece),
                None => piece,
            };
            if over {
                self.land();
            }
            if !piece.is_empty() {
                return Poll::Ready(Next::Piece(piece));
            }
        }
    }

    /// Reads along, and keeps what concerns others.
    fn look(&mut self, piece: &Bytes) {
        let content = match self.watch.see(piece) {
            Some(seen) => seen.content,
            None => true,
        };
        self.tell_record(content);
    }

    /// Tells the record what is known by now.
    fn tell_record(&mut self, content: bool) {
        let Some(record) = &mut self.record else {
            return;
        };
        if content {
            record.first_content();
        }
        if let Watch::Events(events) = &mut self.watch
            && let Some(id) = events.seen.response_id.take()
        {
            record.learn_response(&id, self.attempt.slot());
        }
    }

    /// This response is the one passed on, under `record`.
    pub(crate) fn board(&mut self, mut record: Box<Record>) {
        record.status = self.status;
        record.predicted_cached_tokens = self.attempt.predicted_cached_tokens();
        self.record = Some(record);
        let content = match &self.watch {
            Watch::Events(events) => events.seen.content,
            _ => !self.ready.is_empty(),
        };
        self.tell_record(content);
        if self.line.is_none() {
            self.close_record(self.end_word());
        }
    }

    /// The first byte goes out.
    fn begin_passing(&mut self) {
        self.unflushed = true;
        if !self.passed {
            self.passed = true;
            self.reached_first_byte();
        }
    }

    fn reached_first_byte(&mut self) {
        if (200..300).contains(&self.status) {
            self.attempt.first_byte();
        }
    }

    /// The body has ended as it should: the connection is free, the attempt over.
    fn land(&mut self) {
        let Some(line) = self.line.take() else { return };
        if line.keep_alive {
            line.target
                .keep(line.connection, self.limits.max_idle_connections);
        }
        self.attempt.usage = self.watch.usage();
        // Before anything was passed on, whoever waits for the first byte decides what becomes of a failure.
        if self.passed || !self.failed_in_band() {
            self.settle();
        }
    }

    /// Tells how a response ended that was read to its end; later calls are nothing.
    fn settle(&mut self) {
        self.reached_first_byte();
        match self.failed_in_band() {
            true => self.attempt.failed_after(Failure::InBand),
            false => self.attempt.complete(self.status),
        }
        self.close_record(self.end_word());
    }

    fn failed_in_band(&self) -> bool {
        matches!(&self.watch, Watch::Events(events) if events.seen.is_failure())
    }

    fn end_word(&self) -> &'static str {
        match self.failed_in_band() {
            true => "in-band error",
            false => "complete",
        }
    }

    /// Whether everything was said, so that how the connection ends is of no interest to anyone.
    fn all_said(&self) -> bool {
        matches!(&self.watch, Watch::Events(events) if events.seen.done)
    }

    /// The connection broke after everything was said.
    fn land_broken(&mut self) {
        if let Some(line) = &mut self.line {
            line.framing = Framing::Length(0);
            line.keep_alive = false;
        }
        self.land();
    }

    /// The engine broke off, or fell silent for too long.
    fn break_off(&mut self, failure: Failure) -> Option<Result<Bytes, Broken>> {
        if self.all_said() {
            self.land_broken();
            return None;
        }
        self.line = None;
        self.attempt.usage = self.watch.usage();
        self.attempt.failed_after(failure);
        self.close_record("broken off");
        let Some(tail) = &mut self.tail else {
            return Some(Err(Broken));
        };
        let mut last = Vec::new();
        if tail.abandon() {
            last.extend_from_slice(b"\n\n");
        }
        last.extend_from_slice(&error::in_band(failure));
        Some(Ok(Bytes::from(last)))
    }

    /// Ready when the body has been silent for too long, or the request takes too long.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        loop {
            let due = (self.last_piece + self.limits.idle).min(self.limits.deadline);
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= due {
                return Poll::Ready(Failure::IdleTimeout);
            }
            // It was set before the latest piece came; not moving it with each piece keeps pieces cheap.
            timer.as_mut().reset(due);
        }
    }

    fn close_record(&mut self, end: &'static str) {
        let Some(mut record) = self.record.take() else {
            return;
        };
        if record.wants_response_id()
            && let Some(id) = self.watch.json_id()
        {
            record.learn_response(&id, self.attempt.slot());
        }
        record.usage = self.attempt.usage;
        record.end = end;
    }
}

fn failure(error: WireError) -> Failure {
    match error {
        WireError::Closed | WireError::Client(_) => Failure::Reset,
        WireError::Protocol => Failure::Protocol,
    }
}

fn is_type(headers: &HeaderMap, expected: &str) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media = value.and_then(|value| value.split(';').next());
    media.is_some_and(|media| media.trim().eq_ignore_ascii_case(expected))
}
