//! From which throughput, prices and token counts does an answer start, and who says so?

use anyhow::bail;
use serde::Serialize;

use super::args::Common;
use super::measured::{Measured, Point};
use super::model::{PATTERN3_REPLICAS, Service};
use super::pricing::{Accelerator, Pricing, check_utilisation};

/// A service, with the origin of each of its figures.
#[derive(Clone, Debug, Serialize)]
pub struct Basis {
    pub currency: String,
    pub days_per_month: f64,
    pub accelerator: Accelerator,
    pub service: Service,
    /// What the figures rest on, for people.
    pub origins: Vec<String>,
    /// Some figure was measured on simulated engines.
    pub simulated: bool,
    #[serde(skip)]
    pub pricing: Pricing,
    #[serde(skip)]
    pub report: Option<Measured>,
}

impl Basis {
    /// Flags win over the report, the report over the pricing file.
    ///
    /// # Errors
    /// A file that cannot be used, an unknown accelerator, or no throughput anywhere.
    pub fn of(common: &Common, pattern3: Option<f64>) -> anyhow::Result<Self> {
        let pricing = Pricing::load(common.pricing.as_deref())?;
        let accelerator = pricing.accelerator(&common.accelerator)?.clone();
        let utilisation = common.utilisation.unwrap_or(pricing.utilisation);
        check_utilisation(utilisation)?;
        let report = common.report.as_deref().map(Measured::read).transpose()?;
        let mut origins = prices(&pricing, &accelerator);
        let rates = Rates::of(common, pattern3, &accelerator, report.as_ref())?;
        origins.extend(rates.origins);
        let service = Service {
            shared_per_day: pricing.shared_per_day(),
            node_per_day: accelerator.per_day,
            replica_rps: rates.replica,
            pattern3_rps: rates.pattern3,
            utilisation,
        };
        Ok(Self {
            currency: pricing.currency.clone(),
            days_per_month: pricing.days_per_month,
            simulated: rates.simulated,
            accelerator,
            service,
            origins,
            pricing,
            report,
        })
    }

    /// Uncached prompt tokens per second of one replica, with its origin.
    pub fn prefill_rate(&self, common: &Common) -> Option<(f64, String)> {
        if let Some(rate) = common.prefill_tokens_per_s {
            return Some((rate, "as given".to_owned()));
        }
        if let Some(report) = &self.report
            && let Some(rate) = report.prefill_tokens_per_s
        {
            return Some((rate, format!("cache test of {}", report.source)));
        }
        let figure = self.accelerator.prefill_tokens_per_s.as_ref()?;
        Some((figure.value, figure.origin.clone()))
    }

    /// The report's point of highest throughput.
    pub fn best(&self) -> Option<&Point> {
        self.report
            .as_ref()
            .and_then(|report| report.best(|_| true))
    }
}

fn prices(pricing: &Pricing, accelerator: &Accelerator) -> Vec<String> {
    let mut origins: Vec<String> = (pricing.shared.iter())
        .map(|item| format!("{}: {:.2} a day ({})", item.name, item.per_day, item.origin))
        .collect();
    origins.push(format!(
        "{}: {:.2} a day, {:.2} an hour ({})",
        accelerator.node, accelerator.per_day, accelerator.per_hour, accelerator.origin
    ));
    origins
}

/// Requests per second at full use.
struct Rates {
    replica: f64,
    pattern3: f64,
    origins: Vec<String>,
    simulated: bool,
}

impl Rates {
    fn of(
        common: &Common,
        pattern3: Option<f64>,
        accelerator: &Accelerator,
        report: Option<&Measured>,
    ) -> anyhow::Result<Self> {
        let from_report = report.map(|report| Self::reported(common, report));
        let from_file = Self::filed(accelerator, common.measured);
        let mut rates = match (common.throughput, from_report, from_file) {
            (Some(rate), ..) => Self::times_three(rate, "as given".to_owned()),
            (None, Some(rates), _) | (None, None, Some(rates)) => rates,
            (None, None, None) => bail!(
                "no {}throughput of {} is known; give one with --throughput or --report",
                if common.measured { "measured " } else { "" },
                accelerator.name
            ),
        };
        if let Some(rate) = pattern3 {
            rates.pattern3 = rate;
            rates
                .origins
                .push(format!("Pattern 3: {rate} requests/s as given"));
        }
        Ok(rates)
    }

    fn times_three(replica: f64, origin: String) -> Self {
        Self {
            replica,
            pattern3: replica * f64::from(PATTERN3_REPLICAS),
            origins: vec![format!(
                "one replica: {replica:.2} requests/s ({origin}); N replicas: N times that"
            )],
            simulated: false,
        }
    }

    /// One replica's and Pattern 3's figures, each from a point that meets the SLO.
    fn reported(common: &Common, report: &Measured) -> Self {
        let replicas = |point: &Point| {
            point
                .replicas
                .or(common.report_replicas)
                .unwrap_or(1)
                .max(1)
        };
        let meets = |point: &Point| common.meets(point) == Some(true) || !common.has_slo();
        let of = |wanted: u32| report.best(|point| meets(point) && replicas(point) == wanted);
        let best = report.best(meets).or_else(|| report.best(|_| true));
        let one = of(1).or(best);
        let replica = one.map_or(0.0, |point| {
            point.requests_per_s / f64::from(replicas(point))
        });
        let mut rates = Self::times_three(replica, report.source.clone());
        rates.simulated = report.points.iter().any(|point| point.simulated);
        if let Some(three) = of(PATTERN3_REPLICAS) {
            rates.pattern3 = three.requests_per_s;
            rates.origins.push(format!(
                "Pattern 3: {:.2} requests/s ({}, {})",
                three.requests_per_s, report.source, three.name
            ));
        }
        if one.is_some_and(|point| point.saturated == Some(false)) {
            rates
                .origins
                .push("the report did not saturate the system: real capacity is higher".to_owned());
        }
        rates
    }

    fn filed(accelerator: &Accelerator, measured: bool) -> Option<Self> {
        let entry = |replicas: u32| {
            (accelerator.throughput.iter())
                .find(|entry| entry.documented != measured && entry.replicas == replicas)
        };
        let any = (accelerator.throughput.iter()).find(|entry| entry.documented != measured)?;
        let one = entry(1).unwrap_or(any);
        let replica = one.requests_per_s / f64::from(one.replicas);
        let mut rates = Self::times_three(replica, one.origin.clone());
        if let Some(three) = entry(PATTERN3_REPLICAS) {
            rates.pattern3 = three.requests_per_s;
            rates.origins.push(format!(
                "Pattern 3: {:.2} requests/s ({})",
                three.requests_per_s, three.origin
            ));
        }
        Some(rates)
    }
}

impl Common {
    pub(super) fn has_slo(&self) -> bool {
        [self.slo_ttft_ms, self.slo_tpot_ms, self.slo_e2e_ms]
            .iter()
            .any(Option::is_some)
    }

    /// Whether a measurement meets the SLO; `None` where it does not carry the latency that the SLO is about.
    pub(super) fn meets(&self, point: &Point) -> Option<bool> {
        let pairs = [
            (self.slo_ttft_ms, point.ttft_p95_ms),
            (self.slo_tpot_ms, point.tpot_p95_ms),
            (self.slo_e2e_ms, point.e2e_p95_ms),
        ];
        let mut all = true;
        for (limit, seen) in pairs {
            if let Some(limit) = limit {
                all &= seen? <= limit;
            }
        }
        Some(all)
    }
}
