//! Which arms are set side by side as ours, rules and bounds?

use scheduler::PRESETS;

use crate::replay::arms::EXACT;
use crate::replay::gap::{Kind, Side};
use crate::replay::outcome::{Outcome, Quantiles};
use crate::replay::seeds::Mean;

/// Our scheduling is every preset that is not a plain rule under another name, and every document.
const PLAIN_PRESETS: &[&str] = &["round-robin", "random", "least-requests", "llm-d-default"];

fn kind(name: &str, bound: bool) -> Kind {
    let name = name.strip_prefix(EXACT).unwrap_or(name);
    let preset = PRESETS.iter().any(|preset| preset.name == name);
    match name {
        "bound:oracle" => Kind::Oracle,
        _ if bound => Kind::Bound,
        name if PLAIN_PRESETS.contains(&name) => Kind::Rule,
        name if preset || name.contains(['/', '.']) => Kind::Ours,
        _ => Kind::Rule,
    }
}

fn figures(
    ttft: &Quantiles,
    tpot: &Quantiles,
    e2e: &Quantiles,
    goodput_rps: f64,
) -> [Option<f64>; 6] {
    [
        ttft.mean,
        ttft.p50,
        ttft.p99,
        tpot.p99,
        e2e.mean,
        Some(goodput_rps),
    ]
}

pub(crate) fn of_run(run: &Outcome) -> Side {
    Side {
        name: run.name.clone(),
        kind: kind(&run.name, run.bound),
        figures: figures(&run.ttft_ms, &run.tpot_ms, &run.e2e_ms, run.goodput_rps),
    }
}

pub(crate) fn of_mean(run: &Mean) -> Side {
    let seen = &run.figures;
    Side {
        name: run.name.clone(),
        kind: kind(&run.name, run.bound),
        figures: figures(&seen.ttft_ms, &seen.tpot_ms, &seen.e2e_ms, seen.goodput_rps),
    }
}
