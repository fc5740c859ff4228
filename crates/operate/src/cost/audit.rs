//! Do the pattern documentation's own cost tables add up?
//!
//! Recomputed from the shipped figures, whatever a user's own file says.

use serde::Serialize;

use super::model::{DAY_S, Service};
use super::pricing::Pricing;
use super::savings::Schedule;

/// Recomputed and printed figures further apart than this do not add up.
const TOLERANCE: f64 = 0.005;

/// One claim of the documentation, beside what its own inputs give.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    pub what: String,
    /// Figures as printed there.
    pub printed: Vec<f64>,
    /// What the inputs give, and how.
    pub recomputed: Vec<Recomputed>,
    pub adds_up: bool,
    pub verdict: String,
}

/// A figure with its arithmetic.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recomputed {
    pub value: f64,
    pub how: String,
}

/// Every claim that can be recomputed.
///
/// # Errors
/// The shipped pricing file lacks a figure; a test reads it.
pub fn audit() -> anyhow::Result<Vec<Claim>> {
    let pricing = Pricing::shipped()?;
    let tpu = pricing.accelerator("tpu-v6e-4")?;
    let t4 = pricing.accelerator("t4")?;
    let service = |node_per_day| Service {
        shared_per_day: pricing.shared_per_day(),
        node_per_day,
        replica_rps: 7.0,
        pattern3_rps: 20.0,
        utilisation: pricing.utilisation,
    };
    let measured = |replicas: u32| {
        let entry =
            (tpu.throughput.iter()).find(|entry| !entry.documented && entry.replicas == replicas);
        entry.map_or(0.0, |entry| entry.requests_per_s)
    };
    let tpus = service(tpu.per_day);
    Ok(vec![
        per_million(&tpus, 1, 7.0, &[274.93, 6.60]),
        per_million(&tpus, 3, 20.0, &[280.03, 6.71]),
        month_by_day(&service(t4.per_day)),
        throughput(1, &[5.0, 7.0], measured(1)),
        throughput(3, &[15.0, 20.0], measured(3)),
        night(tpu.per_hour),
    ])
}

fn per_million(service: &Service, replicas: u32, rps: f64, printed: &[f64]) -> Claim {
    let exact = service.per_million(replicas, rps);
    let day = service.per_day(replicas);
    let requests = service.requests_per_day(rps);
    let rounded = day.floor() / requests * 1e6;
    let recomputed = vec![
        Recomputed {
            value: exact,
            how: format!("{day:.2} a day from the components, over {requests:.0} requests"),
        },
        Recomputed {
            value: rounded,
            how: format!("the rounded {:.0} a day, over the same", day.floor()),
        },
    ];
    let adds_up = all_match(printed, &recomputed);
    let implied = day / printed.last().copied().unwrap_or(exact) * 1e6 / DAY_S;
    let pattern = if replicas == 1 { 1 } else { 3 };
    Claim {
        what: format!(
            "Pattern {pattern}, per 1M requests at {rps:.0} req/s and {:.0} %",
            service.utilisation * 100.0
        ),
        printed: printed.to_vec(),
        recomputed,
        adds_up,
        verdict: format!(
            "neither printed figure follows from its own inputs; {:.2} would need {implied:.0} req/s without pause",
            printed.last().copied().unwrap_or(exact)
        ),
    }
}

fn month_by_day(service: &Service) -> Claim {
    let (replicas, rps, printed) = (3, 16.0, 10.0);
    let value = service.per_million(replicas, rps);
    let recomputed = vec![Recomputed {
        value,
        how: format!(
            "{:.2} a day for three replicas in all, over {:.0} requests ({rps:.0} req/s at {:.0} %)",
            service.per_day(replicas),
            service.requests_per_day(rps),
            service.utilisation * 100.0
        ),
    }];
    Claim {
        what: "three T4, per 1M requests".to_owned(),
        printed: vec![printed],
        adds_up: all_match(&[printed], &recomputed),
        recomputed,
        verdict: "the printed figure divides a month by a day".to_owned(),
    }
}

fn throughput(replicas: u32, printed: &[f64], measured: f64) -> Claim {
    let most = printed.iter().copied().fold(0.0, f64::max);
    Claim {
        what: format!("req/s of {replicas} replica(s), from which its costs start"),
        printed: printed.to_vec(),
        recomputed: vec![Recomputed {
            value: measured,
            how: "measured on that hardware by a closed loop of 20, which did not saturate it"
                .to_owned(),
        }],
        adds_up: measured <= most + TOLERANCE,
        verdict: format!(
            "what was measured is at least {:.1} times the estimate, so costs per request are overstated by as much",
            measured / most
        ),
    }
}

fn night(per_hour: f64) -> Claim {
    let schedule = Schedule::new(8.0, 2, per_hour, 0.0);
    let recomputed = vec![Recomputed {
        value: schedule.saved_per_day_before_startup,
        how: format!("8 h, two nodes fewer, {per_hour:.2} an hour, before start-up"),
    }];
    Claim {
        what: "a night schedule, saved per day".to_owned(),
        printed: vec![84.64],
        adds_up: all_match(&[84.64], &recomputed),
        recomputed,
        verdict: "adds up before start-up; a replica is paid for while it starts".to_owned(),
    }
}

fn all_match(printed: &[f64], recomputed: &[Recomputed]) -> bool {
    printed.iter().all(|printed| {
        recomputed
            .iter()
            .any(|figure| (figure.value - printed).abs() < TOLERANCE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_tables_recomputed() {
        let claims = audit().unwrap();
        let check = |index: usize, printed: &[f64], expected: &[&str], adds_up: bool| {
            let claim: &Claim = &claims[index];
            let seen: Vec<String> = (claim.recomputed.iter())
                .map(|figure| format!("{:.2}", figure.value))
                .collect();
            assert_eq!(claim.printed, printed, "{}", claim.what);
            assert_eq!(seen, expected, "{}", claim.what);
            assert_eq!(claim.adds_up, adds_up, "{}", claim.what);
        };
        check(0, &[274.93, 6.60], &["275.50", "274.88"], false);
        check(1, &[280.03, 6.71], &["280.16", "279.95"], false);
        check(2, &[10.0], &["13.56"], false);
        check(3, &[5.0, 7.0], &["33.70"], false);
        check(4, &[15.0, 20.0], &["37.99"], false);
        check(5, &[84.64], &["84.64"], true);
    }
}
