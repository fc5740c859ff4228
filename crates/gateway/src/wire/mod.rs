//! How is HTTP/1.1 spoken to an engine?
//!
//! A codec of our own rather than a client library: the task that serves the client reads the engine's socket
//! itself, so a streamed piece crosses neither a channel nor another task, dropping a response closes its
//! connection at once, and what had arrived before a failure is known to the byte.

mod body;
mod connection;
mod connections;
mod head;
mod payload;
mod socket;

pub(crate) use body::Framing;
pub(crate) use connection::{Connection, WireError};
pub(crate) use connections::{ConnectError, Connections, Target, Tls};
pub(crate) use head::{RequestHead, ResponseHead};
pub(crate) use payload::{BodyFault, Bounds, Payload, Streamed};
