//! Where does one server-sent event end, and what does it say?

/// Splits a byte stream into events; a piece border may fall anywhere. Holds at most `max_event_bytes`
/// of an unfinished event; a longer one is passed over and counted, never buffered.
#[derive(Debug)]
pub struct SseReader {
    max_event_bytes: usize,
}

/// One event's `data` payload, borrowed for the call.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    Data(&'a [u8]),
    /// `data: [DONE]`
    Done,
}

impl SseReader {
    pub fn new(max_event_bytes: usize) -> Self {
        Self { max_event_bytes }
    }

    /// Feeds `bytes`; `on` is called once per complete event, in order.
    pub fn push(&mut self, _bytes: &[u8], _on: impl FnMut(Event<'_>)) {
        let _ = self.max_event_bytes;
    }
}

/// What a stream event's JSON says, as far as routing cares.
#[derive(Debug, Default, PartialEq)]
pub struct ChunkView {
    pub usage: Option<crate::usage::Usage>,
    /// The event is an in-band error: `{"error": …}`; its `code` if numeric.
    pub error: Option<Option<u16>>,
    /// Some choice carries non-empty text, reasoning or tool-call output.
    pub has_content: bool,
    /// Responses API: id in `response.created`.
    pub response_id: Option<String>,
}

/// Reads one event's JSON without building a tree; nonsense reads as nothing.
pub fn read_chunk(_data: &[u8]) -> ChunkView {
    ChunkView::default()
}
