//! Which endpoints beside the destination work on a request?
//!
//! With prefill or encoding split off, the request still goes to the endpoint that decodes; headers tell it who does the
//! rest. Each stage has a profile of its own and a decider that says whether it is worth it.

use kv_index::Slot;

use crate::plugin::Verdict;
use crate::profile::Named;
use crate::{Ask, Beside, Candidates, Decider, Profile, Rng};

/// A part of the work that can go to an endpoint of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StageKind {
    Encode,
    Prefill,
}

impl StageKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Encode => "encode",
            Self::Prefill => "prefill",
        }
    }

    /// Request header that tells the decoding endpoint `host:port` of the one that does it.
    pub const fn header(self) -> &'static str {
        match self {
            Self::Encode => "x-encoder-hosts-ports",
            Self::Prefill => "x-prefiller-host-port",
        }
    }
}

/// One stage, ready to be picked for.
pub struct Stage {
    pub(crate) kind: StageKind,
    pub(crate) profile: Profile,
    pub(crate) decider: Named<dyn Decider>,
    /// The decider looks at the endpoint of this stage, not at the one that decodes.
    pub(crate) first: bool,
}

impl Stage {
    pub fn kind(&self) -> StageKind {
        self.kind
    }

    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Where this stage of `ask` goes, if not to `decode_row`, which the request itself goes to.
    pub fn pick(
        &self,
        ask: &Ask<'_>,
        candidates: &Candidates,
        decode_row: usize,
        rng: &mut Rng,
    ) -> Beside {
        let nowhere = |words: String| Beside {
            stage: self.kind,
            slot: None,
            words,
            reasons: Vec::new(),
        };
        let told = |verdict: &Verdict| format!("{}: {}", self.decider.name, verdict.words);
        let mut words = String::new();
        if !self.first {
            let verdict = self.decider.plugin.decide(ask, candidates, decode_row);
            words = told(&verdict);
            if !verdict.split {
                return nowhere(words);
            }
        }
        let decision = match self.profile.run(ask, candidates, rng) {
            Ok(decision) => decision,
            Err(error) => return nowhere(format!("no {} endpoint: {error}", self.kind.name())),
        };
        let here = candidates.info(decode_row).slot;
        let Some(slot) = decision.preferences.iter().find(|slot| **slot != here) else {
            return Beside {
                reasons: decision.reasons,
                ..nowhere(format!(
                    "only the endpoint that decodes can {}",
                    self.kind.name()
                ))
            };
        };
        if self.first {
            let row = row_of(candidates, *slot).unwrap_or(decode_row);
            let verdict = self.decider.plugin.decide(ask, candidates, row);
            words = told(&verdict);
            if !verdict.split {
                return nowhere(words);
            }
        }
        Beside {
            stage: self.kind,
            slot: Some(*slot),
            words,
            reasons: decision.reasons,
        }
    }
}

fn row_of(candidates: &Candidates, slot: Slot) -> Option<usize> {
    (0..candidates.len()).find(|row| candidates.info(*row).slot == slot)
}
