//! How is a block's content written down so that every replica hashes the same bytes?
//!
//! The little of canonical CBOR (RFC 8949, 4.2.1) that a block needs: shortest-form integers, byte and text strings,
//! arrays of known length, null.

/// Bytes written so far.
#[derive(Debug, Default)]
pub(super) struct Cbor {
    bytes: Vec<u8>,
}

const UNSIGNED: u8 = 0 << 5;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
const ARRAY: u8 = 4 << 5;
const NULL: u8 = 0xf6;

impl Cbor {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[inline]
    fn head(&mut self, major: u8, value: u64) {
        match value {
            0..24 => self.bytes.push(major | value as u8),
            24..0x100 => self.bytes.extend_from_slice(&[major | 24, value as u8]),
            0x100..0x1_0000 => {
                let [high, low] = (value as u16).to_be_bytes();
                self.bytes.extend_from_slice(&[major | 25, high, low]);
            }
            0x1_0000..0x1_0000_0000 => {
                self.bytes.push(major | 26);
                self.bytes.extend_from_slice(&(value as u32).to_be_bytes());
            }
            _ => {
                self.bytes.push(major | 27);
                self.bytes.extend_from_slice(&value.to_be_bytes());
            }
        }
    }

    #[inline]
    pub(super) fn unsigned(&mut self, value: u64) {
        self.head(UNSIGNED, value);
    }

    pub(super) fn array(&mut self, len: usize) {
        self.head(ARRAY, len as u64);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.head(BYTES, bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.head(TEXT, text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(super) fn null(&mut self) {
        self.bytes.push(NULL);
    }
}

#[cfg(test)]
mod tests {
    use super::Cbor;

    /// The integer examples of RFC 8949, appendix A.
    #[test]
    fn integers_take_the_shortest_form() {
        for (value, expected) in [
            (0, "00"),
            (23, "17"),
            (24, "1818"),
            (100, "1864"),
            (255, "18ff"),
            (256, "190100"),
            (1000, "1903e8"),
            (65_535, "19ffff"),
            (1_000_000, "1a000f4240"),
            (1_000_000_000_000, "1b000000e8d4a51000"),
        ] {
            let mut cbor = Cbor::default();
            cbor.unsigned(value);
            let hex: String = cbor
                .as_bytes()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(hex, expected, "{value}");
        }
    }
}
