//! By how much must the fleet's time be slowed for this machine to keep up, and how long does one request alone take?

use super::arm::{self, Arm};
use super::fleet::{Build, Fleet};
use super::measure::{Ground, Load, closed};
use super::result::{MAX_HOST_BUSY, MAX_LAG_SHARE};
use super::{Args, say};
use crate::command::probe::{self, Offer, Probe};
use crate::load::arrivals::Arrivals;
use crate::report::{Scenario, Slo};

/// Times one request alone that a good one may take.
const SLO_SCALE: f64 = 5.0;
/// Requests, one after the other, that say how long one takes.
const ALONE: usize = 12;
/// Simulated seconds of each look at the host.
const LOOK_S: f64 = 15.0;
/// Looks at most; time is slowed no further than this.
const LOOKS: usize = 5;
const MAX_TIME_SCALE: f64 = 128.0;
/// Aimed at, as a share of what is allowed.
const MARGIN: f64 = 0.85;

/// Run numbers that no measurement has.
const ALONE_RUN: u64 = 900;
const LOOK_RUN: u64 = 910;

/// Limits from one request alone on one replica without a cache.
pub(super) async fn slo(args: &Args, build: &Build, load: &Load) -> anyhow::Result<Slo> {
    if let Some(slo) = args.goodput {
        return Ok(slo);
    }
    let mut ground = Ground::start(build, arm::PATTERN_1).await?;
    let run = closed(&mut ground, load.run(ALONE, ALONE_RUN), 1, "one alone").await?;
    let samples: Vec<_> = run.samples.iter().collect();
    let alone = Scenario::of_scaled(
        "one alone",
        &samples,
        run.duration.as_secs_f64(),
        build.time_scale,
    );
    let times = |figure: Option<f64>| figure.map(|ms| (ms * SLO_SCALE).ceil());
    anyhow::ensure!(
        alone.ttft_ms.p50.is_some() && alone.tpot_ms.p50.is_some(),
        "no request succeeded on one replica: {}",
        alone
            .errors
            .first()
            .map_or("no reason given", |error| &error.message)
    );
    Ok(Slo {
        ttft_ms: times(alone.ttft_ms.p50),
        tpot_ms: times(alone.tpot_ms.p50),
        e2e_ms: None,
    })
}

/// Raises the time scale until the busiest of the arms leaves the host under its limit at a high load, and lag is small
/// beside the latency at a low one.
pub(super) async fn time_scale(args: &Args, build: &mut Build, load: &Load) -> anyhow::Result<()> {
    let Some(busiest) = args.arms.last().copied() else {
        return Ok(());
    };
    if args.fixed_time_scale {
        return Ok(());
    }
    for look in 0..LOOKS {
        let needed = look_at(build, load, busiest, args, look as u64).await?;
        if needed <= 1.0 || build.time_scale >= MAX_TIME_SCALE {
            break;
        }
        build.time_scale = rounded(build.time_scale * needed).min(MAX_TIME_SCALE);
        say(&format!("time scale raised to {}", build.time_scale));
    }
    Ok(())
}

/// How many times slower it must go.
async fn look_at(
    build: &Build,
    load: &Load,
    arm: Arm,
    args: &Args,
    look: u64,
) -> anyhow::Result<f64> {
    let mut ground = Ground::Live(Fleet::start(build, arm).await?);
    let most = load
        .guess(&mut ground, arm, build.time_scale, args.window_s)
        .await?;
    let Ground::Live(fleet) = &ground else {
        return Ok(0.0);
    };
    let mut needed = 0.0_f64;
    for (number, share) in [(0, 0.3), (1, 0.9)] {
        let rate = most * share;
        let offer = Offer {
            rate_per_s: rate,
            slo: Slo::default(),
            time_scale: build.time_scale,
            arrivals: Arrivals::Poisson,
            seed: build.seed ^ look,
            give_up: false,
        };
        let requests = (rate * LOOK_S.min(args.window_s)).ceil() as usize;
        let workload = load.run(requests.max(1), LOOK_RUN + look * 2 + number);
        let (seen, _) = probe::probe(
            &fleet.client,
            &fleet.engines,
            workload,
            &offer,
            "host and lag",
        )
        .await?;
        say(&format!(
            "time scale {}: at {rate:.1} requests/s host busy {}, lag {} of the TTFT",
            build.time_scale,
            percent(seen.host_busy),
            percent(seen.lag_share)
        ));
        needed = needed.max(slower(&seen));
    }
    Ok(needed)
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(
        || "n/a".to_owned(),
        |share| format!("{:.1} %", share * 100.0),
    )
}

/// Over 1 where a limit is broken: then the factor that brings it below, with some margin. Load and lag fall in
/// proportion as time is slowed.
fn slower(seen: &Probe) -> f64 {
    let over = |value: Option<f64>, limit: f64| value.unwrap_or(0.0) / limit;
    let worst = over(seen.host_busy, MAX_HOST_BUSY).max(over(seen.lag_share, MAX_LAG_SHARE));
    if worst > 1.0 { worst / MARGIN } else { worst }
}

/// Two digits, upwards.
fn rounded(scale: f64) -> f64 {
    let unit = 10_f64.powf(scale.log10().floor() - 1.0);
    let steps = (scale / unit - 1e-9).ceil();
    // So that 2.3 is printed as 2.3.
    (steps * unit * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_rounded_up_to_two_digits() {
        let check = |scale: f64, expected: f64| assert_eq!(rounded(scale), expected);
        check(1.0, 1.0);
        check(2.21, 2.3);
        check(17.2, 18.0);
        check(0.52, 0.52);
    }
}
