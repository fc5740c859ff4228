//! What does a ZeroMQ peer send us?
//!
//! One connection with its handshake behind it. Written here instead of taken from a library because of what a hostile
//! or broken peer can do: a length is judged before memory is taken for it, a connection that ends is told at once with
//! its reason, and nothing is read that nobody waits for (see docs/decisions).

use std::io;
use std::time::Duration;

use engine_api::zmtp::{self, Command, GREETING_BYTES, MAX_FRAMES, SocketType, ZmtpError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::address::Address;

/// Longest wait for a connection and its handshake.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Longest frame taken: the longest payload that is read.
const MAX_FRAME_BYTES: usize = engine_api::kv_events::MAX_PAYLOAD_BYTES;

/// Taken from the network at once.
const READ_BYTES: usize = 64 << 10;

/// Buffers that grew beyond this for one message are given back.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

/// Why there is no message, in words for an operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error("connection refused")]
    Refused,
    #[error("{0}")]
    Io(io::Error),
    #[error("no answer within {} s", CONNECT_WITHIN.as_secs())]
    Timeout,
    #[error("the connection was closed")]
    Closed,
    #[error(transparent)]
    Protocol(#[from] ZmtpError),
    #[error("a socket of type {0} is there")]
    Type(String),
}

/// Anything that bytes go over.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection on which messages come.
pub(crate) struct Connection {
    wire: Box<dyn Wire>,
    /// Read but not taken yet, from `taken` on.
    buffer: Vec<u8>,
    taken: usize,
    /// To be written, from `written` on.
    out: Vec<u8>,
    written: usize,
    /// Frames of a message whose last one has not come.
    frames: Vec<Vec<u8>>,
    /// Looked at already, to be received again.
    put_back: Option<Message>,
}

/// One message.
pub(crate) type Message = Vec<Vec<u8>>;

impl Connection {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// Nobody listens, or what listens is no such socket.
    pub(crate) async fn open(address: &Address, kind: SocketType) -> Result<Self, SocketError> {
        let connect = async {
            let wire: Box<dyn Wire> = match address {
                Address::Tcp(host, port) => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    // Only costs latency when it fails.
                    let _ = stream.set_nodelay(true);
                    Box::new(stream)
                }
                Address::Ipc(path) => Box::new(UnixStream::connect(path).await?),
            };
            Self::shake_hands(wire, kind).await
        };
        let timed = tokio::time::timeout(CONNECT_WITHIN, connect).await;
        timed.unwrap_or(Err(SocketError::Timeout))
    }

    /// As [`open`](Self::open), on a connection that the peer opened.
    pub(crate) async fn accepted(
        wire: Box<dyn Wire>,
        kind: SocketType,
    ) -> Result<Self, SocketError> {
        let shaken = tokio::time::timeout(CONNECT_WITHIN, Self::shake_hands(wire, kind)).await;
        shaken.unwrap_or(Err(SocketError::Timeout))
    }

    async fn shake_hands(mut wire: Box<dyn Wire>, kind: SocketType) -> Result<Self, SocketError> {
        wire.write_all(&zmtp::greeting()).await?;
        let mut greeting = [0; GREETING_BYTES];
        wire.read_exact(&mut greeting).await?;
        zmtp::check_greeting(&greeting)?;
        let mut connection = Self {
            wire,
            buffer: Vec::new(),
            taken: 0,
            out: Vec::new(),
            written: 0,
            frames: Vec::new(),
            put_back: None,
        };
        zmtp::write_ready(kind, &mut connection.out);
        connection.flush().await?;
        loop {
            if let Some(Command::Ready(other)) = connection.take_command()? {
                return match kind.talks_to(&other) {
                    true => Ok(connection),
                    false => Err(SocketError::Type(other)),
                };
            }
            connection.read().await?;
        }
    }

    /// Asks a publisher for topics that begin with `prefix`.
    pub(crate) async fn subscribe(&mut self, prefix: &str) -> Result<(), SocketError> {
        zmtp::write_subscription(prefix.as_bytes(), &mut self.out);
        self.flush().await
    }

    pub(crate) async fn send(&mut self, frames: &[&[u8]]) -> Result<(), SocketError> {
        zmtp::write_message(frames, &mut self.out);
        self.flush().await
    }

    /// The next message. May be dropped at any point and called again: nothing is lost.
    ///
    /// # Errors
    /// The connection has ended or is of no use any more.
    pub(crate) async fn receive(&mut self) -> Result<Message, SocketError> {
        if let Some(message) = self.put_back.take() {
            return Ok(message);
        }
        loop {
            self.flush().await?;
            match self.take_message()? {
                Some(message) => return Ok(message),
                // Answering a PING comes before waiting.
                None if self.written < self.out.len() => {}
                None => self.read().await?,
            }
        }
    }

    /// The next [`receive`](Self::receive) gives `message`.
    pub(crate) fn put_back(&mut self, message: Message) {
        self.put_back = Some(message);
    }

    /// A message that is already here, if any.
    fn take_message(&mut self) -> Result<Option<Message>, SocketError> {
        while let Some((frame, length)) = zmtp::frame(&self.buffer[self.taken..], MAX_FRAME_BYTES)?
        {
            if frame.command {
                if let Command::Ping(context) = zmtp::command(frame.body)? {
                    zmtp::write_pong(&context, &mut self.out);
                }
                self.taken += length;
                continue;
            }
            if self.frames.len() >= MAX_FRAMES {
                return Err(ZmtpError::TooMany.into());
            }
            self.frames.push(frame.body.to_vec());
            let more = frame.more;
            self.taken += length;
            if !more {
                return Ok(Some(std::mem::take(&mut self.frames)));
            }
        }
        Ok(None)
    }

    fn take_command(&mut self) -> Result<Option<Command>, SocketError> {
        let found = zmtp::frame(&self.buffer[self.taken..], MAX_FRAME_BYTES)?;
        let Some((frame, length)) = found else {
            return Ok(None);
        };
        if !frame.command {
            return Err(ZmtpError::Command.into());
        }
        let command = zmtp::command(frame.body)?;
        self.taken += length;
        Ok(Some(command))
    }

    async fn read(&mut self) -> Result<(), SocketError> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BUFFER_BYTES {
            self.buffer = Vec::new();
        }
        // By what comes, never by what a length claims.
        self.buffer.reserve(READ_BYTES);
        match self.wire.read_buf(&mut self.buffer).await? {
            0 => Err(SocketError::Closed),
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), SocketError> {
        while self.written < self.out.len() {
            self.written += self.wire.write(&self.out[self.written..]).await?;
        }
        self.out.clear();
        self.written = 0;
        Ok(self.wire.flush().await?)
    }
}

impl From<io::Error> for SocketError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}
