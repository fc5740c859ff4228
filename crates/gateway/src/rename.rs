//! How does a response carry the model's name that the client used?
//!
//! Where an operator's `model_rewrite` changed the name on the way in, this changes it back on the way out: the one
//! string that says the model, in a JSON answer or in each event of a stream. Bytes are edited where they stand,
//! however the answer is split; nothing is parsed into a tree or written anew. Read are the members `model`,
//! `response.model` (events of the Responses API) and `message.model` (those of the Messages API).

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2};

/// Longest member name that concerns us, bytes.
const LONGEST_NAME: usize = b"response".len();

/// What begins a line of an event that carries data.
const DATA: &[u8] = b"data:";

/// The edit of one response.
#[derive(Debug)]
pub(crate) struct Rename {
    /// The client's name, as JSON.
    quoted: Bytes,
    /// The response is a stream of events; each is a document.
    events: bool,
    place: Place,
    document: Document,
}

/// Where the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At a line's beginning, with this many bytes of [`DATA`] seen; 0 and a line end close the event.
    LineStart(usize),
    /// In a line, or a rest of a document, that does not concern us.
    Passing,
    /// In a document, outside strings.
    Value,
    /// In a string that is passed on; after a backslash if set.
    Text { escaped: bool },
    /// In the string that is replaced; after a backslash if set.
    Replaced { escaped: bool },
}

/// How far a document was read.
#[derive(Clone, Copy, Debug, Default)]
struct Document {
    depth: u32,
    /// The object at depth 2 is the value of `response` or `message`.
    nested: bool,
    /// The last string, while nothing but white space followed it.
    last: Name,
    /// The member whose value comes next.
    member: Member,
    /// The name was put in.
    done: bool,
}

/// A string's first bytes, as far as they could be a name that concerns us.
#[derive(Clone, Copy, Debug, Default)]
struct Name {
    bytes: [u8; LONGEST_NAME],
    /// More than the longest for one that is not.
    length: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Member {
    #[default]
    Other,
    Model,
    /// An object that says the model itself.
    Carrier,
}

impl Name {
    fn extend(&mut self, bytes: &[u8]) {
        let end = self.length.saturating_add(bytes.len());
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(bytes);
        }
        self.length = end;
    }

    fn spoil(&mut self) {
        self.length = usize::MAX;
    }

    fn member(&self) -> Member {
        match self.bytes.get(..self.length) {
            Some(b"model") => Member::Model,
            Some(b"response" | b"message") => Member::Carrier,
            _ => Member::Other,
        }
    }
}

impl Rename {
    /// Puts `asked` in the place of whatever name stands there.
    pub(crate) fn new(asked: &str, events: bool) -> Self {
        Self {
            // A string can always be written as JSON.
            quoted: serde_json::to_string(asked).unwrap_or_default().into(),
            events,
            place: if events {
                Place::LineStart(0)
            } else {
                Place::Value
            },
            document: Document::default(),
        }
    }

    /// The next piece as the client gets it; the very same bytes where there is nothing to change.
    pub(crate) fn edit(&mut self, piece: Bytes) -> Bytes {
        let mut out = None;
        let (mut at, mut kept) = (0, 0);
        while at < piece.len() {
            let before = self.place;
            at += self.step(&piece[at..]);
            let began = !matches!(before, Place::Replaced { .. })
                && matches!(self.place, Place::Replaced { .. });
            let ended = matches!(before, Place::Replaced { .. })
                && !matches!(self.place, Place::Replaced { .. });
            if began {
                let room = piece.len() + self.quoted.len();
                let out = out.get_or_insert_with(|| BytesMut::with_capacity(room));
                // The opening quote is part of what replaces the string.
                out.extend_from_slice(&piece[kept..at - 1]);
                out.extend_from_slice(&self.quoted);
                kept = piece.len();
            } else if ended {
                // A piece may begin within the string that is replaced.
                out.get_or_insert_with(BytesMut::new);
                kept = at;
            }
        }
        if matches!(self.place, Place::Replaced { .. }) {
            kept = piece.len();
            out.get_or_insert_with(BytesMut::new);
        }
        match out {
            None => piece,
            Some(mut out) => {
                out.extend_from_slice(&piece[kept..]);
                out.freeze()
            }
        }
    }

    /// Reads on to the next place of note; how many of `bytes`, of which there is one at least, that took.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match self.place {
            Place::LineStart(seen) => self.line_start(seen, bytes[0]),
            Place::Passing if !self.events => bytes.len(),
            Place::Passing => match memchr(b'\n', bytes) {
                Some(at) => {
                    self.place = Place::LineStart(0);
                    at + 1
                }
                None => bytes.len(),
            },
            Place::Value => self.value(bytes[0]),
            Place::Text { escaped } => self.text(escaped, bytes),
            Place::Replaced { escaped } => self.replaced(escaped, bytes),
        }
    }

    fn line_start(&mut self, seen: usize, byte: u8) -> usize {
        self.place = match byte {
            b'\n' => {
                if seen == 0 {
                    self.document = Document::default();
                }
                Place::LineStart(0)
            }
            // Before the line feed of an empty line.
            b'\r' if seen == 0 => Place::LineStart(0),
            _ if DATA.get(seen) == Some(&byte) && seen + 1 == DATA.len() => {
                match self.document.done {
                    true => Place::Passing,
                    false => Place::Value,
                }
            }
            _ if DATA.get(seen) == Some(&byte) => Place::LineStart(seen + 1),
            _ => Place::Passing,
        };
        1
    }

    fn value(&mut self, byte: u8) -> usize {
        let document = &mut self.document;
        match byte {
            b'\n' if self.events => self.place = Place::LineStart(0),
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'"' => {
                let says = document.depth == 1 || (document.depth == 2 && document.nested);
                if says && document.member == Member::Model {
                    document.done = true;
                    self.place = Place::Replaced { escaped: false };
                } else {
                    document.last = Name::default();
                    self.place = Place::Text { escaped: false };
                }
                document.member = Member::Other;
            }
            b':' => {
                document.member = document.last.member();
                document.last = Name::default();
            }
            b'{' | b'[' => {
                if document.depth == 1 {
                    document.nested = byte == b'{' && document.member == Member::Carrier;
                }
                document.depth = document.depth.saturating_add(1);
                document.member = Member::Other;
                document.last = Name::default();
            }
            _ => {
                if matches!(byte, b'}' | b']') {
                    document.depth = document.depth.saturating_sub(1);
                }
                document.member = Member::Other;
                document.last = Name::default();
            }
        }
        1
    }

    fn text(&mut self, escaped: bool, bytes: &[u8]) -> usize {
        let name = &mut self.document.last;
        if escaped {
            // No engine writes the names that concern us with escapes.
            name.spoil();
            self.place = Place::Text { escaped: false };
            return 1;
        }
        let end = memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
        name.extend(&bytes[..end]);
        match bytes.get(end) {
            Some(b'"') => self.place = Place::Value,
            Some(_) => self.place = Place::Text { escaped: true },
            None => return end,
        }
        end + 1
    }

    fn replaced(&mut self, escaped: bool, bytes: &[u8]) -> usize {
        if escaped {
            self.place = Place::Replaced { escaped: false };
            return 1;
        }
        let Some(end) = memchr2(b'"', b'\\', bytes) else {
            return bytes.len();
        };
        self.place = match bytes[end] {
            b'\\' => Place::Replaced { escaped: true },
            _ => Place::Passing,
        };
        end + 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Edits `text` cut into pieces of `step` bytes.
    fn edited(text: &str, events: bool, step: usize) -> String {
        let mut rename = Rename::new("my \"m\"", events);
        let pieces = text.as_bytes().chunks(step);
        let out: Vec<u8> = pieces
            .flat_map(|piece| rename.edit(Bytes::copy_from_slice(piece)))
            .collect();
        String::from_utf8(out).unwrap()
    }

    #[track_caller]
    fn check(text: &str, events: bool, expected: &str) {
        for step in 1..=text.len() {
            assert_eq!(edited(text, events, step), expected, "by {step}");
        }
    }

    const MINE: &str = r#""my \"m\"""#;

    #[test]
    fn the_one_name_in_an_answer() {
        let cases = [
            (r#"{"model":"e"}"#, r#"{"model":@}"#),
            (
                r#"{ "id" : "x", "model" : "e\"\\" , "z":1}"#,
                r#"{ "id" : "x", "model" : @ , "z":1}"#,
            ),
            (r#"{"model":""}"#, r#"{"model":@}"#),
            (r#"{"model":null,"a":"e"}"#, r#"{"model":null,"a":"e"}"#),
            (r#"{"model":["e"],"a":"e"}"#, r#"{"model":["e"],"a":"e"}"#),
            (
                r#"{"x":{"model":"e"},"model":"e"}"#,
                r#"{"x":{"model":"e"},"model":@}"#,
            ),
            (
                r#"{"x":["model","e"],"model":"e"}"#,
                r#"{"x":["model","e"],"model":@}"#,
            ),
            (
                r#"{"x":"model","y":"model\": \"e","model":"e"}"#,
                r#"{"x":"model","y":"model\": \"e","model":@}"#,
            ),
            (
                r#"{"response":{"id":"r","model":"e"}}"#,
                r#"{"response":{"id":"r","model":@}}"#,
            ),
            (
                r#"{"type":"message_start","message":{"model":"e"}}"#,
                r#"{"type":"message_start","message":{"model":@}}"#,
            ),
            (
                r#"{"response":{"x":{"model":"e"},"model":"e"}}"#,
                r#"{"response":{"x":{"model":"e"},"model":@}}"#,
            ),
            (
                r#"{"response":[{"model":"e"}]}"#,
                r#"{"response":[{"model":"e"}]}"#,
            ),
            (
                r#"{"models":"e","mode":"e","\model":"e"}"#,
                r#"{"models":"e","mode":"e","\model":"e"}"#,
            ),
            (r#"[{"model":"e"}]"#, r#"[{"model":"e"}]"#),
            ("not json at all", "not json at all"),
        ];
        for (text, expected) in cases {
            check(text, false, &expected.replace('@', MINE));
        }
    }

    #[test]
    fn the_name_in_each_event() {
        let text = "event: x\ndata: {\"id\":1,\"model\":\"e\",\"choices\":[{\"text\":\"\\n\\\"model\\\": \\\"e\\\"\"}]}\n\n\
                    data: {\"model\":\"e\"}\r\n\r\n: model\n\ndata:{\"a\":1,\ndata: \"model\":\"e\"}\n\n\
                    dat: {\"model\":\"e\"}\n\ndata: {\"type\":\"response.created\",\"response\":{\"model\":\"e\"}}\n\ndata: [DONE]\n\n";
        let expected = text
            .replace(
                "{\"id\":1,\"model\":\"e\"",
                &format!("{{\"id\":1,\"model\":{MINE}"),
            )
            .replace(
                "data: {\"model\":\"e\"}",
                &format!("data: {{\"model\":{MINE}}}"),
            )
            .replace(
                "data: \"model\":\"e\"}",
                &format!("data: \"model\":{MINE}}}"),
            )
            .replace(
                "\"response\":{\"model\":\"e\"}",
                &format!("\"response\":{{\"model\":{MINE}}}"),
            );
        check(text, true, &expected);
    }

    #[test]
    fn what_needs_no_change_is_not_copied() {
        let mut rename = Rename::new("m", true);
        let piece = Bytes::from_static(b"data: {\"choices\":[]}\n\n");
        assert_eq!(rename.edit(piece.clone()).as_ptr(), piece.as_ptr());
    }

    /// JSON of any kind that may hold the member's name anywhere but at the top.
    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("1".to_owned()),
            Just("null".to_owned()),
            Just(r#""model""#.to_owned()),
            Just(r#""\\\"model\\\":\"e\"""#.to_owned()),
            "\"[a-z{}:,]{0,9}\"",
        ];
        leaf.prop_recursive(3, 20, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3)
                    .prop_map(|items| format!("[{}]", items.join(", "))),
                prop::collection::vec((prop_oneof!["model", "response", "x"], inner), 0..3)
                    .prop_map(|items| {
                        let members: Vec<_> = items
                            .into_iter()
                            .map(|(key, value)| format!("\"{key}\" :{value}"))
                            .collect();
                        format!("{{{}}}", members.join(","))
                    }),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_but_the_name_changes(before in value(), after in value(), step in 1_usize..60) {
            let with = |name: &str| format!("{{\"a\":{before}, \"model\": {name},\"z\":{after}}}");
            let (from, to) = (with("\"e\""), with(MINE));
            prop_assert_eq!(edited(&from, false, step), to.clone());
            let event = |text: &str| format!("data: {text}\n\n");
            prop_assert_eq!(edited(&event(&from).repeat(2), true, step), event(&to).repeat(2));
        }

        #[test]
        fn any_bytes_are_survived(pieces in prop::collection::vec("[{}\\[\\]\":\\\\ a-z\n]{0,20}", 0..8)) {
            for events in [false, true] {
                let mut rename = Rename::new("m", events);
                for piece in &pieces {
                    rename.edit(Bytes::from(piece.clone()));
                }
            }
        }
    }
}
