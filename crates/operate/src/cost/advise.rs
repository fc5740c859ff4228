//! Pattern 1, Pattern 3 or N replicas for this load, and why?

use std::path::PathBuf;

use anyhow::{Context, bail};
use benchmark::report;
use serde::Serialize;

use super::args::{Common, Format, count};
use super::basis::Basis;
use super::model::{DAY_S, Demand, PATTERN3_REPLICAS};
use super::show::{self, Section, grouped, money};
use super::trace::{self, TraceFacts};

/// Below this share of prompt tokens, keeping prefixes where they are cached gains nothing worth having.
const WORTH_ROUTING: f64 = 0.05;

/// A recommendation with reasons.
#[derive(Clone, Debug, clap::Args)]
pub struct AdviseArgs {
    #[command(flatten)]
    pub common: Common,
    /// A trace in the Mooncake format (JSON lines).
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Requests a day [default: the trace's or the report's rate, all day].
    #[arg(long, value_name = "N", value_parser = count)]
    pub requests_per_day: Option<f64>,
}

/// What to run.
#[derive(Clone, Debug, Serialize)]
pub struct Advice {
    /// `Pattern 1`, `Pattern 3`, `N replicas`, or `none` where nothing known meets the SLO.
    pub recommendation: String,
    pub replicas: Option<u32>,
    pub per_day: Option<f64>,
    pub per_month: Option<f64>,
    pub per_million_requests: Option<f64>,
    pub currency: String,
    pub accelerator: String,
    pub demand: Demand,
    /// Requests per second of one replica at full use, for this load.
    pub replica_rps: f64,
    pub utilisation: f64,
    /// Share of prompt tokens that could be found in cache.
    pub overlap: Option<f64>,
    pub trace: Option<TraceFacts>,
    pub reasons: Vec<String>,
    pub simulated: bool,
}

/// Prints the recommendation.
///
/// # Errors
/// As [`advise`].
pub(super) fn run(args: &AdviseArgs) -> anyhow::Result<()> {
    let advice = advise(args)?;
    match args.common.format() {
        Format::Json => report::emit_json(&advice),
        format => Ok(report::emit(&show::render(
            "Which pattern?",
            &sections(&advice),
            format,
        ))?),
    }
}

/// The recommendation for a trace or a report.
///
/// # Errors
/// Neither is given, a file cannot be used, or nothing says what a replica serves.
pub fn advise(args: &AdviseArgs) -> anyhow::Result<Advice> {
    let facts = args.trace.as_deref().map(trace::read).transpose()?;
    let basis = Basis::of(&args.common, None)?;
    if facts.is_none() && basis.report.is_none() {
        bail!("say what the load is: --trace FILE (Mooncake format) or --report FILE");
    }
    let mut reasons = Vec::new();
    let demand = demand(args, &basis, facts.as_ref(), &mut reasons)?;
    let overlap = overlap(&basis, facts.as_ref(), &mut reasons);
    let replica_rps = capacity(args, &basis, facts.as_ref(), overlap, &mut reasons);
    let service = super::model::Service {
        replica_rps,
        pattern3_rps: replica_rps * f64::from(PATTERN3_REPLICAS),
        ..basis.service.clone()
    };
    let possible = slo(args, &basis, &mut reasons);
    let replicas = service.replicas_for(&demand);
    reasons.push(format!(
        "peak {:.2} req/s over {:.2} req/s of a replica at {:.0} % needs {}{}",
        demand.peak_rps(),
        replica_rps,
        service.utilisation * 100.0,
        counted(replicas - u32::from(demand.n_plus_1)),
        if demand.n_plus_1 {
            "; one more so that it is carried with one gone"
        } else {
            ""
        }
    ));
    why(replicas, overlap, demand.n_plus_1, &mut reasons);
    let per_day = service.per_day(replicas);
    let known = |value: f64| possible.then_some(value);
    Ok(Advice {
        recommendation: if possible {
            name(replicas)
        } else {
            "none".to_owned()
        },
        replicas: possible.then_some(replicas),
        per_day: known(per_day),
        per_month: known(per_day * basis.days_per_month),
        per_million_requests: known(per_day / demand.requests_per_day * 1e6),
        currency: basis.currency.clone(),
        accelerator: basis.accelerator.name.clone(),
        demand,
        replica_rps,
        utilisation: service.utilisation,
        overlap,
        trace: facts,
        reasons,
        simulated: basis.simulated,
    })
}

fn name(replicas: u32) -> String {
    match replicas {
        1 => "Pattern 1".to_owned(),
        PATTERN3_REPLICAS => "Pattern 3".to_owned(),
        more => format!("{more} replicas"),
    }
}

fn counted(replicas: u32) -> String {
    if replicas == 1 {
        "1 replica".to_owned()
    } else {
        format!("{replicas} replicas")
    }
}

/// The flag, else the trace, else the report's offered load.
fn demand(
    args: &AdviseArgs,
    basis: &Basis,
    facts: Option<&TraceFacts>,
    reasons: &mut Vec<String>,
) -> anyhow::Result<Demand> {
    let from_trace = facts.map(|facts| facts.mean_rps * DAY_S);
    let from_report = basis
        .best()
        .map(|point| point.offered_rps.unwrap_or(point.requests_per_s) * DAY_S);
    let requests_per_day = (args.requests_per_day.or(from_trace).or(from_report))
        .context("no rate is known; give --requests-per-day")?;
    let peak_factor = args
        .common
        .peak_factor
        .or(facts.map(|facts| facts.peak_rps / facts.mean_rps))
        .unwrap_or(1.0);
    reasons.push(format!(
        "rate: {} requests a day, {:.2} req/s on average, {peak_factor:.2} times that at the peak",
        grouped(requests_per_day),
        requests_per_day / DAY_S
    ));
    Ok(Demand {
        requests_per_day,
        peak_factor,
        n_plus_1: args.common.n_plus_1,
    })
}

fn overlap(basis: &Basis, facts: Option<&TraceFacts>, reasons: &mut Vec<String>) -> Option<f64> {
    if let Some(facts) = facts {
        reasons.push(format!(
            "prefix overlap: {:.1} % of prompt tokens were asked before ({:.1} % beyond what all requests share)",
            facts.overlap * 100.0,
            facts.overlap_beyond_common * 100.0
        ));
        return Some(facts.overlap);
    }
    let point = basis.best()?;
    let overlap = point.ideal_hit_rate.or(point.hit_rate);
    match overlap {
        Some(overlap) => reasons.push(format!(
            "prefix overlap: {:.1} % of prompt tokens could be found in cache",
            overlap * 100.0
        )),
        None => reasons.push("prefix overlap: the report does not tell".to_owned()),
    }
    overlap
}

/// Requests per second of one replica: given, measured, or from its token rates and this load's lengths.
fn capacity(
    args: &AdviseArgs,
    basis: &Basis,
    facts: Option<&TraceFacts>,
    overlap: Option<f64>,
    reasons: &mut Vec<String>,
) -> f64 {
    let rates = facts
        .filter(|_| args.common.throughput.is_none() && basis.report.is_none())
        .zip(basis.prefill_rate(&args.common))
        .zip(basis.accelerator.output_tokens_per_s.as_ref());
    let Some(((facts, (prefill, prefill_origin)), output)) = rates else {
        reasons.extend(
            basis
                .origins
                .iter()
                .filter(|line| line.contains("replica:"))
                .cloned(),
        );
        return basis.service.replica_rps;
    };
    let uncached = facts.input_tokens * (1.0 - overlap.unwrap_or(0.0));
    let seconds = uncached / prefill + facts.output_tokens / output.value;
    reasons.push(format!(
        "one replica: {:.2} req/s for {uncached:.0} uncached prompt tokens at {prefill:.0} a second ({prefill_origin}) and {:.0} output tokens at {:.0} ({})",
        1.0 / seconds,
        facts.output_tokens,
        output.value,
        output.origin
    ));
    1.0 / seconds
}

/// Whether some known load meets the SLO, where that can be known.
fn slo(args: &AdviseArgs, basis: &Basis, reasons: &mut Vec<String>) -> bool {
    if !args.common.has_slo() {
        reasons.push("no SLO was given: capacity is what was served, however late".to_owned());
        return true;
    }
    let points = basis.report.iter().flat_map(|report| &report.points);
    let seen: Vec<bool> = points
        .filter_map(|point| args.common.meets(point))
        .collect();
    if seen.is_empty() {
        reasons.push(
            "the SLO is not checked: no measurement carries its latencies; run `bench sweep --json` and give it with --report"
                .to_owned(),
        );
        return true;
    }
    let possible = seen.iter().any(|met| *met);
    reasons.push(if possible {
        "the SLO is met at the load that capacity is taken from".to_owned()
    } else {
        "no measured load meets the SLO, and more replicas do not make one request faster: take a faster accelerator, or measure lower loads".to_owned()
    });
    possible
}

fn why(replicas: u32, overlap: Option<f64>, n_plus_1: bool, reasons: &mut Vec<String>) {
    let shares = overlap.is_some_and(|overlap| overlap >= WORTH_ROUTING);
    if replicas == 1 {
        reasons.push(
            "one replica needs no routing; nothing carries the load while it is gone".to_owned(),
        );
        if shares {
            reasons
                .push("switch its prefix cache on: Pattern 1 as documented has it off".to_owned());
        }
        return;
    }
    reasons.push(match overlap {
        Some(_) if shares => format!(
            "route by prefix: {replicas} replicas behind round robin each compute every prefix again"
        ),
        Some(_) => "prompts share little: routing by prefix gains nothing here, by load is enough".to_owned(),
        None => "whether routing by prefix gains anything is not known".to_owned(),
    });
    if !n_plus_1 {
        reasons.push(
            "with one replica gone the rest is over its planned use; --n-plus-1 plans for that"
                .to_owned(),
        );
    }
}

fn sections(advice: &Advice) -> Vec<Section> {
    let mut answer = Section::new("Recommendation", &[]);
    answer
        .notes
        .push(match advice.per_day.zip(advice.per_million_requests) {
            Some((day, million)) => format!(
                "{} on {}: {} {} a day, {} a month, {} per 1M requests",
                advice.recommendation,
                advice.accelerator,
                money(day),
                advice.currency,
                advice.per_month.map_or_else(String::new, money),
                money(million)
            ),
            None => format!("none on {}", advice.accelerator),
        });
    if advice.simulated {
        answer
            .notes
            .push("simulated: the report's engines model their compute".to_owned());
    }
    let mut reasons = Section::new("Reasons", &[]);
    reasons.notes.clone_from(&advice.reasons);
    vec![answer, reasons]
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: AdviseArgs,
    }

    fn advised(report: &str, flags: &[&str]) -> anyhow::Result<Advice> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("report.json");
        std::fs::write(&file, report).unwrap();
        let file = file.to_string_lossy().into_owned();
        let mut words = vec!["advise", "--report", file.as_str()];
        words.extend(flags);
        advise(&Cli::try_parse_from(words).unwrap().args)
    }

    #[test]
    fn recommendations() {
        let report = r#"{"engine_hit_rate": 0.5, "ideal_hit_rate": 0.6, "engines": [{}],
            "scenario": {"requests_per_s": 10, "ttft_ms": {"p95": 80}, "rate_per_s": 10}}"#;
        let check = |flags: &[&str], expected: &str, replicas: Option<u32>| {
            let advice = advised(report, flags).unwrap();
            assert_eq!(
                (advice.recommendation.as_str(), advice.replicas),
                (expected, replicas),
                "{flags:?}: {:?}",
                advice.reasons
            );
            assert_eq!(advice.overlap, Some(0.6));
        };
        // 10 req/s at 80 %: 691,200 requests a day each.
        check(&["--requests-per-day", "500K"], "Pattern 1", Some(1));
        check(&["--requests-per-day", "700K"], "2 replicas", Some(2));
        check(&["--requests-per-day", "2M"], "Pattern 3", Some(3));
        check(
            &["--requests-per-day", "2M", "--n-plus-1"],
            "4 replicas",
            Some(4),
        );
        check(
            &["--requests-per-day", "500K", "--peak-factor", "5"],
            "4 replicas",
            Some(4),
        );
        check(
            &["--requests-per-day", "500K", "--slo-ttft-ms", "100"],
            "Pattern 1",
            Some(1),
        );
        check(
            &["--requests-per-day", "500K", "--slo-ttft-ms", "50"],
            "none",
            None,
        );
        // No latency of that kind in the report: not checked, said so.
        check(
            &["--requests-per-day", "500K", "--slo-tpot-ms", "50"],
            "Pattern 1",
            Some(1),
        );
        check(&[], "2 replicas", Some(2));
    }

    #[test]
    fn no_load_is_no_advice() {
        let args = Cli::try_parse_from(["advise"]).unwrap().args;
        let message = advise(&args).unwrap_err().to_string();
        assert!(message.contains("--trace"), "{message}");
        assert!(advised("{}", &[]).is_err());
        assert!(advised("no json", &[]).is_err());
    }
}
