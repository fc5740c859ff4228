//! Which tokens has an answer got since it was last read?

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::model::FinishReason;

/// Tokens of all sequences of one HTTP request, waiting to be read. Holds at most the whole answer.
#[derive(Debug)]
pub(crate) struct Mailbox {
    sequences: Mutex<Vec<Sequence>>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct Sequence {
    tokens: Vec<u32>,
    cached_tokens: Option<usize>,
    end: Option<End>,
    /// The end was read, or the reader wants no more.
    closed: bool,
}

/// How a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) reason: FinishReason,
    pub(crate) stop_token: Option<u32>,
}

/// What one sequence got since it was last read.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) sequence: usize,
    pub(crate) tokens: Vec<u32>,
    pub(crate) cached_tokens: usize,
    pub(crate) end: Option<End>,
}

impl Mailbox {
    pub(crate) fn new(sequences: usize) -> Self {
        let sequences = (0..sequences).map(|_| Sequence::default()).collect();
        Self {
            sequences: Mutex::new(sequences),
            ready: Notify::new(),
        }
    }

    pub(crate) fn scheduled(&self, sequence: usize, cached_tokens: usize) {
        self.sequences.lock()[sequence].cached_tokens = Some(cached_tokens);
    }

    pub(crate) fn token(&self, sequence: usize, token: u32) {
        self.sequences.lock()[sequence].tokens.push(token);
    }

    pub(crate) fn end(&self, sequence: usize, reason: FinishReason, stop_token: Option<u32>) {
        self.sequences.lock()[sequence].end = Some(End { reason, stop_token });
    }

    /// Lets the reader run; called once per step, so that a step is one piece.
    pub(crate) fn wake(&self) {
        self.ready.notify_one();
    }

    /// The reader wants no more of this sequence.
    pub(crate) fn close(&self, sequence: usize) {
        self.sequences.lock()[sequence].closed = true;
    }

    /// Closes all; returns those the model may still work on.
    pub(crate) fn close_all(&self) -> Vec<usize> {
        let mut sequences = self.sequences.lock();
        let open = sequences
            .iter()
            .enumerate()
            .filter(|(_, one)| !one.closed && one.end.is_none());
        let open = open.map(|(index, _)| index).collect();
        sequences.iter_mut().for_each(|one| one.closed = true);
        open
    }

    /// Waits until some sequence has something, and takes what all have. Empty once all are closed.
    pub(crate) async fn read(&self) -> Vec<Piece> {
        loop {
            if let Some(pieces) = self.take() {
                return pieces;
            }
            self.ready.notified().await;
        }
    }

    /// `None`: nothing there yet.
    fn take(&self) -> Option<Vec<Piece>> {
        let mut sequences = self.sequences.lock();
        let mut pieces = Vec::new();
        for (index, one) in sequences
            .iter_mut()
            .enumerate()
            .filter(|(_, one)| !one.closed)
        {
            if one.tokens.is_empty() && one.end.is_none() {
                continue;
            }
            one.closed = one.end.is_some();
            pieces.push(Piece {
                sequence: index,
                tokens: std::mem::take(&mut one.tokens),
                cached_tokens: one.cached_tokens.unwrap_or(0),
                end: one.end,
            });
        }
        (!pieces.is_empty() || sequences.iter().all(|one| one.closed)).then_some(pieces)
    }
}
