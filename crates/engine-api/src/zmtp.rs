//! How does a ZeroMQ peer write its messages on a connection?
//!
//! ZMTP 3.0 (<https://rfc.zeromq.org/spec/23/>) as far as a subscriber and a replay's client need it: the greeting, the
//! NULL mechanism's READY, frames, and the answer to a PING. Peers of 3.1 adjust to us. A length is checked before
//! anything is reserved for it: a frame that claims a terabyte is an error here, not the end of the process.

/// Bytes of a greeting.
pub const GREETING_BYTES: usize = 64;

/// Frames of one message at most; events have three, replays four.
pub const MAX_FRAMES: usize = 8;

/// Why the other side does not speak ZMTP, or not with us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZmtpError {
    #[error("it does not speak ZeroMQ's protocol")]
    Greeting,
    #[error("it speaks version {0} of ZeroMQ's protocol; version 3 is needed")]
    Version(u8),
    #[error("it asks for security mechanism `{0}`; only NULL is supported")]
    Mechanism(String),
    #[error("a frame of {0} bytes; at most {1} are taken")]
    TooLong(u64, usize),
    #[error("a message of more than {MAX_FRAMES} frames")]
    TooMany,
    #[error("a frame with reserved flags {0:#04x}")]
    Flags(u8),
    #[error("a malformed command")]
    Command,
    #[error("it refused: {0}")]
    Refused(String),
}

/// A socket's type, as READY tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketType {
    Sub,
    Dealer,
}

impl SocketType {
    fn name(self) -> &'static str {
        match self {
            Self::Sub => "SUB",
            Self::Dealer => "DEALER",
        }
    }

    /// Whether `other`, a peer's own name for its type, is what this type talks to.
    pub fn talks_to(self, other: &str) -> bool {
        match self {
            Self::Sub => matches!(other, "PUB" | "XPUB"),
            Self::Dealer => matches!(other, "ROUTER" | "REP" | "DEALER"),
        }
    }
}

/// A frame at the beginning of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub body: &'a [u8],
    /// Another frame of the same message follows.
    pub more: bool,
    pub command: bool,
}

/// Our greeting.
pub fn greeting() -> [u8; GREETING_BYTES] {
    let mut bytes = [0; GREETING_BYTES];
    bytes[0] = 0xff;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    bytes[12..16].copy_from_slice(b"NULL");
    bytes
}

/// Judges a peer's greeting.
///
/// # Errors
/// It is none, or asks for what we do not speak.
pub fn check_greeting(bytes: &[u8; GREETING_BYTES]) -> Result<(), ZmtpError> {
    if bytes[0] != 0xff || bytes[9] & 1 != 1 {
        return Err(ZmtpError::Greeting);
    }
    if bytes[10] < 3 {
        return Err(ZmtpError::Version(bytes[10]));
    }
    let mechanism = &bytes[12..32];
    let end = mechanism.iter().position(|byte| *byte == 0);
    match &mechanism[..end.unwrap_or(mechanism.len())] {
        b"NULL" => Ok(()),
        other => Err(ZmtpError::Mechanism(text(other))),
    }
}

/// The frame at the beginning of `buffer` and the bytes it takes there; `None` until it is whole.
///
/// # Errors
/// It is longer than `max_bytes`, or its flags mean nothing.
pub fn frame(buffer: &[u8], max_bytes: usize) -> Result<Option<(Frame<'_>, usize)>, ZmtpError> {
    let Some(&flags) = buffer.first() else {
        return Ok(None);
    };
    if flags & !0b111 != 0 || flags & 0b101 == 0b101 {
        return Err(ZmtpError::Flags(flags));
    }
    let head = if flags & 0b010 == 0 { 2 } else { 9 };
    let Some(length) = buffer.get(1..head) else {
        return Ok(None);
    };
    let length = length
        .iter()
        .fold(0, |length, byte| (length << 8) | u64::from(*byte));
    let body_bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if body_bytes > max_bytes {
        return Err(ZmtpError::TooLong(length, max_bytes));
    }
    Ok(buffer.get(head..head + body_bytes).map(|body| {
        let frame = Frame {
            body,
            more: flags & 0b001 != 0,
            command: flags & 0b100 != 0,
        };
        (frame, head + body_bytes)
    }))
}

/// Appends a message of `frames`.
pub fn write_message(frames: &[&[u8]], out: &mut Vec<u8>) {
    for (number, body) in frames.iter().enumerate() {
        write(u8::from(number + 1 < frames.len()), body, out);
    }
}

/// Appends a subscription to topics that begin with `prefix`.
pub fn write_subscription(prefix: &[u8], out: &mut Vec<u8>) {
    write_message(&[&[&[1], prefix].concat()], out);
}

/// Appends our READY.
pub fn write_ready(kind: SocketType, out: &mut Vec<u8>) {
    let mut body = b"\x05READY".to_vec();
    for (name, value) in [("Socket-Type", kind.name()), ("Identity", "")] {
        body.push(name.len() as u8);
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    write(0b100, &body, out);
}

/// What a command asks of us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The peer is ready; its socket's type.
    Ready(String),
    /// To be answered by [`write_pong`] with the same context.
    Ping(Vec<u8>),
    /// Nothing: a PONG, a subscription, one that is not known.
    Other,
}

/// Reads a command's body.
///
/// # Errors
/// It is malformed, or the peer's ERROR.
pub fn command(body: &[u8]) -> Result<Command, ZmtpError> {
    let (name, rest) = short(body).ok_or(ZmtpError::Command)?;
    match name {
        b"READY" => Ok(Command::Ready(text(
            property(rest, b"socket-type")?.unwrap_or_default(),
        ))),
        // Two bytes of time to live, then the context.
        b"PING" => Ok(Command::Ping(rest.get(2..).unwrap_or_default().to_vec())),
        b"ERROR" => {
            let reason = short(rest).map_or(&[] as &[_], |(reason, _)| reason);
            Err(ZmtpError::Refused(text(reason)))
        }
        _ => Ok(Command::Other),
    }
}

/// Appends the answer to a PING.
pub fn write_pong(context: &[u8], out: &mut Vec<u8>) {
    // The specification allows a context of 16 bytes.
    let context = &context[..context.len().min(16)];
    write(0b100, &[b"\x04PONG", context].concat(), out);
}

/// The value of a property by its lower-case name.
fn property<'a>(mut rest: &'a [u8], wanted: &[u8]) -> Result<Option<&'a [u8]>, ZmtpError> {
    while !rest.is_empty() {
        let (name, after) = short(rest).ok_or(ZmtpError::Command)?;
        let (length, after) = after.split_first_chunk::<4>().ok_or(ZmtpError::Command)?;
        let length = u32::from_be_bytes(*length) as usize;
        let value = after.get(..length).ok_or(ZmtpError::Command)?;
        if name.eq_ignore_ascii_case(wanted) {
            return Ok(Some(value));
        }
        rest = &after[length..];
    }
    Ok(None)
}

/// Bytes with their length, one byte, before them; and what follows.
fn short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

fn write(flags: u8, body: &[u8], out: &mut Vec<u8>) {
    match u8::try_from(body.len()) {
        Ok(length) => out.extend_from_slice(&[flags, length]),
        Err(_) => {
            out.push(flags | 0b010);
            out.extend_from_slice(&(body.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(body);
}

/// A peer's words, short enough for a message and without control characters.
fn text(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(128)];
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|char| !char.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_whole_and_byte_by_byte() {
        let long = vec![7; 300];
        let mut out = Vec::new();
        write_message(&[b"topic", b"", &long], &mut out);
        let mut at = 0;
        let mut seen = Vec::new();
        while at < out.len() {
            for end in at..out.len() {
                if let Some((frame, taken)) = frame(&out[at..end], 1000).unwrap() {
                    assert_eq!(at + taken, end);
                    seen.push((frame.body.to_vec(), frame.more));
                    at = end;
                    break;
                }
            }
            if let Some((frame, taken)) = frame(&out[at..], 1000).unwrap() {
                seen.push((frame.body.to_vec(), frame.more));
                at += taken;
            }
        }
        assert_eq!(
            seen,
            [(b"topic".to_vec(), true), (Vec::new(), true), (long, false)]
        );
    }

    #[test]
    fn a_length_that_only_claims_is_refused() {
        let claim = [&[0b010][..], &[0x7f; 8]].concat();
        let error = frame(&claim, 1 << 20).unwrap_err();
        assert!(matches!(error, ZmtpError::TooLong(_, _)), "{error}");
        assert_eq!(frame(&[0b1000, 1], 10), Err(ZmtpError::Flags(0b1000)));
        assert_eq!(frame(&[0b010, 0], 10), Ok(None));
    }

    #[test]
    fn greetings_and_commands_are_judged() {
        let mut bytes = greeting();
        assert_eq!(check_greeting(&bytes), Ok(()));
        bytes[12..18].copy_from_slice(b"CURVE\0");
        assert_eq!(
            check_greeting(&bytes),
            Err(ZmtpError::Mechanism("CURVE".to_owned()))
        );
        bytes[10] = 1;
        assert_eq!(check_greeting(&bytes), Err(ZmtpError::Version(1)));
        assert_eq!(check_greeting(&[b'H'; 64]), Err(ZmtpError::Greeting));

        let mut out = Vec::new();
        write_ready(SocketType::Dealer, &mut out);
        let (ready, taken) = frame(&out, 100).unwrap().unwrap();
        assert_eq!(taken, out.len());
        assert_eq!(command(ready.body), Ok(Command::Ready("DEALER".to_owned())));
        assert_eq!(
            command(b"\x04PING\0\x01abc"),
            Ok(Command::Ping(b"abc".to_vec()))
        );
        assert_eq!(
            command(b"\x05ERROR\x02no"),
            Err(ZmtpError::Refused("no".to_owned()))
        );
        assert_eq!(
            command(b"\x05READY\x0bSocket-Type\0\0\0\x09PUB"),
            Err(ZmtpError::Command)
        );
        assert_eq!(command(b""), Err(ZmtpError::Command));
    }
}
