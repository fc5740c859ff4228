//! What characters does a JSON string hold?

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::{Cursor, Fault};

/// Bytes looked at together for control characters; wide enough for the compiler to use vectors.
const STRIDE: usize = 128;

impl<'a> Cursor<'a> {
    /// Reads a string; borrowed unless it holds escapes. A lone surrogate escape reads as U+FFFD.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        let first = self.open_quote()?;
        let mut run = first;
        let mut decoded: Option<String> = None;
        loop {
            let stop = self.plain_run(run)?;
            let plain = self.text.get(run..stop).unwrap_or_default();
            self.pos = stop + 1;
            if self.bytes()[stop] == b'"' {
                return Ok(match decoded {
                    None => Cow::Borrowed(plain),
                    Some(head) => Cow::Owned(head + plain),
                });
            }
            let text = decoded.get_or_insert_with(|| self.room(first));
            text.push_str(plain);
            text.push(self.escape()?);
            run = self.pos;
        }
    }

    /// Room for the string that began at `first`, up to the next quote: exact unless that one is escaped, and
    /// never more than the string is long.
    fn room(&self, first: usize) -> String {
        let rest = &self.bytes()[self.pos..];
        String::with_capacity(self.pos - first + memchr(b'"', rest).unwrap_or(0))
    }

    /// Passes over a string, checking it as [`string`](Self::string) does.
    pub(crate) fn skip_string(&mut self) -> Result<(), Fault> {
        let mut run = self.open_quote()?;
        loop {
            let stop = self.plain_run(run)?;
            self.pos = stop + 1;
            if self.bytes()[stop] == b'"' {
                return Ok(());
            }
            self.escape()?;
            run = self.pos;
        }
    }

    fn open_quote(&mut self) -> Result<usize, Fault> {
        if self.eat(b'"') {
            return Ok(self.pos);
        }
        Err(self.fault_or_end("expected a string"))
    }

    /// Offset of the quote or backslash that ends the run of ordinary characters from `from` on.
    #[inline]
    fn plain_run(&mut self, from: usize) -> Result<usize, Fault> {
        let stop = find_special(self.bytes(), from, self.has_controls);
        match self.bytes().get(stop) {
            Some(b'"' | b'\\') => Ok(stop),
            Some(_) => {
                self.pos = stop;
                Err(self.fault("control character in a string"))
            }
            None => {
                self.pos = stop;
                Err(self.fault("unterminated string"))
            }
        }
    }

    /// Reads what follows a backslash.
    fn escape(&mut self) -> Result<char, Fault> {
        let at = self.pos;
        self.pos += 1;
        Ok(match self.bytes().get(at) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            other => {
                self.pos = at;
                let what = if other.is_none() {
                    "unterminated string"
                } else {
                    "unknown escape in a string"
                };
                return Err(self.fault(what));
            }
        })
    }

    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let after_first = self.pos;
        if self.eat_word("\\u") {
            let second = self.hex4()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.pos = after_first;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, Fault> {
        let digits = self.bytes().get(self.pos..self.pos + 4).unwrap_or_default();
        let mut value = 0;
        for &digit in digits {
            let Some(nibble) = char::from(digit).to_digit(16) else {
                return Err(self.fault("expected four hexadecimal digits"));
            };
            value = value << 4 | nibble;
        }
        if digits.len() < 4 {
            return Err(self.fault("expected four hexadecimal digits"));
        }
        self.pos += 4;
        Ok(value)
    }
}

/// First quote, backslash or control character at or after `from`; the length of `bytes` if there is none.
/// Without `has_controls`, `bytes` is known to hold no control character.
#[inline]
fn find_special(bytes: &[u8], from: usize, has_controls: bool) -> usize {
    let mut at = from;
    // Keys and short values end within a few bytes: no wide look for them.
    for _ in 0..2 {
        match bytes.get(at..at + 8).map(special_in_word) {
            Some(Some(offset)) => return at + offset,
            Some(None) => at += 8,
            None => break,
        }
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let end = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    let control = if has_controls {
        first_control(&rest[..end])
    } else {
        None
    };
    at + control.unwrap_or(end)
}

/// Offset of the first control character. They are an error in strings, so that there are none is what is found
/// out quickly.
pub(super) fn first_control(bytes: &[u8]) -> Option<usize> {
    let is_control = |byte: &u8| *byte < 0x20;
    let any = |stride: &[u8]| {
        stride
            .iter()
            .fold(false, |seen, byte| seen | is_control(byte))
    };
    let clean = bytes.chunks(STRIDE).position(any)? * STRIDE;
    let within = bytes[clean..].iter().position(is_control)?;
    Some(clean + within)
}

/// Index of the first special byte among eight, all looked at in one register.
#[inline]
fn special_in_word(word: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(word.try_into().ok()?);
    // A byte's high bit is set where it is below the bound; borrows can only spoil bytes above a true hit.
    let below = |bits: u64, bound: u64| bits.wrapping_sub(ONES * bound) & !bits;
    let quote = word ^ (ONES * u64::from(b'"'));
    let backslash = word ^ (ONES * u64::from(b'\\'));
    let hits = (below(word, 0x20) | below(quote, 1) | below(backslash, 1)) & HIGHS;
    (hits != 0).then(|| (hits.trailing_zeros() / 8) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wide_look_finds_what_the_narrow_one_finds() {
        for special in [b'"', b'\\', 0x1f, 0, b'\n'] {
            for at in 0..200 {
                let mut bytes = vec![b'x'; 200];
                bytes[at] = special;
                assert_eq!(find_special(&bytes, 0, true), at);
                assert_eq!(find_special(&bytes, at.min(3), true), at);
                assert_eq!(first_control(&bytes), (special < 0x20).then_some(at));
            }
        }
        assert_eq!(find_special(&[0xff; 70], 0, true), 70);
        assert_eq!(find_special(b" !#[]~\x7f\x80", 0, false), 8);
    }
}
