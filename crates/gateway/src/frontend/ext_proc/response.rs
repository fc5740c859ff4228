//! What becomes of a request once it was sent to an endpoint?

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
use envoy_types::pb::envoy::service::ext_proc::v3 as ext;
use fleet::Failure;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use kv_index::Slot;
use memchr::memmem;
use scheduler::Decision;
use tokio::time::Instant;

use super::answer::{self, Direction, Response};
use super::exchange::Modes;
use super::head;
use super::picker::Picker;
use super::tally::Tally;
use crate::attempt::Attempt;
use crate::fingerprint::Fingerprint;
use crate::gateway::Gateway;
use crate::headers;
use crate::pick;
use crate::record::Record;
use crate::route::Pool;
use crate::watch::Watch;

/// A stream that ends this soon after its response's headers, with an event stream still to come, was closed by a
/// data plane that does not wait for the response's end.
const TOO_SOON: Duration = Duration::from_millis(2);

/// Request header by which the field's conformance suite chooses endpoints, and response header that tells it who
/// served.
const STEERING: &str = "test-epp-endpoint-selection";
const SERVED_ECHO: &str = "x-conformance-test-served-endpoint";

/// Everything a request takes along.
pub(super) struct Takeoff {
    pub(super) gateway: Arc<Gateway>,
    pub(super) picker: Arc<Picker>,
    pub(super) pool: Arc<Pool>,
    pub(super) fingerprint: Fingerprint,
    pub(super) decision: Decision,
    pub(super) picked_at: Duration,
    pub(super) attempt: Attempt,
    pub(super) record: Box<Record>,
    pub(super) tally: Tally,
    pub(super) undo: Option<Undo>,
    pub(super) stream: bool,
}

/// A request at its endpoint, and its response on the way back.
pub(super) struct Flying {
    with: Takeoff,
    watch: Watch,
    /// `None` before the response's headers.
    status: Option<StatusCode>,
    headers_at: Option<Instant>,
    events: bool,
    /// Whether the body is sent to us.
    shows_body: bool,
    first_byte_told: bool,
    over: bool,
}

/// A rewritten model name, to be the client's again in the response.
pub(super) struct Undo {
    /// What an engine writes, with and without a blank, and what stands for it.
    replacements: [(String, String); 2],
}

impl Undo {
    pub(super) fn new(target: &str, asked: &str) -> Self {
        let pair = |blank: &str| {
            (
                format!("\"model\":{blank}\"{target}\""),
                format!("\"model\":{blank}\"{asked}\""),
            )
        };
        Self {
            replacements: [pair(""), pair(" ")],
        }
    }

    /// The piece with the client's name; `None` where there is nothing to undo.
    fn apply(&self, piece: &[u8]) -> Option<Vec<u8>> {
        let (from, to) = self
            .replacements
            .iter()
            .find(|(from, _)| memmem::find(piece, from.as_bytes()).is_some())?;
        let mut out = Vec::with_capacity(piece.len());
        let mut rest = 0;
        for at in memmem::find_iter(piece, from.as_bytes()) {
            out.extend_from_slice(&piece[rest..at]);
            out.extend_from_slice(to.as_bytes());
            rest = at + from.len();
        }
        out.extend_from_slice(&piece[rest..]);
        Some(out)
    }
}

impl Flying {
    pub(super) fn new(with: Takeoff) -> Self {
        Self {
            with,
            watch: Watch::Nothing,
            status: None,
            headers_at: None,
            events: false,
            shows_body: true,
            first_byte_told: false,
            over: false,
        }
    }

    pub(super) fn decided_in(&self, spent: Duration) {
        self.with.picker.figures.decided(spent);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The response has begun.
    pub(super) fn headers(
        &mut self,
        message: &ext::HttpHeaders,
        served: Option<&str>,
        modes: Modes,
    ) -> Response {
        let start = head::response(message);
        if let Some(served) = served {
            self.correct(served);
        }
        self.status = Some(start.status);
        self.headers_at = Some(Instant::now());
        self.with.record.status = start.status.as_u16();
        let feedback = self.with.picker.config.feedback;
        let kind = content_type(&start.headers);
        self.events = kind.eq_ignore_ascii_case("text/event-stream");
        self.watch = match (start.status.is_success() && feedback, self.events) {
            (true, true) => Watch::events(),
            (true, false) if kind.eq_ignore_ascii_case("application/json") => Watch::json(),
            _ => Watch::Nothing,
        };
        self.shows_body = modes.shows_response(feedback);
        let counts = &self.with.picker.counts;
        match self.shows_body {
            true => counts.responses_observed.fetch_add(1, Relaxed),
            false => counts.responses_skipped.fetch_add(1, Relaxed),
        };
        let override_mode = !feedback && modes.response != BodySendMode::None;
        let mode = override_mode.then(|| modes.skip_response());
        let mut added = self.added_headers();
        added.extend(served.and_then(|served| self.conformance_echo(served)));
        let said = answer::response_headers(&added, Vec::new(), mode);
        if message.end_of_stream {
            self.land();
        } else if !self.shows_body {
            // Nothing else will tell that the prompt was worked off.
            self.first_byte();
        }
        said
    }

    /// What we and plugins add to the response.
    fn added_headers(&self) -> Vec<(String, HeaderValue)> {
        let with = &self.with;
        let mut added = Vec::new();
        let yes = HeaderValue::from_static("true");
        added.push(("x-went-into-resp-headers".to_owned(), yes));
        let fleet = with.pool.fleet();
        let view = fleet.view();
        let row = view.row_of.get(with.attempt.slot().index());
        let info = row
            .copied()
            .flatten()
            .and_then(|row| view.infos.get(row as usize));
        if let Some(info) = info {
            let of_stages = pick::stage_response_headers(fleet, &with.decision);
            let named = fleet.profile().response_headers(info).into_iter();
            let named = named.chain(of_stages);
            added.extend(
                named.filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?))),
            );
        }
        if with.gateway.config.response_headers {
            let cached = with.attempt.predicted_cached_tokens();
            let name = with.record.endpoint.as_deref().unwrap_or_default();
            let endpoint = HeaderValue::from_str(name).ok();
            added.extend(endpoint.map(|name| (headers::ENDPOINT.to_string(), name)));
            added.push((headers::CACHED_TOKENS.to_string(), cached.into()));
        }
        added
    }

    /// The field's conformance suite, whose steering header some plugin is configured to read, wants to see who
    /// served.
    fn conformance_echo(&self, served: &str) -> Option<(String, HeaderValue)> {
        let profile = self.with.pool.fleet().profile();
        let steered = profile.headers().iter().any(|name| name == STEERING);
        let value = HeaderValue::from_str(served).ok().filter(|_| steered)?;
        Some((SERVED_ECHO.to_owned(), value))
    }

    /// The data plane says who served. Where that is another endpoint than the one meant, load and index move there.
    fn correct(&mut self, served: &str) {
        let with = &mut self.with;
        let fleet = Arc::clone(with.pool.fleet());
        let view = fleet.view();
        let meant = view.get(with.attempt.slot());
        if meant.is_some_and(|meant| &*meant.spec.address == served) {
            return;
        }
        with.picker.counts.served_elsewhere.fetch_add(1, Relaxed);
        let found = view
            .endpoints
            .iter()
            .find(|endpoint| &*endpoint.spec.address == served);
        let Some(found) = found else {
            return;
        };
        // Down its own list means that the first failed; anywhere else the data plane had reasons of its own.
        if with.decision.preferences.contains(&found.slot) {
            with.attempt.failed_before(Failure::Reset);
            with.record.attempts += 1;
        }
        if let Some(attempt) = self.reserve(found.slot) {
            let with = &mut self.with;
            with.attempt = attempt;
            with.record.endpoint = Some(Arc::clone(&found.spec.name));
            with.record.predicted_cached_tokens = with.attempt.predicted_cached_tokens();
        }
    }

    fn reserve(&self, slot: Slot) -> Option<Attempt> {
        let with = &self.with;
        let fleet = with.pool.fleet();
        let now = with.gateway.clock.now();
        let (mut reservation, beside) =
            pick::again(fleet, &with.fingerprint, &with.decision, slot, now)?;
        // The client has waited since the first pick.
        reservation.picked_at = with.picked_at;
        let clock = with.gateway.clock.clone();
        Some(Attempt::new(Arc::clone(fleet), clock, reservation).with(beside))
    }

    /// A piece of the response's body. It goes on at once, whatever is made of it.
    pub(super) fn body(
        &mut self,
        body: ext::HttpBody,
        mode: BodySendMode,
        say: &mut VecDeque<Response>,
    ) {
        let ends = body.end_of_stream || body.end_of_stream_without_message;
        let piece = self.see(body.body);
        if !piece.is_empty() {
            self.first_byte();
        }
        let undone = self.with.undo.as_ref().and_then(|undo| undo.apply(&piece));
        let full_duplex = matches!(mode, BodySendMode::FullDuplexStreamed | BodySendMode::Grpc);
        if full_duplex {
            let pieces = vec![undone.unwrap_or(piece)];
            Direction::Response.pieces(pieces, ends, |piece| say.push_back(piece));
        } else {
            say.push_back(match undone {
                Some(undone) => Direction::Response.replace(undone),
                None => Direction::Response.go_on(),
            });
        }
        // Buffered, the body is in one message, though trailers may follow.
        if ends || mode == BodySendMode::Buffered {
            self.land();
        }
    }

    /// Reads along and gives the piece back.
    fn see(&mut self, piece: Vec<u8>) -> Vec<u8> {
        self.with.tally.piece(piece.len());
        if matches!(self.watch, Watch::Nothing) || piece.is_empty() {
            self.tell_content(!piece.is_empty());
            return piece;
        }
        let piece = Bytes::from(piece);
        let content = self.watch.see(&piece).is_none_or(|seen| seen.content);
        self.tell_content(content);
        // Without copying, unless the watch keeps it.
        piece.into()
    }

    fn tell_content(&mut self, content: bool) {
        let with = &mut self.with;
        if content {
            with.record.first_content();
        }
        if let Watch::Events(events) = &mut self.watch
            && let Some(id) = events.seen.response_id.take()
        {
            with.record.learn_response(&id, with.attempt.slot());
        }
    }

    pub(super) fn trailers(&mut self, say: &mut VecDeque<Response>) {
        self.land();
        say.push_back(Direction::Response.trailers());
    }

    fn first_byte(&mut self) {
        if !std::mem::replace(&mut self.first_byte_told, true)
            && self.status.is_some_and(|status| status.is_success())
        {
            self.with.attempt.first_byte();
            self.with.record.first_content();
            self.with.tally.first_byte();
        }
    }

    /// The response has ended as it should.
    fn land(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.first_byte();
        let status = self.status.unwrap_or(StatusCode::OK);
        let with = &mut self.with;
        with.attempt.usage = self.watch.usage();
        let in_band = matches!(&self.watch, Watch::Events(events) if events.seen.is_failure());
        if in_band {
            with.attempt.failed_after(Failure::InBand);
        } else if is_engine_failure(status) {
            with.attempt.failed_before(Failure::Status(status.as_u16()));
        } else {
            with.attempt.complete(status.as_u16());
        }
        if with.record.wants_response_id()
            && let Some(id) = self.watch.json_id()
        {
            with.record.learn_response(&id, with.attempt.slot());
        }
        self.close(if in_band { "in-band error" } else { "complete" });
    }

    fn close(&mut self, end: &'static str) {
        self.over = true;
        let with = &mut self.with;
        with.record.usage = with.attempt.usage;
        with.record.end = end;
        with.record.permit = None;
        with.tally.ended(&with.record, with.stream);
    }

    /// The gRPC stream is over; where the response's end was not seen, this is all that tells of it.
    pub(super) fn stream_ended(&mut self) {
        if self.over {
            return;
        }
        let done = matches!(&self.watch, Watch::Events(events) if events.seen.done);
        match self.headers_at {
            None => self.close("client gone"),
            // Shown nothing of the body: the stream lasts as long as the response.
            Some(at) if !self.shows_body => {
                if self.events && at.elapsed() < TOO_SOON {
                    let unseen = &self.with.picker.counts.ends_unseen;
                    if unseen.fetch_add(1, Relaxed) == 0 {
                        tracing::warn!(
                            "the data plane leaves when a response begins, and load is given back too early: \
                             set `response_trailer_mode: SEND`; response_ends_unseen in /admin/state counts on"
                        );
                    }
                }
                self.land();
            }
            Some(_) if done => self.land(),
            Some(_) => {
                self.with.attempt.usage = self.watch.usage();
                self.close("client gone");
            }
        }
    }
}

fn is_engine_failure(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// The media type without parameters.
fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE);
    let text = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewritten_model_is_undone() {
        let undo = Undo::new("big-v2", "big");
        for (piece, expected) in [
            (
                r#"{"model":"big-v2","x":"big-v2"}"#,
                Some(r#"{"model":"big","x":"big-v2"}"#),
            ),
            (
                r#"{"model": "big-v2"} {"model": "big-v2"}"#,
                Some(r#"{"model": "big"} {"model": "big"}"#),
            ),
            (r#"{"model":"other"}"#, None),
        ] {
            let undone = undo.apply(piece.as_bytes());
            assert_eq!(undone.as_deref(), expected.map(str::as_bytes), "{piece}");
        }
    }
}
