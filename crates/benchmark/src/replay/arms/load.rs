//! How fast may requests come before round robin fails its limits?

use super::{Arm, Plan, run};
use crate::replay::show::progress::Progress;

/// Share of requests that must meet the limits.
pub(crate) const GOODPUT_SHARE: f64 = 0.95;

/// The rate is found to within this share.
const PRECISION: f64 = 0.02;

/// Doublings or halvings before giving up.
const MAX_DOUBLINGS: u32 = 12;

/// The highest load that round robin carries.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Capacity {
    /// Times the source's own speed.
    pub(crate) factor: f64,
    /// Arrivals a second at that speed.
    pub(crate) arrivals_per_s: f64,
    /// Share of requests that met the limits there.
    pub(crate) good_share: f64,
    /// Runs it took.
    pub(crate) runs: u32,
}

/// Finds it by bisection.
///
/// # Errors
/// Limits that round robin misses at any speed, or meets at any.
pub(crate) fn capacity(plan: &Plan, progress: &Progress) -> anyhow::Result<Capacity> {
    let mut runs = 0;
    let mut probe = |factor: f64| -> anyhow::Result<(bool, Capacity)> {
        runs += 1;
        let arm = Arm {
            name: format!("round robin at {factor:.3}"),
            ..Arm::round_robin()
        };
        let outcome = run(&arm, &plan.settings, &plan.source.sped_up(factor), progress)?;
        let capacity = Capacity {
            factor,
            arrivals_per_s: outcome.arrivals_per_s,
            good_share: outcome.good_share,
            runs,
        };
        Ok((outcome.good_share >= GOODPUT_SHARE, capacity))
    };
    let (good, first) = probe(1.0)?;
    let (mut low, mut high) = (good.then_some(first), (!good).then_some(1.0));
    for _ in 0..MAX_DOUBLINGS {
        let factor = match (&low, high) {
            (Some(low), Some(high)) if high / low.factor <= 1.0 + PRECISION => break,
            (Some(low), Some(high)) => (low.factor * high).sqrt(),
            (Some(low), None) => low.factor * 2.0,
            (None, high) => high.unwrap_or(1.0) / 2.0,
        };
        let (good, capacity) = probe(factor)?;
        match good {
            true => low = Some(capacity),
            false => high = Some(factor),
        }
    }
    let mut found = low.ok_or_else(|| {
        anyhow::anyhow!(
            "round robin misses --slo-ttft-ms {} or --slo-tpot-ms {} for more than 5 % of requests at any rate: raise the limits, or cut prompts with --max-prompt-tokens",
            plan.settings.slo_ttft_ms,
            plan.settings.slo_tpot_ms
        )
    })?;
    anyhow::ensure!(
        high.is_some(),
        "round robin meets the limits even at {:.0} times the speed; lower them, or take fewer replicas",
        found.factor
    );
    found.runs = runs;
    Ok(found)
}
