//! What do a response's bytes say while they pass?

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use engine_api::sse::{ChunkView, Event, SseReader, read_chunk};
use engine_api::usage::{self, Usage};
use memchr::memmem::Finder;

/// Largest event looked into, bytes; longer ones pass unread.
const MAX_EVENT_BYTES: usize = 256 << 10;

/// Largest whole body looked into, bytes; of longer ones no usage is known.
const MAX_JSON_BYTES: usize = 4 << 20;

/// Events parsed at most before content has shown; from then on only those that name usage or an error.
const MAX_EARLY_EVENTS: u32 = 64;

/// In every count of tokens, whichever API counts: `"usage": {"prompt_tokens"…`, `"meta_info": {…"cached_tokens"…`.
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("_tokens\""));
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"error\""));

/// Reads along; never holds bytes back.
pub(crate) enum Watch {
    Events(Box<Events>),
    /// A whole JSON body, its pieces so far.
    Json {
        pieces: Vec<Bytes>,
        bytes: usize,
    },
    /// Nothing in it concerns us.
    Nothing,
}

pub(crate) struct Events {
    reader: SseReader,
    early: u32,
    pub(crate) seen: Seen,
}

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) usage: Option<Usage>,
    /// An in-band error, with its code where it has one.
    pub(crate) error: Option<Option<u16>>,
    /// Some event carried text.
    pub(crate) content: bool,
    /// Id of the response, on `/v1/responses`.
    pub(crate) response_id: Option<String>,
    /// `[DONE]` came.
    pub(crate) done: bool,
}

impl Watch {
    pub(crate) fn events() -> Self {
        Self::Events(Box::new(Events {
            reader: SseReader::new(MAX_EVENT_BYTES),
            early: 0,
            seen: Seen::default(),
        }))
    }

    pub(crate) fn json() -> Self {
        Self::Json {
            pieces: Vec::new(),
            bytes: 0,
        }
    }

    /// Reads a piece; returns what is known of an event stream by now.
    pub(crate) fn see(&mut self, piece: &Bytes) -> Option<&mut Seen> {
        match self {
            Self::Events(events) => {
                events.see(piece);
                Some(&mut events.seen)
            }
            Self::Json { pieces, bytes } => {
                *bytes += piece.len();
                if *bytes <= MAX_JSON_BYTES {
                    pieces.push(piece.clone());
                } else {
                    pieces.clear();
                }
                None
            }
            Self::Nothing => None,
        }
    }

    /// Usage, once the response is over.
    pub(crate) fn usage(&self) -> Option<Usage> {
        match self {
            Self::Events(events) => events.seen.usage,
            Self::Json { .. } => usage::read_body(&self.json_body()?),
            Self::Nothing => None,
        }
    }

    /// The `id` of a whole JSON body.
    pub(crate) fn json_id(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Identified {
            id: Option<String>,
        }
        let read: Identified = serde_json::from_slice(&self.json_body()?).ok()?;
        read.id
    }

    fn json_body(&self) -> Option<Bytes> {
        match self {
            Self::Json { bytes, .. } if *bytes > MAX_JSON_BYTES => None,
            Self::Json { pieces, .. } if pieces.len() == 1 => pieces.first().cloned(),
            Self::Json { pieces, bytes } => {
                let mut whole = BytesMut::with_capacity(*bytes);
                pieces
                    .iter()
                    .for_each(|piece| whole.extend_from_slice(piece));
                Some(whole.freeze())
            }
            _ => None,
        }
    }
}

impl Events {
    fn see(&mut self, piece: &[u8]) {
        let Self {
            reader,
            early,
            seen,
        } = self;
        reader.push(piece, |event| {
            let Event::Data(data) = event else {
                seen.done = true;
                return;
            };
            let is_early = !seen.content && *early < MAX_EARLY_EVENTS;
            if is_early || USAGE.find(data).is_some() || ERROR.find(data).is_some() {
                *early += 1;
                seen.take(read_chunk(data));
            }
        });
    }
}

impl Seen {
    /// The engine failed in band: an error of its own, not one that the request earned.
    pub(crate) fn is_failure(&self) -> bool {
        match self.error {
            Some(Some(code)) => code >= 500,
            Some(None) => true,
            None => false,
        }
    }

    fn take(&mut self, chunk: ChunkView) {
        self.usage = chunk.usage.or(self.usage);
        self.error = self.error.or(chunk.error);
        self.content |= chunk.has_content;
        if chunk.response_id.is_some() {
            self.response_id = chunk.response_id;
        }
    }
}
