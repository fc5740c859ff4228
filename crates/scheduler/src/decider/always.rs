//! Is a stage always split off?

use crate::plugin::Verdict;
use crate::{Ask, Candidates, Decider};

/// `always-disagg-pd-decider`
pub(crate) struct Always;

impl Decider for Always {
    fn decide(&self, _ask: &Ask<'_>, _candidates: &Candidates, _row: usize) -> Verdict {
        Verdict::yes("always".to_owned())
    }
}

/// `always-disagg-multimodal-decider`: for every request with a picture, a sound or a film.
pub(crate) struct AlwaysMedia;

impl Decider for AlwaysMedia {
    fn decide(&self, ask: &Ask<'_>, _candidates: &Candidates, _row: usize) -> Verdict {
        match ask.media {
            true => Verdict::yes("there is something to encode".to_owned()),
            false => Verdict::no("there is nothing to encode".to_owned()),
        }
    }

    fn reads_media(&self) -> bool {
        true
    }
}
