//! Is this prompt of the length that the endpoint is meant for?
//!
//! Endpoints carry a label `min-max`, tokens. A prompt inside scores 0.3 and more: narrower ranges (more
//! specialised endpoints) and more room above the prompt score higher. A prompt outside scores below 0.3, the
//! less the farther away.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units;
use crate::config::{ParamError, params};
use crate::numbers::load;
use crate::{Ask, Candidates, Filter, Raw, Rng, Scorer};

/// Parameters of `context-length-aware`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Endpoint label that holds the range, as `0-4096`, in tokens, both ends included.
    pub(crate) label: String,
    /// Also remove the endpoints whose range does not hold the prompt.
    pub(crate) enable_filtering: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            label: "llm-d.ai/context-length-range".to_owned(),
            enable_filtering: false,
        }
    }
}

impl params::Params for Params {}

/// `context-length-aware`, both as filter and as scorer.
#[derive(Clone)]
pub(crate) struct ContextLength {
    label: String,
}

/// What an endpoint says it is meant for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meant {
    Anything,
    Tokens { min: f32, max: f32 },
    Unreadable,
}

impl ContextLength {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        if params.label.is_empty() {
            return Err(ParamError::new("label", "names the label with the range"));
        }
        Ok(Self {
            label: params.label.clone(),
        })
    }

    fn meant(&self, candidates: &Candidates, row: usize) -> Meant {
        match candidates.info(row).labels.get(&self.label) {
            None => Meant::Anything,
            Some(text) => range(text).map_or(Meant::Unreadable, |(min, max)| Meant::Tokens {
                min: min as f32,
                max: max as f32,
            }),
        }
    }

    fn holds(&self, ask: &Ask<'_>, candidates: &Candidates, row: usize) -> bool {
        match self.meant(candidates, row) {
            Meant::Anything => true,
            Meant::Unreadable => false,
            Meant::Tokens { min, max } => (min..=max).contains(&load(ask.prompt_tokens)),
        }
    }
}

fn range(text: &str) -> Option<(u32, u32)> {
    let (min, max) = text.split_once('-')?;
    let (min, max) = (min.trim().parse().ok()?, max.trim().parse().ok()?);
    (min <= max).then_some((min, max))
}

fn score(meant: Meant, tokens: f32) -> f32 {
    let (min, max) = match meant {
        Meant::Anything => return 0.5,
        Meant::Unreadable => return 0.0,
        Meant::Tokens { min, max } => (min, max),
    };
    if !(min..=max).contains(&tokens) {
        let distance = (min - tokens).max(tokens - max);
        return 0.3 / (1.0 + distance / 1000.0);
    }
    let width = max - min;
    if width <= 0.0 {
        return 1.0;
    }
    let narrow = 0.7 / (1.0 + width / 10_000.0);
    let headroom = 0.3 * (max - tokens) / width;
    0.3 + 0.7 * (narrow + headroom)
}

impl Scorer for ContextLength {
    fn score(&self, ask: &Ask<'_>, candidates: &Candidates, _keep: &[bool], out: &mut [f32]) {
        let tokens = load(ask.prompt_tokens);
        for (row, out) in out.iter_mut().enumerate() {
            *out = score(self.meant(candidates, row), tokens);
        }
    }

    fn raw(&self, ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        Raw {
            value: f64::from(u8::from(self.holds(ask, candidates, row))),
            unit: units::CONTEXT,
        }
    }
}

impl Filter for ContextLength {
    fn filter(&self, ask: &Ask<'_>, candidates: &Candidates, _rng: &mut Rng, keep: &mut [bool]) {
        for (row, kept) in keep.iter_mut().enumerate() {
            *kept = *kept && self.holds(ask, candidates, row);
        }
    }

    fn reason(
        &self,
        ask: &Ask<'_>,
        candidates: &Candidates,
        _before: &[bool],
        row: usize,
    ) -> String {
        let label = candidates.info(row).labels.get(&self.label);
        format!(
            "meant for `{}` tokens, and the prompt has {:.0}",
            label.map_or("", String::as_str),
            load(ask.prompt_tokens)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_formula() {
        let check = |label: &str, tokens: f32, expected: f32| {
            let meant = range(label).map_or(Meant::Unreadable, |(min, max)| Meant::Tokens {
                min: min as f32,
                max: max as f32,
            });
            let score = score(meant, tokens);
            assert!((score - expected).abs() < 1e-4, "{label} {tokens}: {score}");
        };
        // 0.3 + 0.7 * (0.7 / 2 + 0.3 * 0.5)
        check("0-10000", 5000.0, 0.65);
        check("0-10000", 10_000.0, 0.545);
        check("0-10000", 12_000.0, 0.1);
        check("2000-4000", 1000.0, 0.15);
        check("700-700", 700.0, 1.0);
        check("long", 700.0, 0.0);
        check("900-100", 500.0, 0.0);
        assert_eq!(super::score(Meant::Anything, 5.0), 0.5);
    }
}
