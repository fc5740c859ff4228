//! Which events does a streamed answer consist of?
//!
//! Nothing is sent before the first output exists; then for chat a role event per choice, one event per step
//! and choice, the last with a finish reason, a usage event where asked for, and `[DONE]`. A reader slower
//! than the model gets several tokens in one event.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};

use super::answer::{Choice, Usage};
use super::body::Body;
use super::generate::{Style, keep_alive};
use super::plan::Plan;
use super::reply;
use super::shell::{Shell, Track};
use crate::core::{Piece, Ticket};
use crate::model::FinishReason;

pub(crate) const DONE: &[u8] = b"data: [DONE]\n\n";
const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// The streamed answer to `plan`.
pub(crate) fn response(
    plan: Plan,
    ticket: Ticket,
    track: Track,
    abort_after: Option<u32>,
) -> Response<Body> {
    let shell = Arc::clone(&track.shell);
    let events = Events {
        choices: plan.choices(&shell),
        head: head(&plan),
        shell,
        plan,
        ticket,
        track,
        ready: VecDeque::new(),
        started: false,
        ended: false,
        sent: 0,
        abort_after,
    };
    let body = Body::chunks(stream::unfold(events, |mut events| async move {
        let event = events.next().await?;
        Some((event, events))
    }));
    let mut response = reply::with_type(
        StatusCode::OK,
        "text/event-stream; charset=utf-8",
        Bytes::new(),
    );
    *response.body_mut() = body;
    response
}

/// What every event of one answer begins with.
fn head(plan: &Plan) -> String {
    let object = if plan.style == Style::Chat {
        "chat.completion.chunk"
    } else {
        "text_completion"
    };
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        "data: {{\"id\":{},\"object\":\"{object}\",\"created\":{},\"model\":{},\"choices\":[",
        quote(&plan.id),
        plan.created,
        quote(&plan.model)
    )
}

/// What an event of text may carry besides.
#[derive(Default)]
struct More {
    logprobs: Option<serde_json::Value>,
    /// Token ids of the prompt, where they are told.
    prompt: Option<Vec<u32>>,
}

struct Events {
    plan: Plan,
    shell: Arc<Shell>,
    ticket: Ticket,
    track: Track,
    choices: Vec<Choice>,
    head: String,
    /// Events made and not sent. At most a few per choice: the next piece is read when it is empty.
    ready: VecDeque<Bytes>,
    started: bool,
    ended: bool,
    sent: u32,
    abort_after: Option<u32>,
}

impl Events {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.ended && self.abort_after.is_some_and(|after| self.sent >= after) {
                self.abort();
            }
            if let Some(event) = self.ready.pop_front() {
                self.sent += 1;
                return Some(event);
            }
            if self.ended {
                return None;
            }
            match keep_alive(&self.shell) {
                None => self.read().await,
                Some(interval) => {
                    if tokio::time::timeout(interval, self.read()).await.is_err() {
                        return Some(Bytes::from_static(KEEP_ALIVE));
                    }
                }
            }
        }
    }

    async fn read(&mut self) {
        let pieces = self.ticket.mailbox.read().await;
        if let Some(piece) = pieces.first()
            && !self.started
        {
            self.start(piece.cached_tokens);
        }
        for piece in &pieces {
            self.piece(piece);
        }
        if self.choices.iter().all(|choice| choice.finish.is_some()) {
            self.finish();
        }
    }

    fn start(&mut self, cached_tokens: usize) {
        self.started = true;
        self.track.first_token(cached_tokens);
        if self.plan.style == Style::Chat {
            for index in 0..self.choices.len() {
                let choice = format!(
                    "{{\"index\":{index},\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},\"logprobs\":null,\"finish_reason\":null}}"
                );
                let prompt = (self.plan.return_token_ids).then(|| self.plan.prompts[0].to_vec());
                let more = format!(
                    ",\"prompt_token_ids\":{},\"prompt_text\":null",
                    serde_json::Value::from(prompt)
                );
                self.push(index, &choice, &more);
            }
        }
    }

    fn piece(&mut self, piece: &Piece) {
        let index = piece.sequence;
        let choice = &mut self.choices[index];
        let opening = choice.completion_tokens == 0;
        let tokenizer = &self.shell.settings.tokenizer;
        let style = self.plan.style;
        let logprobs = self
            .plan
            .logprobs
            .map(|top| choice.logprobs(tokenizer, style, &piece.tokens, top));
        let mut text = choice.take(tokenizer, &self.plan.stops, piece, false);
        if choice.finish.is_some() && piece.end.is_none() {
            self.ticket.end(index, FinishReason::Stop);
        }
        if choice
            .finish
            .as_ref()
            .is_some_and(|finish| finish.reason == FinishReason::Error)
        {
            self.ready.push_back(reply::error_event());
            return;
        }
        if self.plan.echo_only {
            text.clear();
        }
        if opening {
            text.insert_str(0, self.plan.echo_of(index));
        }
        let prompt = opening && (self.plan.return_token_ids || self.plan.echo.is_some());
        let prompt = prompt.then(|| self.plan.prompts[index / self.plan.n].to_vec());
        let more = More { logprobs, prompt };
        self.text(index, &text, &piece.tokens, more);
    }

    /// The event that carries new text of a choice, and its end where it has one.
    fn text(&mut self, index: usize, text: &str, tokens: &[u32], more: More) {
        let finish = self.choices[index].finish.clone();
        let text = serde_json::Value::from(text);
        let logprobs = more.logprobs.unwrap_or_default();
        let mut choice = match self.plan.style {
            Style::Chat => {
                format!(
                    "{{\"index\":{index},\"delta\":{{\"content\":{text}}},\"logprobs\":{logprobs}"
                )
            }
            Style::Completion => {
                format!("{{\"index\":{index},\"text\":{text},\"logprobs\":{logprobs}")
            }
        };
        let _ = match &finish {
            Some(finish) => {
                write!(
                    choice,
                    ",\"finish_reason\":\"{}\",\"stop_reason\":{}",
                    finish.reason.as_str(),
                    finish.stop_reason
                )
            }
            None if self.plan.style == Style::Chat => write!(choice, ",\"finish_reason\":null"),
            None => write!(choice, ",\"finish_reason\":null,\"stop_reason\":null"),
        };
        if self.plan.style == Style::Completion {
            let _ = write!(
                choice,
                ",\"prompt_token_ids\":{}",
                serde_json::Value::from(more.prompt)
            );
        }
        let _ = match self.plan.return_token_ids {
            true => write!(choice, ",\"token_ids\":{tokens:?}}}"),
            false => write!(choice, ",\"token_ids\":null}}"),
        };
        let mut last = String::new();
        // The usage event is the last one, where there is one.
        if finish.is_some() && !self.plan.include_usage {
            self.fingerprint(&mut last);
        }
        self.push(index, &choice, &last);
    }

    /// Makes an event of one choice; `more` is what comes after the usage.
    fn push(&mut self, index: usize, choice: &str, more: &str) {
        let mut event = String::with_capacity(self.head.len() + choice.len() + more.len() + 64);
        let _ = write!(event, "{}{choice}]", self.head);
        if self.plan.continuous_usage {
            // Of this choice alone.
            let usage = Usage {
                prompt_tokens: self.plan.prompts[index / self.plan.n].len(),
                completion_tokens: self.choices[index].completion_tokens,
                details: None,
            };
            let _ = write!(event, ",\"usage\":{}", usage.event(self.plan.style));
        }
        event.push_str(more);
        event.push_str("}\n\n");
        self.ready.push_back(event.into());
    }

    fn fingerprint(&self, event: &mut String) {
        let _ = write!(
            event,
            ",\"system_fingerprint\":\"{}\"",
            self.shell.settings.fingerprint
        );
    }

    /// All choices are over.
    fn finish(&mut self) {
        self.ended = true;
        let ended_well = |choice: &Choice| {
            choice.finish.as_ref().is_some_and(|finish| {
                !matches!(finish.reason, FinishReason::Abort | FinishReason::Error)
            })
        };
        if self.choices.iter().all(ended_well) {
            self.track.finished();
        }
        if self.plan.include_usage {
            let usage = self.plan.usage(&self.shell, &self.choices);
            let mut event = format!("{}],\"usage\":{}", self.head, usage.event(self.plan.style));
            self.fingerprint(&mut event);
            event.push_str("}\n\n");
            self.ready.push_back(event.into());
        }
        self.ready.push_back(Bytes::from_static(DONE));
    }

    /// A fault ends the answer as a dying engine does.
    fn abort(&mut self) {
        self.ready.clear();
        let open: Vec<usize> = (0..self.choices.len())
            .filter(|&index| self.choices[index].finish.is_none())
            .collect();
        for index in open {
            self.ticket.end(index, FinishReason::Abort);
            let finish = super::answer::Finish {
                reason: FinishReason::Abort,
                stop_reason: serde_json::Value::Null,
            };
            self.choices[index].finish = Some(finish);
            self.text(index, "", &[], More::default());
        }
        self.finish();
    }
}
