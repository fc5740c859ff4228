//! Where in its life is one stream?

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::ProcessingMode;
use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::{
    BodySendMode, HeaderSendMode,
};
use envoy_types::pb::envoy::service::ext_proc::v3 as ext;
use ext::processing_request::Request as Heard;
use tokio::time::Instant;

use super::answer::{self, Direction, Response};
use super::head;
use super::picker::Picker;
use super::request::{Collecting, Turned};
use super::response::Flying;
use crate::gateway::Gateway;

/// How the data plane sends bodies. One that does not say is taken to do what the protocol asks for.
#[derive(Clone, Copy)]
pub(super) struct Modes {
    pub(super) request: BodySendMode,
    pub(super) response: BodySendMode,
}

impl Modes {
    fn of(message: &ext::ProcessingRequest) -> Self {
        let whole = BodySendMode::FullDuplexStreamed;
        match &message.protocol_config {
            None => Self {
                request: whole,
                response: whole,
            },
            Some(told) => Self {
                request: BodySendMode::try_from(told.request_body_mode).unwrap_or(whole),
                response: BodySendMode::try_from(told.response_body_mode).unwrap_or(whole),
            },
        }
    }

    /// Whether response bodies are sent to us: unless the data plane does not, or lets itself be told not to.
    pub(super) fn shows_response(self, feedback: bool) -> bool {
        let whole = BodySendMode::FullDuplexStreamed;
        let obeys = self.request != whole && self.response != whole;
        self.response != BodySendMode::None && (feedback || !obeys)
    }

    /// Asks for responses without their bodies. Trailers stay on, so that the stream lasts as long as the response
    /// does. A data plane in full duplex ignores this; then bodies come, and are passed on.
    pub(super) fn skip_response(self) -> ProcessingMode {
        ProcessingMode {
            request_header_mode: HeaderSendMode::Default as i32,
            response_header_mode: HeaderSendMode::Default as i32,
            request_body_mode: self.request as i32,
            response_body_mode: BodySendMode::None as i32,
            request_trailer_mode: HeaderSendMode::Default as i32,
            response_trailer_mode: HeaderSendMode::Send as i32,
        }
    }
}

enum State {
    Waiting,
    Collecting(Box<Collecting>),
    /// From the pick to the response's end.
    Flying(Box<Flying>),
    /// Nothing of this stream concerns us any more; what comes is passed on.
    Over,
}

/// One stream's state, and what is to be said.
pub(super) struct Exchange {
    gateway: Arc<Gateway>,
    picker: Arc<Picker>,
    modes: Modes,
    state: State,
    pub(super) say: VecDeque<Response>,
    /// Everything was said that will be: the stream ends.
    pub(super) closing: bool,
    /// The data plane only lets us listen.
    muted: bool,
    opened: Instant,
}

impl Exchange {
    pub(super) fn new(gateway: Arc<Gateway>, picker: Arc<Picker>) -> Self {
        picker.counts.streams.fetch_add(1, Relaxed);
        picker.counts.streams_open.fetch_add(1, Relaxed);
        picker.figures.stream_opened();
        Self {
            gateway,
            picker,
            modes: Modes {
                request: BodySendMode::FullDuplexStreamed,
                response: BodySendMode::FullDuplexStreamed,
            },
            state: State::Waiting,
            say: VecDeque::new(),
            closing: false,
            muted: false,
            opened: Instant::now(),
        }
    }

    /// Takes one message in; what is to be said to it is then in `say`.
    pub(super) async fn hear(&mut self, message: ext::ProcessingRequest) {
        self.muted |= message.observability_mode;
        let state = std::mem::replace(&mut self.state, State::Over);
        self.state = self.step(state, message).await;
        if self.muted {
            self.say.clear();
        }
    }

    /// Whether the request is decided and at most its response is still to come, so that the data plane can do
    /// without us.
    pub(super) fn is_past_request(&self) -> bool {
        matches!(self.state, State::Flying(_) | State::Over)
    }

    async fn step(&mut self, state: State, mut message: ext::ProcessingRequest) -> State {
        let Some(heard) = message.request.take() else {
            return state;
        };
        match (state, heard) {
            (State::Waiting, Heard::RequestHeaders(headers)) => {
                self.begin(&message, &headers).await
            }
            (State::Collecting(collecting), Heard::RequestBody(body)) => {
                self.collect(collecting, body).await
            }
            (State::Collecting(collecting), Heard::RequestTrailers(_)) => {
                let state = self.decide(collecting, false).await;
                if matches!(state, State::Flying(_)) {
                    self.say.push_back(Direction::Request.trailers());
                }
                state
            }
            (State::Flying(mut flying), Heard::ResponseHeaders(headers)) => {
                let served = head::served(&message);
                let said = flying.headers(&headers, served, self.modes);
                self.say.push_back(said);
                after(flying)
            }
            (State::Flying(mut flying), Heard::ResponseBody(body)) => {
                flying.body(body, self.modes.response, &mut self.say);
                after(flying)
            }
            (State::Flying(mut flying), Heard::ResponseTrailers(_)) => {
                flying.trailers(&mut self.say);
                after(flying)
            }
            // The end of the request told twice is no reason to say it twice.
            (State::Flying(flying), Heard::RequestBody(body)) => {
                self.pass_request_body(body);
                State::Flying(flying)
            }
            (State::Flying(flying), Heard::RequestTrailers(_)) => {
                self.say.push_back(Direction::Request.trailers());
                State::Flying(flying)
            }
            (state, heard) => {
                self.pass(heard);
                state
            }
        }
    }

    async fn begin(
        &mut self,
        message: &ext::ProcessingRequest,
        headers: &ext::HttpHeaders,
    ) -> State {
        self.modes = Modes::of(message);
        let among = head::subset(message.metadata_context.as_ref());
        let began = Collecting::begin(&self.gateway, &self.picker, headers, among);
        let collecting = match began {
            Ok(collecting) => Box::new(collecting),
            Err(turned) => return self.turn_away(turned),
        };
        let counts = &self.picker.counts;
        if headers.end_of_stream {
            counts.headers_only.fetch_add(1, Relaxed);
            return self.decide_by_headers(collecting).await;
        }
        match self.modes.request {
            BodySendMode::FullDuplexStreamed | BodySendMode::Grpc => {
                counts.full_duplex.fetch_add(1, Relaxed);
                State::Collecting(collecting)
            }
            BodySendMode::Buffered | BodySendMode::BufferedPartial => {
                counts.buffered.fetch_add(1, Relaxed);
                let skip = !self.picker.config.feedback;
                let mode = skip.then(|| self.modes.skip_response());
                self.say.push_back(answer::request_headers(mode));
                State::Collecting(collecting)
            }
            // The body comes, if at all, only after the request has gone on.
            BodySendMode::None | BodySendMode::Streamed => {
                counts.body_not_shown.fetch_add(1, Relaxed);
                self.decide_by_headers(collecting.unread()).await
            }
        }
    }

    async fn collect(&mut self, mut collecting: Box<Collecting>, body: ext::HttpBody) -> State {
        let is_last = body.end_of_stream || body.end_of_stream_without_message;
        if let Err(refusal) = collecting.push(body.body) {
            return self.turn_away(collecting.turn(refusal));
        }
        match self.modes.request {
            // The whole body is in one message, even when trailers follow.
            BodySendMode::Buffered => self.decide(collecting, true).await,
            BodySendMode::BufferedPartial if !is_last => {
                self.decide(collecting.unread(), true).await
            }
            BodySendMode::BufferedPartial => self.decide(collecting, true).await,
            _ if is_last => self.decide(collecting, true).await,
            _ => State::Collecting(collecting),
        }
    }

    /// The request is whole. `ends` unless trailers follow.
    async fn decide(&mut self, collecting: Box<Collecting>, ends: bool) -> State {
        let full_duplex = matches!(
            self.modes.request,
            BodySendMode::FullDuplexStreamed | BodySendMode::Grpc
        );
        match collecting.decide(full_duplex && ends).await {
            Err(turned) => self.turn_away(turned),
            Ok(mut decided) if full_duplex => {
                self.say.push_back(decided.destination.in_headers());
                let say = &mut self.say;
                let pieces = decided.take_pieces();
                Direction::Request.pieces(pieces, ends, |piece| say.push_back(piece));
                State::Flying(decided.flying)
            }
            Ok(decided) => {
                self.say
                    .push_back(decided.destination.in_body(decided.rewritten));
                State::Flying(decided.flying)
            }
        }
    }

    async fn decide_by_headers(&mut self, collecting: Box<Collecting>) -> State {
        match collecting.decide(false).await {
            Err(turned) => self.turn_away(turned),
            Ok(decided) => {
                self.say.push_back(decided.destination.in_headers());
                State::Flying(decided.flying)
            }
        }
    }

    fn turn_away(&mut self, turned: Box<Turned>) -> State {
        self.picker.counts.refused.fetch_add(1, Relaxed);
        self.say.push_back(turned.immediate());
        self.closing = true;
        State::Over
    }

    /// A further piece of a request that is decided.
    fn pass_request_body(&mut self, body: ext::HttpBody) {
        match self.modes.request {
            BodySendMode::FullDuplexStreamed | BodySendMode::Grpc => {
                let pieces = vec![body.body];
                let say = &mut self.say;
                Direction::Request.pieces(pieces, false, |piece| say.push_back(piece));
            }
            _ => self.say.push_back(Direction::Request.go_on()),
        }
    }

    /// Whatever comes outside the order of things goes on unchanged.
    fn pass(&mut self, heard: Heard) {
        let whole = |mode| matches!(mode, BodySendMode::FullDuplexStreamed | BodySendMode::Grpc);
        let (direction, mode, body) = match heard {
            Heard::RequestHeaders(_) => return self.say.push_back(answer::request_headers(None)),
            Heard::ResponseHeaders(_) => {
                let said = answer::response_headers(&[], Vec::new(), None);
                return self.say.push_back(said);
            }
            Heard::RequestTrailers(_) => {
                return self.say.push_back(Direction::Request.trailers());
            }
            Heard::ResponseTrailers(_) => {
                return self.say.push_back(Direction::Response.trailers());
            }
            Heard::RequestBody(body) => (Direction::Request, self.modes.request, body),
            Heard::ResponseBody(body) => (Direction::Response, self.modes.response, body),
        };
        if whole(mode) {
            let say = &mut self.say;
            let ends = body.end_of_stream;
            direction.pieces(vec![body.body], ends, |piece| say.push_back(piece));
        } else {
            self.say.push_back(direction.go_on());
        }
    }
}

fn after(flying: Box<Flying>) -> State {
    if flying.is_over() {
        State::Over
    } else {
        State::Flying(flying)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.picker.counts.streams_open.fetch_sub(1, Relaxed);
        self.picker.figures.stream_closed(self.opened.elapsed());
        if let State::Flying(flying) = &mut self.state {
            flying.stream_ended();
        }
    }
}
