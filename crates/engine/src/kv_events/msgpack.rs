//! How is an event written down so that any MessagePack reader understands it?
//!
//! The little of MessagePack that events need, integers in their shortest form, as vLLM's own encoder writes them.

/// Bytes written so far.
#[derive(Debug, Default)]
pub(super) struct MsgPack {
    bytes: Vec<u8>,
}

impl MsgPack {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn nil(&mut self) {
        self.bytes.push(0xc0);
    }

    pub(super) fn float(&mut self, value: f64) {
        self.bytes.push(0xcb);
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn unsigned(&mut self, value: u64) {
        match value {
            0..=0x7f => self.bytes.push(value as u8),
            0x80..=0xff => self.bytes.extend([0xcc, value as u8]),
            0x100..=0xffff => self.sized(0xcd, &(value as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.sized(0xce, &(value as u32).to_be_bytes()),
            _ => self.sized(0xcf, &value.to_be_bytes()),
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        match text.len() {
            len @ 0..=31 => self.bytes.push(0xa0 | len as u8),
            len @ 32..=0xff => self.bytes.extend([0xd9, len as u8]),
            len @ 0x100..=0xffff => self.sized(0xda, &(len as u16).to_be_bytes()),
            len => self.sized(0xdb, &(len as u32).to_be_bytes()),
        }
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// At most 255 bytes: a digest.
    pub(super) fn binary(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= 0xff, "only digests are written as bytes");
        self.bytes.extend([0xc4, bytes.len() as u8]);
        self.bytes.extend_from_slice(bytes);
    }

    /// Head of an array; its items follow.
    pub(super) fn array(&mut self, len: usize) {
        match len {
            0..=15 => self.bytes.push(0x90 | len as u8),
            16..=0xffff => self.sized(0xdc, &(len as u16).to_be_bytes()),
            _ => self.sized(0xdd, &(len as u32).to_be_bytes()),
        }
    }

    /// Head of a map of at most 15 entries; keys and values follow in turn.
    pub(super) fn map(&mut self, len: usize) {
        debug_assert!(len <= 15, "events are small maps");
        self.bytes.push(0x80 | len as u8);
    }

    fn sized(&mut self, marker: u8, value: &[u8]) {
        self.bytes.push(marker);
        self.bytes.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl FnOnce(&mut MsgPack), expected: &[u8]) {
        let mut pack = MsgPack::default();
        write(&mut pack);
        assert_eq!(pack.into_bytes(), expected);
    }

    #[test]
    fn forms_are_the_shortest() {
        check(|p| p.unsigned(127), &[0x7f]);
        check(|p| p.unsigned(128), &[0xcc, 0x80]);
        check(|p| p.unsigned(256), &[0xcd, 1, 0]);
        check(|p| p.unsigned(0x1_0000), &[0xce, 0, 1, 0, 0]);
        check(
            |p| p.unsigned(u64::MAX),
            &[0xcf, 255, 255, 255, 255, 255, 255, 255, 255],
        );
        check(|p| p.float(1.5), &[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]);
        check(|p| p.text("GPU"), &[0xa3, b'G', b'P', b'U']);
        check(|p| p.array(15), &[0x9f]);
        check(|p| p.array(16), &[0xdc, 0, 16]);
        check(|p| p.array(0x1_0000), &[0xdd, 0, 1, 0, 0]);
        check(|p| p.map(2), &[0x82]);
        check(|p| p.nil(), &[0xc0]);
        check(|p| p.binary(&[1, 2]), &[0xc4, 2, 1, 2]);
    }

    #[test]
    fn long_texts_have_a_length() {
        for (len, head) in [
            (31, &[0xbf][..]),
            (32, &[0xd9, 32]),
            (256, &[0xda, 1, 0]),
            (0x1_0000, &[0xdb, 0, 1, 0, 0]),
        ] {
            let mut pack = MsgPack::default();
            pack.text(&"a".repeat(len));
            let bytes = pack.into_bytes();
            assert_eq!(
                (&bytes[..head.len()], bytes.len()),
                (head, head.len() + len)
            );
        }
    }
}
