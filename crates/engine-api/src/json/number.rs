//! Which number stands here?

use super::{Cursor, Fault};

impl<'a> Cursor<'a> {
    /// Whether a number comes next, Python's `NaN` and `Infinity` included.
    pub(crate) fn at_number(&mut self) -> bool {
        matches!(self.peek(), Some(b'-' | b'0'..=b'9' | b'N' | b'I'))
    }

    /// Reads a number and returns it as written. The caller has seen that one comes next.
    pub(crate) fn number(&mut self) -> Result<&'a str, Fault> {
        let start = self.pos;
        if self.eat_word("NaN") {
            return Ok(self.since(start));
        }
        let negative = self.eat_word("-");
        if self.eat_word("Infinity") {
            return Ok(self.since(start));
        }
        let leading_zero = self.bytes().get(self.pos) == Some(&b'0');
        let whole = self.digits();
        if whole == 0 && !negative && self.pos < self.text.len() {
            return Err(self.fault("expected a value"));
        }
        if whole == 0 || (leading_zero && whole > 1) {
            return Err(self.fault_or_end("not a number"));
        }
        if self.eat_word(".") && self.digits() == 0 {
            return Err(self.fault_or_end("expected a digit"));
        }
        if self.eat_word("e") || self.eat_word("E") {
            let _sign = self.eat_word("+") || self.eat_word("-");
            if self.digits() == 0 {
                return Err(self.fault_or_end("expected a digit"));
            }
        }
        Ok(self.since(start))
    }

    /// Reads a number that is a whole one between 0 and `u64::MAX` (`16` and `16.0` alike); `None` for any other.
    pub(crate) fn unsigned(&mut self) -> Result<Option<u64>, Fault> {
        let written = self.number()?;
        let whole = match written.split_once('.') {
            Some((whole, rest)) if rest.bytes().all(|b| b == b'0') => whole,
            Some(_) => return Ok(None),
            None => written,
        };
        Ok(whole.parse().ok())
    }

    /// Reads a token id; the common case of a few plain digits costs no more than the digits.
    #[inline]
    pub(crate) fn token_id(&mut self) -> Result<Option<u32>, Fault> {
        let start = self.pos;
        let mut value: u64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.bytes().get(self.pos).copied() {
            if self.pos - start == 10 {
                break;
            }
            value = value * 10 + u64::from(digit - b'0');
            self.pos += 1;
        }
        let plain = matches!(self.bytes().get(self.pos), Some(b',' | b']' | b' ' | b'\n'));
        let canonical = self.bytes().get(start) != Some(&b'0') || self.pos == start + 1;
        if plain && canonical && self.pos > start {
            return Ok(u32::try_from(value).ok());
        }
        self.pos = start;
        Ok(self.unsigned()?.and_then(|wide| u32::try_from(wide).ok()))
    }

    fn digits(&mut self) -> usize {
        let start = self.pos;
        while matches!(self.bytes().get(self.pos), Some(b'0'..=b'9')) {
            self.pos += 1;
        }
        self.pos - start
    }
}
