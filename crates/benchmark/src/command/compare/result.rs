//! What did each arm do, what does each factor gain, and which expectations hold?

use serde::Serialize;

use super::arm::{self, Arm};
use crate::command::probe::Probe;
use crate::report::Slo;

/// Lag over this share of the latency makes a row worthless.
pub(super) const MAX_LAG_SHARE: f64 = 0.02;
/// So does a host busier than this.
pub(super) const MAX_HOST_BUSY: f64 = 0.6;

/// The whole comparison.
#[derive(Debug, Serialize)]
pub struct Report {
    pub accelerator: String,
    pub blocks_per_replica: u32,
    pub window_s: f64,
    pub tolerance: f64,
    /// Real seconds per simulated second.
    pub time_scale: f64,
    /// Ran on one virtual clock, without processes.
    pub virtual_time: bool,
    pub seed: u64,
    pub preset: String,
    pub simulated: bool,
    pub quick: bool,
    pub workloads: Vec<WorkloadReport>,
}

/// All arms on one workload.
#[derive(Debug, Serialize)]
pub struct WorkloadReport {
    pub name: String,
    pub turns: u32,
    pub groups: u32,
    pub prefix_tokens: u32,
    pub question_tokens: u32,
    pub output_tokens: u32,
    pub slo: Slo,
    /// Blocks of all prefixes over the blocks of one replica.
    pub prefixes_over_one_replica: f64,
    /// Requests per second and replica at the low and the high load that are equal in all arms.
    pub low_rps_per_replica: f64,
    pub high_rps_per_replica: f64,
    pub arms: Vec<Row>,
    pub factors: Vec<Factor>,
    pub expectations: Vec<Expectation>,
}

/// One arm.
#[derive(Debug, Serialize)]
pub struct Row {
    pub name: Arm,
    pub replicas: u16,
    pub saturation: Saturation,
    pub low: Option<Probe>,
    pub high: Option<Probe>,
    /// Just under round robin's saturation, three replicas with the cache on only.
    pub busy: Option<Probe>,
    /// What no routing could beat with this much room, at the high load.
    pub achievable_hit_rate: Option<f64>,
    /// Why figures of this row are worth nothing; empty where they are not.
    pub void: Vec<String>,
    /// For readers of one throughput per arm.
    pub saturated_rps: Option<f64>,
    pub simulated: bool,
}

/// The highest rate carried.
#[derive(Debug, Default, Serialize)]
pub struct Saturation {
    pub carried_rps: Option<f64>,
    /// The lowest rate that was not carried: saturation is between the two.
    pub refused_rps: Option<f64>,
    pub throughput_rps: Option<f64>,
    pub goodput_rps: Option<f64>,
    pub trials: Vec<Probe>,
}

/// What one factor alone gains.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Factor {
    pub name: String,
    pub from: Arm,
    pub to: Arm,
    /// Ratio of saturated throughputs, and its least and most given how closely each is known.
    pub throughput: Option<f64>,
    pub between: Option<(f64, f64)>,
    pub goodput: Option<f64>,
}

/// One line of what is expected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expectation {
    pub what: String,
    pub expected: String,
    pub seen: Option<f64>,
    /// `None` where it could not be measured.
    pub holds: Option<bool>,
}

/// The loads an arm is measured at, as reasons of [`Row::void`] begin with them.
pub(super) const AT_SATURATION: &str = "at saturation";
pub(super) const AT_LOW: &str = "low";
pub(super) const AT_HIGH: &str = "high";
pub(super) const AT_BUSY: &str = "busy";

impl Row {
    /// Whether the figures at this load are worth something.
    fn is_sound(&self, load: &str) -> bool {
        let void = |reason: &String| {
            let rest = reason.strip_prefix(load);
            rest.is_some_and(|rest| rest.starts_with(':'))
        };
        !self.void.iter().any(void)
    }

    /// Just under round robin's saturation, or where that was not measured, at the high load.
    fn busiest(&self) -> Option<&Probe> {
        let (load, probe) = match &self.busy {
            Some(probe) => (AT_BUSY, Some(probe)),
            None => (AT_HIGH, self.high.as_ref()),
        };
        probe.filter(|_| self.is_sound(load))
    }
}

impl WorkloadReport {
    pub(super) fn row(&self, arm: Arm) -> Option<&Row> {
        self.arms.iter().find(|row| row.name == arm)
    }

    /// Fills in what follows from the rows.
    pub(super) fn conclude(&mut self) {
        self.factors = [
            (
                "hardware: three replicas for one",
                arm::PATTERN_1,
                arm::HARDWARE,
            ),
            ("cache on, round robin", arm::HARDWARE, arm::ROUND_ROBIN),
            (
                "routing: ours for round robin",
                arm::ROUND_ROBIN,
                arm::PATTERN_3,
            ),
            (
                "all: Pattern 3 for Pattern 1",
                arm::PATTERN_1,
                arm::PATTERN_3,
            ),
        ]
        .into_iter()
        .filter_map(|(name, from, to)| self.factor(name, from, to))
        .collect();
        self.expectations = self.expected();
    }

    fn factor(&self, name: &str, from: Arm, to: Arm) -> Option<Factor> {
        let (a, b) = (&self.row(from)?.saturation, &self.row(to)?.saturation);
        let ratio = |of: fn(&Saturation) -> Option<f64>| Some(of(b)? / of(a)?);
        let between = || {
            let least = b.carried_rps? / a.refused_rps?;
            Some((least, b.refused_rps? / a.carried_rps?))
        };
        Some(Factor {
            name: name.to_owned(),
            from,
            to,
            throughput: ratio(|saturation| saturation.throughput_rps),
            between: between(),
            goodput: ratio(|saturation| saturation.goodput_rps),
        })
    }

    fn expected(&self) -> Vec<Expectation> {
        let ours = self.row(arm::PATTERN_3);
        let plain = self.row(arm::ROUND_ROBIN);
        let one = self.row(arm::PATTERN_1);
        let busy = |row: Option<&Row>, of: fn(&Probe) -> Option<f64>| of(row?.busiest()?);
        let saturated = |row: Option<&Row>, of: fn(&Saturation) -> Option<f64>| {
            of(&row.filter(|row| row.is_sound(AT_SATURATION))?.saturation)
        };
        let high = ours.filter(|row| row.is_sound(AT_HIGH));
        let over = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
        let routed = over(
            saturated(ours, |saturation| saturation.goodput_rps),
            saturated(plain, |saturation| saturation.goodput_rps),
        );
        let mut lines = vec![
            at_least(
                "Pattern 3 over Pattern 1, saturated throughput",
                2.85,
                over(
                    saturated(ours, |saturation| saturation.throughput_rps),
                    saturated(one, |saturation| saturation.throughput_rps),
                ),
            ),
            at_least(
                "ours over round robin, saturated goodput, equal hardware, cache on",
                1.3,
                routed,
            ),
            at_most(
                "ours over round robin, TTFT p95 just under round robin's saturation",
                0.7,
                over(
                    busy(ours, |probe| probe.scenario.ttft_ms.p95),
                    busy(plain, |probe| probe.scenario.ttft_ms.p95),
                ),
            ),
            at_least(
                "hit rate over what is achievable at that capacity",
                0.95,
                over(
                    high.and_then(|row| row.high.as_ref()?.engine_hit_rate),
                    high.and_then(|row| row.achievable_hit_rate),
                ),
            ),
            at_most(
                "ours over round robin, TPOT p99 just under round robin's saturation",
                1.02,
                over(
                    busy(ours, |probe| probe.scenario.tpot_ms.p99),
                    busy(plain, |probe| probe.scenario.tpot_ms.p99),
                ),
            ),
        ];
        if self.prefixes_over_one_replica > 1.0 {
            lines.push(at_least(
                "the same goodput where prefixes outnumber what one replica holds",
                2.0,
                routed,
            ));
        }
        lines
    }
}

fn at_least(what: &str, least: f64, seen: Option<f64>) -> Expectation {
    Expectation {
        what: what.to_owned(),
        expected: format!(">= {least}"),
        seen,
        holds: seen.map(|seen| seen >= least),
    }
}

fn at_most(what: &str, most: f64, seen: Option<f64>) -> Expectation {
    Expectation {
        what: what.to_owned(),
        expected: format!("<= {most}"),
        seen,
        holds: seen.map(|seen| seen <= most),
    }
}

/// Why a measurement is worth nothing.
pub(super) fn void(what: &str, probe: &Probe) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(share) = probe.lag_share.filter(|share| *share > MAX_LAG_SHARE) {
        reasons.push(format!(
            "{what}: engine steps and client were {:.1} % of the TTFT late",
            share * 100.0
        ));
    }
    if let Some(busy) = probe.host_busy.filter(|busy| *busy > MAX_HOST_BUSY) {
        reasons.push(format!("{what}: the host was {:.0} % busy", busy * 100.0));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: Arm, carried: f64, good: f64) -> Row {
        Row {
            name,
            replicas: name.replicas,
            saturation: Saturation {
                carried_rps: Some(carried),
                refused_rps: Some(carried * 1.1),
                throughput_rps: Some(carried),
                goodput_rps: Some(good),
                trials: Vec::new(),
            },
            low: None,
            high: None,
            busy: None,
            achievable_hit_rate: None,
            void: Vec::new(),
            saturated_rps: Some(carried),
            simulated: true,
        }
    }

    fn report(arms: Vec<Row>) -> WorkloadReport {
        let mut report = WorkloadReport {
            name: "w".into(),
            turns: 1,
            groups: 1,
            prefix_tokens: 1,
            question_tokens: 1,
            output_tokens: 1,
            slo: Slo::default(),
            prefixes_over_one_replica: 1.5,
            low_rps_per_replica: 1.0,
            high_rps_per_replica: 1.0,
            arms,
            factors: Vec::new(),
            expectations: Vec::new(),
        };
        report.conclude();
        report
    }

    #[test]
    fn factors_and_expectations_follow_from_the_rows() {
        let arms = vec![
            row(arm::PATTERN_1, 10.0, 9.0),
            row(arm::HARDWARE, 30.0, 27.0),
            row(arm::ROUND_ROBIN, 45.0, 40.0),
            row(arm::PATTERN_3, 90.0, 80.0),
        ];
        let seen = report(arms);
        let gains: Vec<Option<f64>> = seen.factors.iter().map(|f| f.throughput).collect();
        assert_eq!(gains, [Some(3.0), Some(1.5), Some(2.0), Some(9.0)]);
        let (least, most) = seen.factors[0].between.unwrap();
        assert!((least - 30.0 / 11.0).abs() < 1e-9 && (most - 3.3).abs() < 1e-9);
        let holds: Vec<Option<bool>> = seen.expectations.iter().map(|e| e.holds).collect();
        assert_eq!(
            holds,
            [Some(true), Some(true), None, None, None, Some(true)]
        );
    }

    /// A load that is void leaves out what rests on it, and nothing else.
    #[test]
    fn what_is_void_proves_nothing() {
        let check = |reasons: &[&str], expected: [Option<bool>; 6]| {
            let mut ours = row(arm::PATTERN_3, 90.0, 80.0);
            ours.void = reasons.iter().map(|load| format!("{load}: late")).collect();
            let arms = vec![
                row(arm::PATTERN_1, 10.0, 9.0),
                row(arm::ROUND_ROBIN, 45.0, 40.0),
                ours,
            ];
            let holds: Vec<_> = report(arms).expectations.iter().map(|e| e.holds).collect();
            assert_eq!(holds, expected, "{reasons:?}");
        };
        let yes = Some(true);
        check(&[], [yes, yes, None, None, None, yes]);
        check(&[AT_LOW, AT_HIGH], [yes, yes, None, None, None, yes]);
        check(&[AT_LOW, AT_SATURATION], [None; 6]);
        let slow = report(vec![
            row(arm::ROUND_ROBIN, 45.0, 40.0),
            row(arm::PATTERN_3, 46.0, 41.0),
        ]);
        assert_eq!(slow.expectations[1].holds, Some(false));
        assert_eq!(slow.expectations[0].holds, None, "Pattern 1 did not run");
    }
}
