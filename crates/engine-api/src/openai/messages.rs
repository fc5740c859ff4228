//! What was said so far, by whom?

use std::borrow::Cow;

use super::error::Stop;
use super::fields::string;
use super::{Content, MAX_NODES, MAX_OTHER_MEMBERS, MessageView, Part, Raw};
use crate::json::Cursor;

const CONTENT: &str = "a string, a list of parts or null";

/// How many more nodes a view may hold.
pub(super) struct Budget {
    field: &'static str,
    left: usize,
}

impl Budget {
    pub(super) fn new(field: &'static str) -> Self {
        let left = MAX_NODES;
        Self { field, left }
    }

    pub(super) fn take(&mut self) -> Result<(), Stop> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or(Stop::wrong(self.field, "a list of at most 262144 entries"))?;
        Ok(())
    }
}

/// Reads `messages`.
pub(super) fn read_list<'a>(
    at: &mut Cursor<'a>,
    budget: &mut Budget,
) -> Result<Vec<MessageView<'a>>, Stop> {
    if at.peek() != Some(b'[') {
        return Err(Stop::wrong(budget.field, "a list of messages"));
    }
    let mut messages = Vec::new();
    at.array(|at| {
        budget.take()?;
        messages.push(message(at, budget)?);
        Ok::<(), Stop>(())
    })?;
    Ok(messages)
}

/// Reads the Responses API's `input`: one user text, or a list of items.
pub(super) fn read_input<'a>(at: &mut Cursor<'a>) -> Result<Vec<MessageView<'a>>, Stop> {
    match at.peek() {
        Some(b'"') => Ok(vec![MessageView {
            role: Cow::Borrowed("user"),
            content: Content::Text(at.string()?),
            ..MessageView::default()
        }]),
        Some(b'[') => read_list(at, &mut Budget::new("input")),
        _ => Err(Stop::wrong("input", "a string or a list of items")),
    }
}

fn message<'a>(at: &mut Cursor<'a>, budget: &mut Budget) -> Result<MessageView<'a>, Stop> {
    if at.peek() != Some(b'{') {
        return Err(Stop::wrong(budget.field, "a list of objects"));
    }
    let mut message = MessageView::default();
    at.object(|at, key| {
        if at.eat_null() {
            forget(&mut message, &key);
            return Ok(());
        }
        match &*key {
            "role" => message.role = string(at, "role")?,
            "name" => message.name = Some(string(at, "name")?),
            "content" => message.content = content(at, budget)?,
            "tool_calls" => message.tool_calls = Some(Raw(at.raw()?)),
            "tool_call_id" => message.tool_call_id = Some(string(at, "tool_call_id")?),
            // The item kind that an item without a kind has, too.
            "type" if at.peek() == Some(b'"') => {
                let start = at.pos();
                if at.string()? != "message" {
                    set_other(&mut message, key, Raw(at.since(start)))?;
                }
            }
            _ => {
                let raw = Raw(at.raw()?);
                set_other(&mut message, key, raw)?;
            }
        }
        Ok::<(), Stop>(())
    })?;
    Ok(message)
}

/// A later null takes back what an earlier duplicate said.
fn forget(message: &mut MessageView<'_>, key: &str) {
    match key {
        "role" => message.role = Cow::Borrowed(""),
        "name" => message.name = None,
        "content" => message.content = Content::None,
        "tool_calls" => message.tool_calls = None,
        "tool_call_id" => message.tool_call_id = None,
        _ => message.other.retain(|(name, _)| name != key),
    }
}

fn set_other<'a>(
    message: &mut MessageView<'a>,
    key: Cow<'a, str>,
    raw: Raw<'a>,
) -> Result<(), Stop> {
    if let Some((_, value)) = message.other.iter_mut().find(|(name, _)| *name == key) {
        *value = raw;
        return Ok(());
    }
    if message.other.len() == MAX_OTHER_MEMBERS {
        return Err(Stop::wrong(
            "messages",
            "made of objects of at most 64 extra members",
        ));
    }
    message.other.push((key, raw));
    Ok(())
}

fn content<'a>(at: &mut Cursor<'a>, budget: &mut Budget) -> Result<Content<'a>, Stop> {
    match at.peek() {
        Some(b'"') => Ok(Content::Text(at.string()?)),
        Some(b'[') => {
            let mut parts = Vec::new();
            at.array(|at| {
                budget.take()?;
                parts.push(part(at)?);
                Ok::<(), Stop>(())
            })?;
            Ok(Content::Parts(parts))
        }
        _ => Err(Stop::wrong("content", CONTENT)),
    }
}

/// Reads one content part: a text under any of its names, or anything else as it stands.
fn part<'a>(at: &mut Cursor<'a>) -> Result<Part<'a>, Stop> {
    match at.peek() {
        Some(b'"') => return Ok(Part::Text(at.string()?)),
        Some(b'{') => {}
        _ => return Err(Stop::wrong("content", CONTENT)),
    }
    let start = at.pos();
    let mut kind: Option<Cow<'a, str>> = None;
    let mut text = None;
    at.object(|at, key| {
        match &*key {
            "type" if at.peek() == Some(b'"') => kind = Some(at.string()?),
            "text" if at.peek() == Some(b'"') => text = Some(at.string()?),
            "text" => {
                text = None;
                at.skip()?;
            }
            _ => at.skip()?,
        }
        Ok::<(), Stop>(())
    })?;
    let is_text = matches!(
        kind.as_deref(),
        None | Some("text" | "input_text" | "output_text")
    );
    match text {
        Some(text) if is_text => Ok(Part::Text(text)),
        None if is_text && kind.is_some() => Err(Stop::wrong("content[].text", "a string")),
        _ => Ok(Part::Raw(Raw(at.since(start)))),
    }
}
