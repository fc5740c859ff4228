//! What does one event, or one whole answer, say?

use crate::json::{Cursor, Fault};
use crate::read::{each_member, number, text};
use crate::usage::{self, Usage};

/// What a stream event's JSON says, as far as routing cares.
#[derive(Debug, Default, PartialEq)]
pub struct ChunkView {
    pub usage: Option<Usage>,
    /// The event is an in-band error: `{"error": …}`; its `code` if numeric.
    pub error: Option<Option<u16>>,
    /// Some choice carries non-empty text, reasoning or tool-call output.
    pub has_content: bool,
    /// Responses API: id in `response.created`.
    pub response_id: Option<String>,
}

/// Reads one event's JSON without building a tree; nonsense reads as nothing.
pub fn read_chunk(data: &[u8]) -> ChunkView {
    read_answer(data).0
}

/// Reads a whole answer or an event; beside the view, whether it is a Responses object itself.
pub(crate) fn read_answer(data: &[u8]) -> (ChunkView, Option<String>) {
    let mut top = Top::default();
    let read = simdutf8::basic::from_utf8(data)
        .ok()
        .and_then(|text| top.read(&mut Cursor::new(text)).ok());
    if read.is_none() {
        return (ChunkView::default(), None);
    }
    if top.failed {
        top.view.error.get_or_insert(None);
    }
    let id = top.id.filter(|_| top.is_response);
    (top.view, id)
}

#[derive(Default)]
struct Top {
    view: ChunkView,
    /// `type` says that this event reports a failure.
    failed: bool,
    id: Option<String>,
    is_response: bool,
}

impl Top {
    fn read(&mut self, at: &mut Cursor<'_>) -> Result<(), Fault> {
        at.object(|at, key| {
            match &*key {
                "choices" => self.choices(at)?,
                "usage" | "meta_info" => self.usage(at)?,
                "error" => self.error(at)?,
                "delta" => self.view.has_content |= says_something(at)?,
                "type" => {
                    let kind = at.raw()?;
                    self.failed = matches!(kind, "\"error\"" | "\"response.failed\"");
                }
                "response" => self.response(at)?,
                "message" => self.message(at)?,
                "content" | "text" => self.view.has_content |= says_something(at)?,
                "id" => self.id = text(at)?,
                "object" => self.is_response = at.raw()? == "\"response\"",
                _ => at.skip()?,
            }
            Ok::<(), Fault>(())
        })?;
        at.end()
    }

    /// `choices: [{"delta": …} | {"message": …} | {"text": …}]`
    fn choices(&mut self, at: &mut Cursor<'_>) -> Result<(), Fault> {
        let has_content = &mut self.view.has_content;
        if at.peek() != Some(b'[') {
            return at.skip();
        }
        at.array(|at| {
            each_member(at, |at, key| {
                if matches!(key, "delta" | "message" | "text") {
                    *has_content |= says_something(at)?;
                    return Ok(());
                }
                at.skip()
            })
        })
    }

    fn usage(&mut self, at: &mut Cursor<'_>) -> Result<(), Fault> {
        if let Some(usage) = usage::read(at)? {
            self.view.usage = Some(usage);
        }
        Ok(())
    }

    /// `error: {…, "code": 500}` or `error: "…"`
    fn error(&mut self, at: &mut Cursor<'_>) -> Result<(), Fault> {
        if at.eat_null() {
            self.view.error = None;
            return Ok(());
        }
        let mut code = None;
        each_member(at, |at, key| {
            if key == "code" {
                code = number(at)?.and_then(|code| u16::try_from(code).ok());
                return Ok(());
            }
            at.skip()
        })?;
        self.view.error = Some(code);
        Ok(())
    }

    /// Responses API: the object that `response.created`, `response.completed` and `response.failed` carry.
    fn response(&mut self, at: &mut Cursor<'_>) -> Result<(), Fault> {
        let view = &mut self.view;
        each_member(at, |at, key| {
            match key {
                "id" => view.response_id = text(at)?,
                "usage" => view.usage = usage::read(at)?.or(view.usage),
                _ => at.skip()?,
            }
            Ok(())
        })
    }

    /// Anthropic: the message that `message_start` carries.
    fn message(&mut self, at: &mut Cursor<'_>) -> Result<(), Fault> {
        let view = &mut self.view;
        each_member(at, |at, key| {
            match key {
                "usage" => view.usage = usage::read(at)?.or(view.usage),
                "content" => view.has_content |= says_something(at)?,
                _ => at.skip()?,
            }
            Ok(())
        })
    }
}

/// Whether the value next is output: non-empty text, a non-empty list, or an object with such a member among
/// those that hold output (a delta with nothing but a role holds none).
fn says_something(at: &mut Cursor<'_>) -> Result<bool, Fault> {
    let mut said = false;
    match at.peek() {
        Some(b'{') => at.object(|at, key| {
            match &*key {
                "content" | "reasoning_content" | "reasoning" | "refusal" | "tool_calls"
                | "text" | "thinking" | "partial_json" | "function_call" | "audio" => {
                    said |= not_empty(at)?
                }
                _ => at.skip()?,
            }
            Ok::<(), Fault>(())
        })?,
        _ => said = not_empty(at)?,
    }
    Ok(said)
}

fn not_empty(at: &mut Cursor<'_>) -> Result<bool, Fault> {
    let written = at.raw()?;
    let empty = match written.as_bytes() {
        [b'"', ..] => written.len() == 2,
        [b'[' | b'{', inner @ .., _] => inner.trim_ascii().is_empty(),
        _ => true,
    };
    Ok(!empty)
}
