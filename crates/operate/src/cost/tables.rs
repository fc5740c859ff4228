//! What does a service cost as Pattern 1, as Pattern 3 and with any number of replicas?

use serde::Serialize;

use super::args::TableArgs;
use super::audit::{self, Claim};
use super::basis::Basis;
use super::compare::{self, Comparison};
use super::model::{Demand, PATTERN3_REPLICAS};
use super::savings::{CacheSaving, Schedule};

/// Copies of Pattern 1 up to which a break-even load is looked for.
const BREAK_EVEN_COPIES: u32 = 20;

/// The whole answer.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub basis: Basis,
    pub fleets: Vec<FleetRow>,
    pub tokens: Option<TokenCost>,
    pub break_even: BreakEven,
    pub loads: Vec<LoadRow>,
    pub schedule: Schedule,
    pub cache: Option<Cache>,
    pub comparison: Comparison,
    pub documentation: Vec<Claim>,
}

/// One fleet, used as planned.
#[derive(Clone, Debug, Serialize)]
pub struct FleetRow {
    pub name: String,
    pub replicas: u32,
    pub requests_per_s: f64,
    pub per_day: f64,
    pub per_month: f64,
    pub requests_per_day: f64,
    pub per_million_requests: f64,
    pub per_million_input_tokens: Option<f64>,
    pub per_million_output_tokens: Option<f64>,
    pub per_million_tokens: Option<f64>,
}

/// How a request's cost is split between its tokens.
#[derive(Clone, Debug, Serialize)]
pub struct TokenCost {
    pub input_tokens: f64,
    pub output_tokens: f64,
    /// Share of a request's cost that its prompt carries.
    pub input_share: f64,
    pub how: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct BreakEven {
    /// Requests per second above which Pattern 3 costs less per request, both used as planned.
    pub pattern3_rps: f64,
    /// That, over Pattern 1's.
    pub times_pattern1: f64,
    /// Loads at which copies of Pattern 3 cost less than copies of Pattern 1.
    pub requests_per_day: Option<(f64, f64)>,
}

/// The best number of replicas of one service for a load, beside copies of the patterns.
#[derive(Clone, Debug, Serialize)]
pub struct LoadRow {
    pub requests_per_day: f64,
    pub replicas: u32,
    pub per_day: f64,
    pub per_month: f64,
    pub per_million_requests: f64,
    pub pattern1_copies: u32,
    pub pattern1_per_day: f64,
    pub pattern3_copies: u32,
    pub pattern3_per_day: f64,
    /// What one replica more, for when one is gone, adds per day and in percent.
    pub n_plus_1_extra_per_day: f64,
    pub n_plus_1_extra_percent: f64,
    pub n_plus_1_per_million_requests: f64,
}

/// The saving from cache hits at one load.
#[derive(Clone, Debug, Serialize)]
pub struct Cache {
    pub hit_rate: f64,
    pub input_tokens: f64,
    pub prefill_origin: String,
    pub savings: Vec<CacheSaving>,
}

/// Everything that `args` asks for.
///
/// # Errors
/// A file that cannot be used, or a throughput that is known nowhere.
pub fn report(args: &TableArgs) -> anyhow::Result<Report> {
    let basis = Basis::of(&args.common, args.pattern3_throughput)?;
    let tokens = tokens(args, &basis);
    let fleets = fleets(args, &basis, tokens.as_ref());
    let loads = args
        .requests_per_day
        .iter()
        .map(|load| load_row(args, &basis, *load));
    let startup_s = args.startup_s.unwrap_or(basis.accelerator.startup_s);
    let break_even_rps = basis.service.break_even_rps();
    Ok(Report {
        fleets,
        break_even: BreakEven {
            pattern3_rps: break_even_rps,
            times_pattern1: break_even_rps / basis.service.replica_rps,
            requests_per_day: basis.service.break_even_load(BREAK_EVEN_COPIES),
        },
        loads: loads.collect(),
        schedule: Schedule::new(
            args.night_hours,
            args.night_replicas_fewer,
            basis.accelerator.per_hour,
            startup_s,
        ),
        cache: cache(args, &basis),
        comparison: compare::compare(args, &basis)?,
        documentation: audit::audit()?,
        tokens,
        basis,
    })
}

fn input_tokens(args: &TableArgs, basis: &Basis) -> Option<f64> {
    args.input_tokens.or_else(|| basis.best()?.input_tokens)
}

fn hit_rate(args: &TableArgs, basis: &Basis) -> Option<f64> {
    args.hit_rate.or_else(|| basis.best()?.hit_rate)
}

/// By time where the share of prefill in a replica's time is known, else by the ratio of prices.
fn tokens(args: &TableArgs, basis: &Basis) -> Option<TokenCost> {
    let input = input_tokens(args, basis)?;
    let output = (args.output_tokens).or_else(|| basis.best()?.output_tokens)?;
    let weighted = args.output_price_ratio * output;
    let by_ratio = TokenCost {
        input_tokens: input,
        output_tokens: output,
        input_share: input / (input + weighted),
        how: format!(
            "an output token costs {} input tokens (--output-price-ratio)",
            args.output_price_ratio
        ),
    };
    let Some((rate, origin)) = basis.prefill_rate(&args.common) else {
        return Some(by_ratio);
    };
    let uncached = input * (1.0 - hit_rate(args, basis).unwrap_or(0.0));
    let request_s = 1.0 / basis.service.replica_rps;
    let share = uncached / rate / request_s;
    if share >= 1.0 {
        // More prefill than there is time for: rate and throughput are of different loads.
        return Some(by_ratio);
    }
    Some(TokenCost {
        input_share: share,
        how: format!(
            "by time: {uncached:.0} uncached prompt tokens at {rate:.0} a second ({origin}) out of {:.1} ms a request",
            request_s * 1e3
        ),
        ..by_ratio
    })
}

fn fleets(args: &TableArgs, basis: &Basis, tokens: Option<&TokenCost>) -> Vec<FleetRow> {
    let service = &basis.service;
    let row = |name: String, replicas: u32, rps: f64| {
        let million = service.per_million(replicas, rps);
        FleetRow {
            name,
            replicas,
            requests_per_s: rps,
            per_day: service.per_day(replicas),
            per_month: service.per_day(replicas) * basis.days_per_month,
            requests_per_day: service.requests_per_day(rps),
            per_million_requests: million,
            per_million_input_tokens: tokens
                .map(|tokens| million * tokens.input_share / tokens.input_tokens),
            per_million_output_tokens: tokens
                .map(|tokens| million * (1.0 - tokens.input_share) / tokens.output_tokens),
            per_million_tokens: tokens
                .map(|tokens| million / (tokens.input_tokens + tokens.output_tokens)),
        }
    };
    let mut rows = vec![
        row("Pattern 1".to_owned(), 1, service.replica_rps),
        row(
            "Pattern 3".to_owned(),
            PATTERN3_REPLICAS,
            service.pattern3_rps,
        ),
    ];
    for replicas in &args.replicas {
        let rps = service.replica_rps * f64::from(*replicas);
        rows.push(row(format!("{replicas} replicas"), *replicas, rps));
    }
    rows
}

fn load_row(args: &TableArgs, basis: &Basis, requests_per_day: f64) -> LoadRow {
    let service = &basis.service;
    let demand = |n_plus_1| Demand {
        requests_per_day,
        peak_factor: args.common.peak_factor.unwrap_or(1.0),
        n_plus_1,
    };
    let asked = demand(args.common.n_plus_1);
    let replicas = service.replicas_for(&asked);
    let per_day = service.per_day(replicas);
    let (ones, threes) = (
        service.pattern1_copies(&asked),
        service.pattern3_copies(&asked),
    );
    let bare = service.per_day(service.replicas_for(&demand(false)));
    let redundant = service.per_day(service.replicas_for(&demand(true)));
    let millions = requests_per_day / 1e6;
    LoadRow {
        requests_per_day,
        replicas,
        per_day,
        per_month: per_day * basis.days_per_month,
        per_million_requests: per_day / millions,
        pattern1_copies: ones,
        pattern1_per_day: f64::from(ones) * service.per_day(1),
        pattern3_copies: threes,
        pattern3_per_day: f64::from(threes) * service.per_day(PATTERN3_REPLICAS),
        n_plus_1_extra_per_day: redundant - bare,
        n_plus_1_extra_percent: (redundant / bare - 1.0) * 100.0,
        n_plus_1_per_million_requests: redundant / millions,
    }
}

fn cache(args: &TableArgs, basis: &Basis) -> Option<Cache> {
    let input_tokens = input_tokens(args, basis)?;
    let hit_rate = hit_rate(args, basis)?;
    let (rate, prefill_origin) = basis.prefill_rate(&args.common)?;
    let savings = args.requests_per_day.iter().map(|load| {
        CacheSaving::new(
            *load,
            input_tokens,
            hit_rate,
            rate,
            basis.service.utilisation,
            basis.accelerator.per_day,
        )
    });
    Some(Cache {
        hit_rate,
        input_tokens,
        prefill_origin,
        savings: savings.collect(),
    })
}
