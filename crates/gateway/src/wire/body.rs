//! Where does a response body end?

use bytes::{Buf, Bytes, BytesMut};

use super::WireError;

/// Longest line of a chunk's head, bytes; extensions beyond it are no honest engine's.
const MAX_CHUNK_LINE_BYTES: usize = 1024;

/// Largest trailer section passed over, bytes.
const MAX_TRAILER_BYTES: usize = 16 << 10;

/// How much of a body is still to come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// This many bytes.
    Length(u64),
    Chunked(Chunk),
    /// Whatever comes until the engine closes.
    UntilClose,
}

/// Where in the chunked coding the reader stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// Before a chunk's size line.
    Size,
    /// Inside a chunk with this many bytes left; 0 when only its line end is left.
    Data(u64),
    /// After the last chunk.
    Trailers,
}

/// What the bytes at hand amount to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Data(Bytes),
    /// More bytes must be read first.
    More,
    End,
}

impl Framing {
    pub(crate) fn chunked() -> Self {
        Self::Chunked(Chunk::Size)
    }

    /// Takes the next piece of body off the front of `buffer`.
    pub(crate) fn take(&mut self, buffer: &mut BytesMut) -> Result<Piece, WireError> {
        match self {
            Self::Length(0) => Ok(Piece::End),
            Self::Length(left) => Ok(up_to(left, buffer)),
            Self::UntilClose if buffer.is_empty() => Ok(Piece::More),
            Self::UntilClose => Ok(Piece::Data(buffer.split().freeze())),
            Self::Chunked(chunk) => chunk.take(buffer),
        }
    }

    /// What it means that the engine closed the connection.
    pub(crate) fn closed(&self) -> Result<Piece, WireError> {
        match self {
            Self::Length(0) | Self::UntilClose => Ok(Piece::End),
            Self::Length(_) | Self::Chunked(_) => Err(WireError::Closed),
        }
    }
}

/// Takes at most `left` bytes and counts them off.
fn up_to(left: &mut u64, buffer: &mut BytesMut) -> Piece {
    if buffer.is_empty() {
        return Piece::More;
    }
    let here = usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()));
    *left -= here as u64;
    Piece::Data(buffer.split_to(here).freeze())
}

impl Chunk {
    fn take(&mut self, buffer: &mut BytesMut) -> Result<Piece, WireError> {
        loop {
            match self {
                Self::Size => {
                    let Some(line) = line(buffer, MAX_CHUNK_LINE_BYTES)? else {
                        return Ok(Piece::More);
                    };
                    *self = match size(&buffer[..line])? {
                        0 => Self::Trailers,
                        size => Self::Data(size),
                    };
                    buffer.advance(line);
                }
                Self::Data(0) => match buffer.len() {
                    0 | 1 => return Ok(Piece::More),
                    _ if buffer.starts_with(b"\r\n") => {
                        buffer.advance(2);
                        *self = Self::Size;
                    }
                    _ => return Err(WireError::Protocol),
                },
                Self::Data(left) => {
                    let piece = up_to(left, buffer);
                    // Take the line end along where it is here already, so that the next look finds it gone.
                    if *left == 0 && buffer.starts_with(b"\r\n") {
                        buffer.advance(2);
                        *self = Self::Size;
                    }
                    return Ok(piece);
                }
                Self::Trailers => {
                    let Some(line) = line(buffer, MAX_TRAILER_BYTES)? else {
                        return Ok(Piece::More);
                    };
                    let blank = buffer[..line]
                        .iter()
                        .all(|byte| matches!(byte, b'\r' | b'\n'));
                    buffer.advance(line);
                    if blank {
                        return Ok(Piece::End);
                    }
                }
            }
        }
    }
}

/// Length of the first line, its end included; `None` while it is not whole.
fn line(buffer: &BytesMut, max_bytes: usize) -> Result<Option<usize>, WireError> {
    match memchr::memchr(b'\n', buffer) {
        Some(at) => Ok(Some(at + 1)),
        None if buffer.len() > max_bytes => Err(WireError::Protocol),
        None => Ok(None),
    }
}

fn size(line: &[u8]) -> Result<u64, WireError> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let ends_well = matches!(line.get(digits), Some(b'\r' | b'\n' | b';' | b' ' | b'\t'));
    if digits == 0 || digits > 16 || !ends_well {
        return Err(WireError::Protocol);
    }
    let text = std::str::from_utf8(&line[..digits]).map_err(|_| WireError::Protocol)?;
    u64::from_str_radix(text, 16).map_err(|_| WireError::Protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (
        fn() -> Framing,
        &'static [u8],
        &'static [u8],
        Result<bool, WireError>,
    );

    /// Feeds `wire` in pieces of `step` bytes; returns the body, and whether it ended or what was wrong.
    fn decode(
        mut framing: Framing,
        wire: &[u8],
        step: usize,
    ) -> (Vec<u8>, Result<bool, WireError>) {
        let mut buffer = BytesMut::new();
        let mut body = Vec::new();
        for piece in wire.chunks(step) {
            buffer.extend_from_slice(piece);
            loop {
                match framing.take(&mut buffer) {
                    Ok(Piece::Data(data)) => body.extend_from_slice(&data),
                    Ok(Piece::More) => break,
                    Ok(Piece::End) => return (body, Ok(true)),
                    Err(error) => return (body, Err(error)),
                }
            }
        }
        (body, framing.closed().map(|piece| piece == Piece::End))
    }

    #[test]
    fn bodies_end_where_they_say() {
        let cases: &[Case] = &[
            (|| Framing::Length(5), b"hello", b"hello", Ok(true)),
            (
                || Framing::Length(5),
                b"hell",
                b"hell",
                Err(WireError::Closed),
            ),
            (|| Framing::UntilClose, b"hello", b"hello", Ok(true)),
            (
                Framing::chunked,
                b"5\r\nhello\r\n0\r\n\r\n",
                b"hello",
                Ok(true),
            ),
            (
                Framing::chunked,
                b"5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nx: y\r\n\r\n",
                b"hello0123456789",
                Ok(true),
            ),
            (
                Framing::chunked,
                b"5\r\nhello\r\n",
                b"hello",
                Err(WireError::Closed),
            ),
            (
                Framing::chunked,
                b"5\r\nhel",
                b"hel",
                Err(WireError::Closed),
            ),
            (Framing::chunked, b"zz\r\n", b"", Err(WireError::Protocol)),
            (
                Framing::chunked,
                b"5\r\nhelloXX",
                b"hello",
                Err(WireError::Protocol),
            ),
            (
                Framing::chunked,
                b"11111111111111111\r\n",
                b"",
                Err(WireError::Protocol),
            ),
        ];
        for (framing, wire, body, end) in cases {
            for step in 1..=wire.len() {
                let got = decode(framing(), wire, step);
                assert_eq!(
                    got,
                    (body.to_vec(), *end),
                    "{:?} by {step}",
                    String::from_utf8_lossy(wire)
                );
            }
        }
    }
}
