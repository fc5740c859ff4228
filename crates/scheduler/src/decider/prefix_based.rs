//! Is enough of the prompt left to compute?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::params;
use crate::numbers::load;
use crate::plugin::Verdict;
use crate::{Ask, Candidates, Decider};

/// Parameters of `prefix-based-pd-decider`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Prompt tokens not cached where the request decodes, from which its prefill goes elsewhere; 0 never splits.
    pub(crate) non_cached_tokens: u32,
    /// Shorter prompts are never split.
    pub(crate) prompt_tokens: u32,
}

impl params::Params for Params {}

/// `prefix-based-pd-decider`
pub(crate) struct PrefixBased {
    non_cached_tokens: f32,
    prompt_tokens: f32,
}

impl PrefixBased {
    pub(crate) fn new(params: &Params) -> Self {
        Self {
            non_cached_tokens: params.non_cached_tokens as f32,
            prompt_tokens: params.prompt_tokens as f32,
        }
    }
}

impl Decider for PrefixBased {
    fn decide(&self, ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Verdict {
        if self.non_cached_tokens == 0.0 {
            return Verdict::no("`nonCachedTokens` is 0".to_owned());
        }
        let prompt = load(ask.prompt_tokens);
        if prompt < self.prompt_tokens {
            return Verdict::no(format!(
                "{prompt:.0} prompt tokens, less than {:.0}",
                self.prompt_tokens
            ));
        }
        let left = (prompt - load(candidates.matched_tokens[row])).max(0.0);
        let words = |than: &str| {
            format!(
                "{left:.0} of {prompt:.0} prompt tokens are not cached, {than} {:.0}",
                self.non_cached_tokens
            )
        };
        match left >= self.non_cached_tokens {
            true => Verdict::yes(words("no less than")),
            false => Verdict::no(words("less than")),
        }
    }

    fn reads_prefix(&self) -> bool {
        true
    }
}
