//! What did an engine publish that we have not heard?

use std::time::Duration;

use engine_api::kv_events::Frames;
use engine_api::zmtp::SocketType;

use super::address::Address;
use super::socket::{Connection, Message};

/// Longest silence within a replay.
const SILENT_WITHIN: Duration = Duration::from_secs(2);

/// An engine's answer, batch by batch.
pub(super) struct Replay {
    connection: Connection,
}

impl Replay {
    /// Asks for every batch from `from` on that the engine still has.
    ///
    /// # Errors
    /// It cannot be asked, in words.
    pub(super) async fn ask(address: &Address, from: u64) -> Result<Self, String> {
        let wrong = |error| format!("replay from {address}: {error}");
        let mut connection = Connection::open(address, SocketType::Dealer)
            .await
            .map_err(wrong)?;
        // The empty frame stands where a REQ socket would put its own.
        connection
            .send(&[b"", &from.to_be_bytes()])
            .await
            .map_err(wrong)?;
        Ok(Self { connection })
    }

    /// The next batch, in the order of their numbers; `None` after the last.
    ///
    /// # Errors
    /// The engine broke off or fell silent, in words.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, String> {
        let message = tokio::time::timeout(SILENT_WITHIN, self.connection.receive())
            .await
            .map_err(|_| "the replay fell silent".to_owned())?
            .map_err(|error| format!("the replay broke off: {error}"))?;
        let ended = {
            let frames: Vec<&[u8]> = message.iter().map(Vec::as_slice).collect();
            let frames = Frames::of(&frames).map_err(|error| format!("replay: {error}"))?;
            // Some engines end with an empty payload only.
            frames.is_end_of_replay() || frames.payload.is_empty()
        };
        Ok((!ended).then_some(message))
    }
}
