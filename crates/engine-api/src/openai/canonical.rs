//! Which bytes stand for a prompt when prefixes are compared?
//!
//! Text completions are their own bytes and token ids four bytes each, so that a longer prompt extends a shorter
//! one. A conversation is written with marker bytes that never occur in UTF-8 (`0xf8` and up), each value closed
//! by one: no two conversations share a stream, a message appended only appends bytes, and two messages that
//! begin alike begin alike here too, which a length written before the text would spoil.
//!
//! ```text
//! chat    = field* tools? message*          field = F8 name FF json FF
//! tools   = F9 json FF                      message = FA role FF (FB name FF value)* FF
//! value   = text FF | part* | json FF       part  = FC text FF | FD json FF
//! json    = { } [ ] as they are, strings and keys `"` text FF, scalars text FF, media FE digests
//! ```

use xxhash_rust::xxh3::xxh3_128;

use super::{ChatView, Content, MessageView, Part, Prompt, Raw};
use crate::json::Cursor;

const FIELD: u8 = 0xf8;
const TOOLS: u8 = 0xf9;
const MESSAGE: u8 = 0xfa;
const MEMBER: u8 = 0xfb;
const PART_TEXT: u8 = 0xfc;
const PART_JSON: u8 = 0xfd;
const MEDIA: u8 = 0xfe;
const END: u8 = 0xff;

/// Bytes that stand for one embedded image, sound or file, whatever its size: a common image takes some 256
/// tokens, and a token counts four bytes.
pub const MEDIA_STREAM_BYTES: usize = 1024;

/// Embedded data shorter than this is written out.
const MIN_MEDIA_BYTES: usize = 256;

/// Writes the canonical stream of each prompt of `prompt`, in pieces, in order: `on(prompt_no, bytes)`.
///
/// The spelling of JSON (white space, escapes) does not show; cache hints (`cache_control`) do not either.
pub fn streams(prompt: &Prompt<'_>, mut on: impl FnMut(usize, &[u8])) {
    match prompt {
        Prompt::Text(text) => on(0, text.as_bytes()),
        Prompt::Texts(texts) => {
            for (number, text) in texts.iter().enumerate() {
                on(number, text.as_bytes());
            }
        }
        Prompt::Tokens(ids) => tokens(ids, |bytes| on(0, bytes)),
        Prompt::TokenLists(lists) => {
            for (number, ids) in lists.iter().enumerate() {
                tokens(ids, |bytes| on(number, bytes));
            }
        }
        Prompt::Chat(chat) => write_chat(chat, &mut |bytes| on(0, bytes)),
        Prompt::None => {}
    }
}

fn tokens(ids: &[u32], mut out: impl FnMut(&[u8])) {
    let mut buffer = [0; 1024];
    for chunk in ids.chunks(buffer.len() / 4) {
        for (bytes, id) in buffer.chunks_exact_mut(4).zip(chunk) {
            bytes.copy_from_slice(&id.to_le_bytes());
        }
        out(&buffer[..chunk.len() * 4]);
    }
}

fn write_chat(chat: &ChatView<'_>, out: &mut impl FnMut(&[u8])) {
    for (name, raw) in &chat.template {
        marked(FIELD, name, out);
        json(*raw, Hints::Kept, out);
        out(&[END]);
    }
    if let Some(tools) = chat.tools {
        out(&[TOOLS]);
        json(tools, Hints::Kept, out);
        out(&[END]);
    }
    for message in &chat.messages {
        write_message(message, out);
    }
}

fn write_message(message: &MessageView<'_>, out: &mut impl FnMut(&[u8])) {
    marked(MESSAGE, &message.role, out);
    if let Some(name) = &message.name {
        marked(MEMBER, "name", out);
        ended(name, out);
    }
    write_content(&message.content, out);
    if let Some(calls) = message.tool_calls {
        member("tool_calls", calls, out);
    }
    if let Some(id) = &message.tool_call_id {
        marked(MEMBER, "tool_call_id", out);
        ended(id, out);
    }
    for (name, raw) in &message.other {
        member(name, *raw, out);
    }
    out(&[END]);
}

/// A plain string and a list of one text part are the same thing to every engine, so they are here.
fn write_content(content: &Content<'_>, out: &mut impl FnMut(&[u8])) {
    match content {
        Content::None => {}
        Content::Text(text) => {
            marked(MEMBER, "content", out);
            marked(PART_TEXT, text, out);
        }
        Content::Parts(parts) => {
            marked(MEMBER, "content", out);
            for part in parts {
                match part {
                    Part::Text(text) => marked(PART_TEXT, text, out),
                    Part::Raw(raw) => {
                        out(&[PART_JSON]);
                        json(*raw, Hints::Dropped, out);
                        out(&[END]);
                    }
                }
            }
        }
    }
}

fn member(name: &str, raw: Raw<'_>, out: &mut impl FnMut(&[u8])) {
    marked(MEMBER, name, out);
    json(raw, Hints::Kept, out);
    out(&[END]);
}

fn marked(marker: u8, text: &str, out: &mut impl FnMut(&[u8])) {
    out(&[marker]);
    ended(text, out);
}

fn ended(text: &str, out: &mut impl FnMut(&[u8])) {
    out(text.as_bytes());
    out(&[END]);
}

/// Whether `cache_control` at the top of a part is written: clients move it from turn to turn, and no engine
/// renders it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hints {
    Kept,
    Dropped,
}

/// Writes a value that is known to be valid, without its white space, commas and colons (keys and values
/// alternate, so nothing is lost) and with its strings decoded.
fn json(raw: Raw<'_>, hints: Hints, out: &mut impl FnMut(&[u8])) {
    let mut at = Cursor::new(raw.get());
    let mut depth = 0_usize;
    let mut key_is_data = false;
    while let Some(byte) = at.peek() {
        match byte {
            b'{' | b'[' | b'}' | b']' => {
                at.eat(byte);
                out(&[byte]);
                let opens = matches!(byte, b'{' | b'[');
                depth = if opens {
                    depth + 1
                } else {
                    depth.saturating_sub(1)
                };
            }
            b',' | b':' => {
                at.eat(byte);
            }
            b'"' => {
                let Ok(text) = at.string() else { return };
                let is_key = at.peek() == Some(b':');
                if is_key && depth == 1 && hints == Hints::Dropped && text == "cache_control" {
                    at.eat(b':');
                    if at.skip().is_err() {
                        return;
                    }
                    continue;
                }
                if !is_key && is_media(&text, key_is_data) {
                    media(&text, out);
                } else {
                    marked(b'"', &text, out);
                }
                key_is_data = is_key && text == "data";
            }
            _ => {
                let Ok(scalar) = at.raw() else { return };
                ended(scalar, out);
            }
        }
    }
}

fn is_media(text: &str, key_is_data: bool) -> bool {
    text.len() >= MIN_MEDIA_BYTES && (key_is_data || text.starts_with("data:"))
}

/// Stands for embedded data: its digest, repeated to about the length it has in a prompt.
fn media(text: &str, out: &mut impl FnMut(&[u8])) {
    out(&[MEDIA]);
    let digest = xxh3_128(text.as_bytes()).to_le_bytes();
    for _ in 0..MEDIA_STREAM_BYTES / digest.len() {
        out(&digest);
    }
}
