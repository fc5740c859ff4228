//! Which requests were served well enough?

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::load::Sample;

/// Limits in ms that a good request keeps; those absent bind nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slo {
    pub ttft_ms: Option<f64>,
    pub tpot_ms: Option<f64>,
    pub e2e_ms: Option<f64>,
}

impl Slo {
    /// Whether the request succeeded within every limit, its times divided by `time_scale`. One token has no TPOT and
    /// breaks no limit on it.
    pub fn met(&self, sample: &Sample, time_scale: f64) -> bool {
        let within = |seen: Option<f64>, limit: Option<f64>| match (seen, limit) {
            (_, None) => true,
            (Some(seen), Some(limit)) => seen / time_scale <= limit,
            (None, Some(_)) => false,
        };
        let one_token = sample
            .usage
            .is_some_and(|usage| usage.completion_tokens <= 1);
        sample.is_ok()
            && within(sample.ttft_ms(), self.ttft_ms)
            && (one_token || within(sample.tpot_ms(), self.tpot_ms))
            && within(Some(sample.e2e_ms()), self.e2e_ms)
    }
}

impl std::fmt::Display for Slo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let limits = [
            ("TTFT", self.ttft_ms),
            ("TPOT", self.tpot_ms),
            ("E2E", self.e2e_ms),
        ];
        let said: Vec<String> = limits
            .iter()
            .filter_map(|(name, limit)| Some(format!("{name} <= {:.0} ms", (*limit)?)))
            .collect();
        f.write_str(&said.join(", "))
    }
}

/// `ttft:500,tpot:50,e2el:3000`, in ms: the names of `vllm bench serve --goodput`; commas or spaces between.
impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut slo = Self::default();
        for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once(':').ok_or_else(|| {
                format!("{part:?}: expected NAME:MS, for example ttft:500,tpot:50")
            })?;
            let ms = value
                .parse::<f64>()
                .ok()
                .filter(|ms| ms.is_finite() && *ms > 0.0)
                .ok_or_else(|| format!("{part:?}: {value:?} is no number of ms above 0"))?;
            let place = match name {
                "ttft" => &mut slo.ttft_ms,
                "tpot" => &mut slo.tpot_ms,
                "e2el" | "e2e" => &mut slo.e2e_ms,
                _ => return Err(format!("{name:?} is none of ttft, tpot, e2el")),
            };
            *place = Some(ms);
        }
        if slo == Self::default() {
            return Err("expected at least one limit, for example ttft:500,tpot:50".to_owned());
        }
        Ok(slo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_by_name() {
        let check = |text: &str, expected: Option<(Option<f64>, Option<f64>, Option<f64>)>| {
            let seen = text.parse::<Slo>().ok();
            assert_eq!(
                seen.map(|slo| (slo.ttft_ms, slo.tpot_ms, slo.e2e_ms)),
                expected,
                "{text}"
            );
        };
        check("ttft:500,tpot:50", Some((Some(500.0), Some(50.0), None)));
        check("e2el:3000", Some((None, None, Some(3000.0))));
        check("ttft:1 e2e:2", Some((Some(1.0), None, Some(2.0))));
        check("ttft", None);
        check("ttft:-1", None);
        check("itl:5", None);
        check("", None);
    }
}
