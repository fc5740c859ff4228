//! What do an endpoint's messages come to, and is everything it holds known?
//!
//! Whatever cannot be had makes what is known of the endpoint a guess: its entries go, and it counts as stale until it
//! is known again that nothing is missing. That is so when a new process begins, when the engine forgets everything, or
//! when it has stored as many blocks as it has room for with each of them known to follow another: what it held before
//! is then either told anew or gone.

use engine_api::kv_events::{Batch, Frames, KvEvent};
use kv_index::exact::{Applied, BatchOutcome};

use super::address::Address;
use super::known::{Known, Step};
use super::replay::Replay;
use super::socket::Message;
use super::state::{State, Why};

/// Where batches go.
pub(super) trait Sink {
    /// Applies one batch of the endpoint.
    fn apply(&self, batch: &Batch, sequence: u64, replay: bool) -> Applied;
    /// Drops what is known of the endpoint.
    fn clear(&self);
    /// From here on less is known than the endpoint holds; said before anything more is applied.
    fn lost(&self, state: &State);
    /// Number of the last batch applied since the last clear; `None` where somebody else cleared it.
    fn sequence(&self) -> Option<u64>;
    /// Tokens in a block, where the engine's metrics have told.
    fn block_size_tokens(&self) -> Option<u32>;
    /// Blocks the engine has room for, where its metrics have told.
    fn num_blocks(&self) -> Option<u64>;
}

/// Why less is known than the endpoint holds.
#[derive(Debug)]
struct Loss {
    why: Why,
    reason: String,
    /// Blocks stored since, and since the last one whose parent was not known.
    stored_blocks: u64,
}

/// The messages of one endpoint, over as many connections as it takes.
pub(super) struct Follower<S> {
    pub(super) sink: S,
    rank: Option<u32>,
    known: Known,
    loss: Option<Loss>,
    /// What is wrong with the latest batch itself.
    flaw: Option<(Why, String)>,
    /// A replay failed for a reason that may pass.
    replay_owed: bool,
    /// A batch was applied since the last clear of our own.
    applied: bool,
}

impl<S: Sink> Follower<S> {
    pub(super) fn new(sink: S, rank: Option<u32>) -> Self {
        Self {
            sink,
            rank,
            known: Known::default(),
            loss: None,
            flaw: None,
            replay_owed: false,
            applied: false,
        }
    }

    /// What to tell of an endpoint while it is connected.
    pub(super) fn state(&self) -> State {
        if let Some((why, reason)) = &self.flaw {
            return State::stale(*why, reason.clone());
        }
        match &self.loss {
            Some(loss) => State::stale(loss.why, self.in_words(loss)),
            None if self.known.last().is_none() && !self.begun() => State::stale(
                Why::Waiting,
                "connected; nothing was published yet, and without a replay endpoint it is not known what was before",
            ),
            None => State::exact(),
        }
    }

    /// Nothing was ever published, as a replay has shown.
    fn begun(&self) -> bool {
        self.known.is_beginning()
    }

    fn in_words(&self, loss: &Loss) -> String {
        match self.sink.num_blocks() {
            Some(blocks) if loss.stored_blocks > 0 => format!(
                "{}; exact again once its cache has turned over ({} of {blocks} blocks)",
                loss.reason, loss.stored_blocks
            ),
            _ => loss.reason.clone(),
        }
    }

    /// Whether anything of the endpoint was ever known.
    pub(super) fn has_known(&self) -> bool {
        self.known.last().is_some()
    }

    /// A connection was made and subscribed.
    pub(super) async fn connected(&mut self, replay: Option<&Address>) {
        self.known.connected();
        self.flaw = None;
        match replay {
            Some(address) => self.catch_up(address).await,
            None if self.has_known() => self.lose(
                Why::Disconnected,
                "the connection was interrupted, and without a replay endpoint it is not known what was missed"
                    .to_owned(),
            ),
            None => {}
        }
    }

    /// Hears everything that the engine still has and that was not heard.
    pub(super) async fn catch_up(&mut self, address: &Address) {
        self.replay_owed = false;
        if self.was_cleared_elsewhere() {
            self.restart();
        }
        match self.replay(address).await {
            Ok(true) => {}
            // Another process: its own history, from the beginning.
            Ok(false) => {
                self.restart();
                if let Err(reason) = self.replay(address).await {
                    self.replay_failed(reason);
                }
            }
            Err(reason) => self.replay_failed(reason),
        }
    }

    fn replay_failed(&mut self, reason: String) {
        self.replay_owed = true;
        let why = if self.has_known() {
            Why::Gap
        } else {
            Why::LateStart
        };
        self.lose(why, reason);
    }

    /// Tries a failed replay again, from the beginning.
    pub(super) async fn settle(&mut self, address: &Address) {
        if self.replay_owed {
            self.restart();
        }
        self.catch_up(address).await;
    }

    /// Notices, between messages, that what was applied is gone.
    pub(super) fn check(&mut self) {
        if self.was_cleared_elsewhere() {
            self.lose(
                Why::LateStart,
                "the engine was restarted, and without a replay endpoint it is not known what it stored since"
                    .to_owned(),
            );
        }
    }

    pub(super) fn owes_replay(&self) -> bool {
        self.replay_owed
    }

    /// Replays from the last batch on; false where another process answers.
    async fn replay(&mut self, address: &Address) -> Result<bool, String> {
        let mut same = self.known.last().is_none();
        let mut replay = Replay::ask(address, self.known.last().unwrap_or(0)).await?;
        while let Some(message) = replay.next().await? {
            let frames: Vec<&[u8]> = message.iter().map(Vec::as_slice).collect();
            let frames = Frames::of(&frames).map_err(|error| format!("replay: {error}"))?;
            if !same {
                if !self.known.is_last(frames.sequence, frames.payload) {
                    return Ok(false);
                }
                same = true;
                continue;
            }
            match self.known.step(frames.sequence) {
                Step::Next | Step::Beginning => {}
                Step::Gap { missing } => self.missed(missing, frames.sequence),
                Step::Again | Step::Restart { .. } => continue,
            }
            self.apply(frames, true);
        }
        if same && !self.has_known() {
            self.known.nothing_yet();
        }
        Ok(same)
    }

    /// A live message came.
    pub(super) async fn message(&mut self, message: &Message, replay: Option<&Address>) {
        let frames: Vec<&[u8]> = message.iter().map(Vec::as_slice).collect();
        let frames = match Frames::of(&frames) {
            Ok(frames) => frames,
            Err(error) => return self.lose(Why::Garbage, error.to_string()),
        };
        if self.was_cleared_elsewhere() {
            self.restart();
        }
        let mut step = self.known.step(frames.sequence);
        if let Step::Restart { first } = step {
            self.restart();
            step = match first {
                true => Step::Beginning,
                false => Step::Gap { missing: 0 },
            };
        }
        if let (Step::Gap { .. }, Some(address)) = (step, replay) {
            self.catch_up(address).await;
            step = self.known.step(frames.sequence);
        }
        match step {
            Step::Next => {}
            Step::Beginning => self.loss = None,
            Step::Gap { missing } => self.missed(missing, frames.sequence),
            // A replay that went beyond it.
            Step::Again | Step::Restart { .. } => return,
        }
        self.apply(frames, false);
    }

    fn missed(&mut self, missing: u64, found: u64) {
        // What a failed replay has said already says more.
        if self.replay_owed && self.loss.is_some() {
            self.clear();
            return;
        }
        match missing {
            0 => self.lose(
                Why::LateStart,
                format!("batches before number {found} were not heard and cannot be had"),
            ),
            _ => self.lose(
                Why::Gap,
                format!(
                    "batches {missing} to {} were lost and cannot be had",
                    found - 1
                ),
            ),
        }
    }

    fn apply(&mut self, frames: Frames<'_>, replay: bool) {
        let decoded = Batch::decode(frames.payload);
        match decoded {
            Ok(batch) => self.take(&batch, frames.sequence, replay),
            Err(error) => self.lose(
                Why::Garbage,
                format!("batch {} cannot be read: {error}", frames.sequence),
            ),
        }
        match replay {
            true => self.known.replayed(frames.sequence, frames.payload),
            false => self.known.passed(frames.sequence, frames.payload),
        }
    }

    fn take(&mut self, batch: &Batch, sequence: u64, replay: bool) {
        self.flaw = self.flaw_of(batch);
        if matches!(self.flaw, Some((Why::Rank, _))) {
            return;
        }
        let applied = self.sink.apply(batch, sequence, replay);
        self.applied = true;
        match applied.outcome {
            BatchOutcome::NoSlot => {
                let reason = "the index has no room for this endpoint".to_owned();
                self.flaw = Some((Why::NoRoom, reason));
            }
            BatchOutcome::Gap { expected, found } => self.missed(expected, found),
            BatchOutcome::Applied | BatchOutcome::AlreadySeen | BatchOutcome::Restarted => {}
        }
        if applied.refused_blocks > 0 {
            let reason =
                "its blocks do not fit into the index's memory cap (index_max_bytes)".to_owned();
            self.lose(Why::NoRoom, reason);
        }
        if applied.malformed_events > 0 {
            let reason = format!("batch {sequence} holds events that the index cannot take");
            self.lose(Why::Garbage, reason);
        }
        if batch.events.contains(&KvEvent::Cleared) {
            self.loss = None;
        }
        self.turn_over(&applied);
    }

    /// After a loss: whether everything held has been told since.
    fn turn_over(&mut self, applied: &Applied) {
        let Some(loss) = &mut self.loss else { return };
        loss.stored_blocks += applied.stored_blocks;
        if applied.orphan_blocks > 0 {
            loss.stored_blocks = 0;
        }
        let room = self.sink.num_blocks();
        if room.is_some_and(|room| loss.stored_blocks >= room) {
            self.loss = None;
        }
    }

    /// What is wrong with a batch that can be read.
    fn flaw_of(&self, batch: &Batch) -> Option<(Why, String)> {
        if let (Some(own), Some(told)) = (self.rank, batch.rank)
            && own != told
        {
            let reason = format!(
                "events of data-parallel rank {told} come from where rank {own} should publish"
            );
            return Some((Why::Rank, reason));
        }
        let expected = self.sink.block_size_tokens()?;
        let wrong = batch.events.iter().find_map(|event| match event {
            KvEvent::Stored(stored) if stored.block_size_tokens != expected => {
                Some(stored.block_size_tokens)
            }
            _ => None,
        });
        match (wrong, &self.flaw) {
            (Some(told), _) => Some((
                Why::BlockSize,
                format!(
                    "events are about blocks of {told} tokens, but the engine's metrics say {expected}; is another engine publishing there?"
                ),
            )),
            // Until blocks of the right size are told, a removal says nothing about them.
            (None, Some((Why::BlockSize, reason)))
                if !batch
                    .events
                    .iter()
                    .any(|event| matches!(event, KvEvent::Stored(_))) =>
            {
                Some((Why::BlockSize, reason.clone()))
            }
            (None, _) => None,
        }
    }

    /// Somebody else, who saw the engine restart, dropped what was applied.
    fn was_cleared_elsewhere(&self) -> bool {
        self.applied && self.sink.sequence().is_none()
    }

    /// Nothing known before holds; from here on nothing is missing.
    fn restart(&mut self) {
        self.clear();
        self.known.forget();
        self.loss = None;
        self.flaw = None;
    }

    fn clear(&mut self) {
        self.sink.clear();
        self.applied = false;
    }

    fn lose(&mut self, why: Why, reason: String) {
        self.clear();
        self.known.forget();
        self.loss = Some(Loss {
            why,
            reason,
            stored_blocks: 0,
        });
        self.sink.lost(&self.state());
    }
}

#[cfg(test)]
#[path = "follower_tests.rs"]
mod tests;
