//! How is a block's content written down so that every replica hashes the same bytes?
//!
//! The little of canonical CBOR (RFC 8949, 4.2.1) that a block needs: shortest-form integers, byte and text strings,
//! arrays of known length, null.

/// Bytes written so far.
#[derive(Debug, Default)]
pub(super) struct Cbor {
    bytes: Vec<u8>,
}

const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
const ARRAY: u8 = 4 << 5;
const NULL: u8 = 0xf6;

/// Bytes of the longest form of a 32-bit integer.
const LONGEST_U32: usize = 5;

/// Writes the shortest form to the front of `out`, which must have room for the longest; returns its length.
#[inline]
fn put_u32(out: &mut [u8], value: u32) -> usize {
    let [a, b, c, d] = value.to_be_bytes();
    match value {
        0..24 => {
            out[0] = d;
            1
        }
        24..0x100 => {
            out[..2].copy_from_slice(&[24, d]);
            2
        }
        0x100..0x1_0000 => {
            out[..3].copy_from_slice(&[25, c, d]);
            3
        }
        _ => {
            out[..LONGEST_U32].copy_from_slice(&[26, a, b, c, d]);
            LONGEST_U32
        }
    }
}

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

    /// An array of 32-bit integers: what almost all bytes of a block are, so it writes into room made once.
    pub(super) fn array_of_unsigned(&mut self, values: impl ExactSizeIterator<Item = u32>) {
        self.array(values.len());
        let mut end = self.bytes.len();
        self.bytes.resize(end + values.len() * LONGEST_U32, 0);
        for value in values {
            end += put_u32(&mut self.bytes[end..], value);
        }
        self.bytes.truncate(end);
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

    /// The integer examples of RFC 8949, appendix A, that fit 32 bits, and the edges between the forms.
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
            (65_536, "1a00010000"),
            (1_000_000, "1a000f4240"),
            (u32::MAX, "1affffffff"),
        ] {
            let mut cbor = Cbor::default();
            cbor.array_of_unsigned([value].into_iter());
            assert_eq!(hex(&cbor), format!("81{expected}"), "{value}");
        }
    }

    #[test]
    fn lengths_take_the_shortest_form() {
        for (len, expected) in [(0, "60"), (23, "77"), (24, "7818"), (300, "79012c")] {
            let mut cbor = Cbor::default();
            cbor.text(&"x".repeat(len));
            assert!(hex(&cbor).starts_with(expected), "{len}");
        }
    }

    fn hex(cbor: &Cbor) -> String {
        cbor.as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}
