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

    /// Reads a token id.
    pub(crate) fn token_id(&mut self) -> Result<Option<u32>, Fault> {
        Ok(self.unsigned()?.and_then(|wide| u32::try_from(wide).ok()))
    }

    /// Reads as many token ids as stand here in the plainest form: at most nine digits, a comma, perhaps a space.
    /// Stops before the first that does not (the last of a list never does).
    pub(crate) fn plain_token_ids(&mut self, ids: &mut Vec<u32>) {
        self.peek();
        let bytes = self.bytes();
        let mut at = self.pos;
        loop {
            let start = at;
            let mut value = 0_u32;
            while let Some(digit @ b'0'..=b'9') = bytes.get(at).copied()
                && at - start < 9
            {
                value = value * 10 + u32::from(digit - b'0');
                at += 1;
            }
            let padded = at > start + 1 && bytes[start] == b'0';
            if at == start || padded || bytes.get(at) != Some(&b',') {
                return;
            }
            ids.push(value);
            at += 1 + usize::from(bytes.get(at + 1) == Some(&b' '));
            self.pos = at;
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.pos;
        while matches!(self.bytes().get(self.pos), Some(b'0'..=b'9')) {
            self.pos += 1;
        }
        self.pos - start
    }
}
