//! How is MessagePack read that nobody vouches for?
//!
//! A cursor over the bytes (<https://github.com/msgpack/msgpack/blob/master/spec.md>). A value of another kind than
//! the one asked for is passed over and told as `None`; only bytes that end early or mean nothing are a fault.

/// The bytes are no MessagePack from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) offset: usize,
}

/// What comes next, by its first byte.
enum Head {
    Nil,
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    /// Text or bytes of this length follow.
    Text(usize),
    Bytes(usize),
    /// So many values follow.
    Array(u32),
    /// So many pairs follow.
    Map(u32),
    /// Booleans, and extensions of this length.
    Other(usize),
}

/// A place in the bytes.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The number of values in the list next.
    pub(super) fn array(&mut self) -> Result<Option<u32>, Fault> {
        self.wanted(|head| match head {
            Head::Array(count) => Some(*count),
            _ => None,
        })
    }

    /// The number of pairs in the map next; stays before what is none.
    pub(super) fn map(&mut self) -> Result<Option<u32>, Fault> {
        let before = self.at;
        match self.head()? {
            Head::Map(pairs) => Ok(Some(pairs)),
            _ => {
                self.at = before;
                Ok(None)
            }
        }
    }

    /// Whether nothing comes next; it is taken then.
    pub(super) fn nil(&mut self) -> bool {
        let nil = self.bytes.get(self.at) == Some(&0xc0);
        self.at += usize::from(nil);
        nil
    }

    pub(super) fn integer(&mut self) -> Result<Option<i64>, Fault> {
        self.wanted(|head| match head {
            Head::Unsigned(value) => i64::try_from(*value).ok(),
            Head::Signed(value) => Some(*value),
            _ => None,
        })
    }

    pub(super) fn float(&mut self) -> Result<Option<f64>, Fault> {
        self.wanted(|head| match head {
            Head::Float(value) => Some(*value),
            Head::Unsigned(value) => Some(*value as f64),
            Head::Signed(value) => Some(*value as f64),
            _ => None,
        })
    }

    /// Text; broken UTF-8 counts as another kind.
    pub(super) fn text(&mut self) -> Result<Option<&'a str>, Fault> {
        let before = self.at;
        match self.head()? {
            Head::Text(length) => Ok(std::str::from_utf8(self.take(length)?).ok()),
            _ => {
                self.at = before;
                self.skip()?;
                Ok(None)
            }
        }
    }

    /// A hash: any integer, or the last 8 bytes of text or bytes.
    pub(super) fn hash(&mut self) -> Result<Option<u64>, Fault> {
        let before = self.at;
        Ok(match self.head()? {
            Head::Unsigned(value) => Some(value),
            Head::Signed(value) => Some(value.cast_unsigned()),
            Head::Bytes(length) | Head::Text(length) => low_64_bits(self.take(length)?),
            _ => {
                self.at = before;
                self.skip()?;
                None
            }
        })
    }

    /// Appends the whole list of token ids next; whether it was one.
    pub(super) fn token_ids(&mut self, out: &mut Vec<u32>) -> Result<bool, Fault> {
        let Some(count) = self.array()? else {
            return Ok(false);
        };
        // Each takes at least a byte, so a length that only claims reserves no more than what is there.
        out.reserve((count as usize).min(self.bytes.len() - self.at));
        let mut good = true;
        for _ in 0..count {
            let id = match self.head()? {
                Head::Unsigned(id) => u32::try_from(id).ok(),
                Head::Signed(id) => u32::try_from(id).ok(),
                head => {
                    self.skip_rest(head)?;
                    None
                }
            };
            good &= id.is_some();
            out.extend(id);
        }
        Ok(good)
    }

    /// Passes over one value; its bytes in hexadecimal, which tell it apart from any other.
    pub(super) fn raw_of_next(&mut self) -> Result<String, Fault> {
        let before = self.at;
        self.skip()?;
        let raw = &self.bytes[before..self.at];
        Ok(raw.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Passes over one value, however deep.
    pub(super) fn skip(&mut self) -> Result<(), Fault> {
        let head = self.head()?;
        self.skip_rest(head)
    }

    fn skip_rest(&mut self, head: Head) -> Result<(), Fault> {
        let mut left = self.inside(&head)?;
        // No recursion: what is nested only adds to the count.
        while left > 0 {
            let head = self.head()?;
            left = left - 1 + self.inside(&head)?;
        }
        Ok(())
    }

    /// Values inside what `head` begins; plain bytes are taken.
    fn inside(&mut self, head: &Head) -> Result<u64, Fault> {
        Ok(match *head {
            Head::Array(count) => u64::from(count),
            Head::Map(pairs) => 2 * u64::from(pairs),
            Head::Text(length) | Head::Bytes(length) | Head::Other(length) => {
                self.take(length)?;
                0
            }
            _ => 0,
        })
    }

    fn wanted<T>(&mut self, want: impl FnOnce(&Head) -> Option<T>) -> Result<Option<T>, Fault> {
        let head = self.head()?;
        let value = want(&head);
        if value.is_none() {
            self.skip_rest(head)?;
        }
        Ok(value)
    }

    fn head(&mut self) -> Result<Head, Fault> {
        let first = self.unsigned(1)?;
        let length = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        Ok(match first {
            0x00..=0x7f => Head::Unsigned(first),
            0x80..=0x8f => Head::Map((first & 0x0f) as u32),
            0x90..=0x9f => Head::Array((first & 0x0f) as u32),
            0xa0..=0xbf => Head::Text((first & 0x1f) as usize),
            0xc0 => Head::Nil,
            0xc2 | 0xc3 => Head::Other(0),
            0xc4..=0xc6 => Head::Bytes(length(self.unsigned(1 << (first - 0xc4))?)),
            // The type of an extension is one more byte.
            0xc7..=0xc9 => {
                Head::Other(length(self.unsigned(1 << (first - 0xc7))?).saturating_add(1))
            }
            0xca => Head::Float(f64::from(f32::from_bits(self.unsigned(4)? as u32))),
            0xcb => Head::Float(f64::from_bits(self.unsigned(8)?)),
            0xcc..=0xcf => Head::Unsigned(self.unsigned(1 << (first - 0xcc))?),
            0xd0 => Head::Signed(i64::from(self.unsigned(1)? as u8 as i8)),
            0xd1 => Head::Signed(i64::from(self.unsigned(2)? as u16 as i16)),
            0xd2 => Head::Signed(i64::from(self.unsigned(4)? as u32 as i32)),
            0xd3 => Head::Signed(self.unsigned(8)?.cast_signed()),
            0xd4..=0xd8 => Head::Other((1 << (first - 0xd4)) + 1),
            0xd9..=0xdb => Head::Text(length(self.unsigned(1 << (first - 0xd9))?)),
            0xdc | 0xdd => Head::Array(self.unsigned(2 << (first - 0xdc))? as u32),
            0xde | 0xdf => Head::Map(self.unsigned(2 << (first - 0xde))? as u32),
            0xe0..=0xff => Head::Signed(i64::from(first as u8 as i8)),
            // 0xc1 is never used.
            _ => {
                return Err(Fault {
                    offset: self.at - 1,
                });
            }
        })
    }

    /// A big-endian number of `bytes` bytes, at most 8.
    fn unsigned(&mut self, bytes: usize) -> Result<u64, Fault> {
        let taken = self.take(bytes)?;
        Ok(taken
            .iter()
            .fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..length).ok_or(Fault { offset: self.at })?;
        self.at += length;
        Ok(taken)
    }
}

/// The last 8 bytes, big endian, of a hash; `None` for none at all.
fn low_64_bits(bytes: &[u8]) -> Option<u64> {
    let last = &bytes[bytes.len().saturating_sub(8)..];
    (!last.is_empty()).then(|| {
        last.iter()
            .fold(0, |value, byte| (value << 8) | u64::from(*byte))
    })
}
