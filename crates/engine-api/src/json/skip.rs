//! How is a value passed over that nobody asked for?

use super::{Cursor, Fault};

/// Deepest nesting read; deeper text is refused rather than followed. Python's own reader gives up near 1,000.
pub(crate) const MAX_DEPTH: usize = 512;

/// One bit per open bracket: set for an object.
#[derive(Default)]
struct Open {
    bits: [u64; MAX_DEPTH / 64],
    depth: usize,
}

impl Open {
    fn push(&mut self, object: bool) -> Result<(), Fault> {
        let word = self.bits.get_mut(self.depth / 64).ok_or(Fault::TooDeep)?;
        let bit = 1 << (self.depth % 64);
        *word = if object { *word | bit } else { *word & !bit };
        self.depth += 1;
        Ok(())
    }

    /// Whether the innermost open bracket is an object's; `None` outside all.
    fn innermost(&self) -> Option<bool> {
        let top = self.depth.checked_sub(1)?;
        Some(self.bits[top / 64] >> (top % 64) & 1 == 1)
    }
}

impl<'a> Cursor<'a> {
    /// Passes over one value of any kind, checking its syntax.
    pub(crate) fn skip(&mut self) -> Result<(), Fault> {
        if !matches!(self.peek(), Some(b'{' | b'[')) {
            return self.skip_scalar();
        }
        let mut open = Open::default();
        loop {
            let opened = self.skip_start(&mut open)?;
            if !opened && self.skip_ends(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Passes over one value and returns its text as written.
    pub(crate) fn raw(&mut self) -> Result<&'a str, Fault> {
        self.peek();
        let start = self.pos;
        self.skip()?;
        Ok(self.since(start))
    }

    /// Passes over a scalar or an empty bracket pair, or opens a bracket (then true: a value must follow).
    fn skip_start(&mut self, open: &mut Open) -> Result<bool, Fault> {
        match self.peek() {
            Some(b'{') => {
                self.pos += 1;
                open.push(true)?;
                if self.peek() == Some(b'}') {
                    return Ok(false);
                }
                self.skip_key()?;
                Ok(true)
            }
            Some(b'[') => {
                self.pos += 1;
                open.push(false)?;
                Ok(self.peek() != Some(b']'))
            }
            _ => self.skip_scalar().map(|()| false),
        }
    }

    fn skip_scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.skip_string(),
            Some(b't') if self.eat_word("true") => Ok(()),
            Some(b'f') if self.eat_word("false") => Ok(()),
            Some(b'n') if self.eat_word("null") => Ok(()),
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => self.number().map(drop),
            _ => Err(self.fault_or_end("expected a value")),
        }
    }

    /// After a value: closes what closes here. True when the outermost value is complete.
    fn skip_ends(&mut self, open: &mut Open) -> Result<bool, Fault> {
        while let Some(object) = open.innermost() {
            if self.eat(if object { b'}' } else { b']' }) {
                open.depth -= 1;
                continue;
            }
            if !self.eat(b',') {
                let what = if object {
                    "expected `,` or `}`"
                } else {
                    "expected `,` or `]`"
                };
                return Err(self.fault_or_end(what));
            }
            if object {
                self.skip_key()?;
            }
            return Ok(false);
        }
        Ok(true)
    }

    fn skip_key(&mut self) -> Result<(), Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.fault_or_end("expected a key in double quotes"));
        }
        self.skip_string()?;
        self.colon()
    }
}
