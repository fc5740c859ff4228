//! Where in the text are we, and what comes next?

use std::borrow::Cow;

use super::string::first_control;

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The text is not JSON: what is wrong, and the byte offset where.
    Syntax { at: usize, what: &'static str },
    /// Nested deeper than [`super::MAX_DEPTH`] levels.
    TooDeep,
}

/// A position in a JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    pub(super) text: &'a str,
    pub(super) pos: usize,
    /// Whether there are control characters at all: compact JSON has none, and need not be searched for them
    /// string by string.
    pub(super) has_controls: bool,
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of `text`; a leading byte-order mark is passed over, as Python does.
    pub(crate) fn new(text: &'a str) -> Self {
        let pos = if text.starts_with('\u{feff}') { 3 } else { 0 };
        let has_controls = first_control(text.as_bytes()).is_some();
        Self {
            text,
            pos,
            has_controls,
        }
    }

    /// Byte offset of the next unread byte.
    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// Goes back to an offset that [`pos`](Self::pos) returned.
    pub(crate) fn rewind(&mut self, pos: usize) {
        self.pos = pos;
    }

    /// The text from `start` to here.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.pos).unwrap_or_default()
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    pub(super) fn fault(&self, what: &'static str) -> Fault {
        let at = self.pos.min(self.text.len());
        Fault::Syntax { at, what }
    }

    /// As [`fault`](Self::fault), but says so if the text simply ends here.
    pub(super) fn fault_or_end(&self, what: &'static str) -> Fault {
        let ended = self.pos >= self.text.len();
        self.fault(if ended { "unexpected end" } else { what })
    }

    /// The next byte that is not white space, not consumed.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.bytes();
        loop {
            match bytes.get(self.pos) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.pos += 1,
                other => return other.copied(),
            }
        }
    }

    /// Consumes `byte` if it comes next.
    #[inline]
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.pos += usize::from(found);
        found
    }

    /// Consumes `null` if it comes next.
    pub(crate) fn eat_null(&mut self) -> bool {
        self.peek() == Some(b'n') && self.eat_word("null")
    }

    /// Consumes `true` or `false` if one comes next.
    pub(crate) fn eat_bool(&mut self) -> Option<bool> {
        match self.peek() {
            Some(b't') => self.eat_word("true").then_some(true),
            Some(b'f') => self.eat_word("false").then_some(false),
            _ => None,
        }
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.bytes()[self.pos..].starts_with(word.as_bytes());
        self.pos += if found { word.len() } else { 0 };
        found
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fault("expected nothing after the value")),
        }
    }

    /// Reads an object; `member` is called with each key and must consume its value.
    /// The caller has seen the `{`.
    pub(crate) fn object<E: From<Fault>>(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.eat(b'{') {
            return Err(self.fault_or_end("expected an object").into());
        }
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            member(self, key)?;
            if self.eat(b',') {
                continue;
            }
            if self.eat(b'}') {
                return Ok(());
            }
            return Err(self.fault_or_end("expected `,` or `}`").into());
        }
    }

    /// Reads an array; `item` is called at each element and must consume it. The caller has seen the `[`.
    pub(crate) fn array<E: From<Fault>>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.eat(b'[') {
            return Err(self.fault_or_end("expected an array").into());
        }
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.eat(b',') {
                continue;
            }
            if self.eat(b']') {
                return Ok(());
            }
            return Err(self.fault_or_end("expected `,` or `]`").into());
        }
    }

    fn key(&mut self) -> Result<Cow<'a, str>, Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.fault_or_end("expected a key in double quotes"));
        }
        let key = self.string()?;
        self.colon()?;
        Ok(key)
    }

    pub(super) fn colon(&mut self) -> Result<(), Fault> {
        if self.eat(b':') {
            return Ok(());
        }
        Err(self.fault_or_end("expected `:`"))
    }
}
