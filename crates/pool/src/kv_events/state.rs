//! Is an endpoint's cache known, and if not, why?

/// Whether it is known exactly, and why not; one line is logged where this changes, whatever the figures in its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Follows,
    /// Nowhere to connect to: events are off at the engine, or a setting is missing.
    NoSource,
    /// Nobody answers there.
    NotConnected,
    /// The connection ended.
    Disconnected,
    /// Connected; whether anything came before is not known until something comes.
    Waiting,
    /// Batches were missed and cannot be had.
    Gap,
    /// History before some batch cannot be had.
    LateStart,
    /// Bytes that are no events.
    Garbage,
    /// Blocks of another size than the engine's metrics tell.
    BlockSize,
    /// Events of another data-parallel rank.
    Rank,
    /// The engine works but tells nothing.
    Silent,
    /// Events go to an index that has no room.
    NoRoom,
}

impl Why {
    /// One word for it, for metrics and rules.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Follows => "follows",
            Self::NoSource => "no_source",
            Self::NotConnected => "not_connected",
            Self::Disconnected => "disconnected",
            Self::Waiting => "waiting",
            Self::Gap => "gap",
            Self::LateStart => "late_start",
            Self::Garbage => "garbage",
            Self::BlockSize => "block_size",
            Self::Rank => "rank",
            Self::Silent => "silent",
            Self::NoRoom => "no_room",
        }
    }
}

/// What to tell of an endpoint: nothing is wrong ([`Why::Follows`]), or why its events cannot be relied on, in words for
/// an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) why: Why,
    pub(super) reason: String,
}

impl State {
    pub(super) fn exact() -> Self {
        Self {
            why: Why::Follows,
            reason: String::new(),
        }
    }

    pub(super) fn stale(why: Why, reason: impl Into<String>) -> Self {
        Self {
            why,
            reason: reason.into(),
        }
    }

    pub(super) fn is_exact(&self) -> bool {
        self.why == Why::Follows
    }
}
