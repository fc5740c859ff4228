//! Where does one server-sent event end, and what does it say?

mod chunk;
mod reader;

pub(crate) use chunk::read_answer;
pub use chunk::{ChunkView, read_chunk};
pub use reader::{Event, SseReader};
