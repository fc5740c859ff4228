//! Which flags say how load comes?

use std::sync::Arc;

use anyhow::ensure;

use super::arrivals::{self, Arrivals};
use super::client::Client;
use super::driver::{self, Progress, Run};
use crate::workload::Workload;

/// Requests in flight of a closed loop where no flag says.
const DEFAULT_CONCURRENCY: usize = 32;

/// Closed loop, or open loop with gaps of a shape.
#[derive(Clone, Debug, clap::Args)]
pub struct Traffic {
    /// Open loop: requests per second, whatever the answers do.
    #[arg(long, conflicts_with = "concurrency")]
    pub rate: Option<f64>,
    /// Closed loop: requests in flight [default without --rate: 32].
    #[arg(long)]
    pub concurrency: Option<usize>,
    /// Open loop: how gaps between requests are drawn [default: as --burstiness says].
    #[arg(long, value_enum)]
    pub arrivals: Option<ArrivalKind>,
    /// Open loop: shape of the gamma-distributed gaps; 1 is Poisson, less is burstier, `inf` is constant.
    #[arg(long, default_value_t = 1.0)]
    pub burstiness: f64,
    /// Open loop: most requests in flight.
    #[arg(long, default_value_t = 2048)]
    pub max_in_flight: usize,
}

/// Names of the shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ArrivalKind {
    /// Every gap is the same.
    Constant,
    /// Exponential gaps: independent users.
    Poisson,
    /// Gamma gaps of shape --burstiness.
    Gamma,
}

impl Traffic {
    /// Refuses figures that no load can have.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.rate.is_none_or(|rate| rate.is_finite() && rate > 0.0),
            "--rate must be above 0"
        );
        ensure!(self.burstiness > 0.0, "--burstiness must be above 0");
        ensure!(
            self.arrivals.is_none() || self.rate.is_some(),
            "--arrivals needs --rate: a closed loop has no schedule"
        );
        Ok(())
    }

    /// Requests in flight of a closed loop; `None` for an open one.
    pub(crate) fn closed(&self) -> Option<usize> {
        let lanes = self.concurrency.unwrap_or(DEFAULT_CONCURRENCY);
        self.rate.is_none().then_some(lanes)
    }

    /// The shape of gaps.
    pub(crate) fn shape(&self) -> Arrivals {
        match self.arrivals {
            Some(ArrivalKind::Constant) => Arrivals::Constant,
            Some(ArrivalKind::Poisson) => Arrivals::Poisson,
            _ if self.burstiness.is_infinite() => Arrivals::Constant,
            None if self.burstiness == 1.0 => Arrivals::Poisson,
            _ => Arrivals::Gamma {
                shape: self.burstiness,
            },
        }
    }

    /// Sends the whole workload.
    pub(crate) async fn drive(
        &self,
        client: &Arc<Client>,
        workload: &Arc<dyn Workload>,
        seed: u64,
        progress: &Progress,
    ) -> Run {
        let Some(rate) = self.rate else {
            let lanes = self.closed().unwrap_or(DEFAULT_CONCURRENCY);
            return driver::closed(client, workload, lanes, progress).await;
        };
        let times = arrivals::schedule(self.shape(), rate, workload.len(), seed);
        driver::open(client, workload, &times, self.max_in_flight, progress).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        traffic: Traffic,
    }

    #[test]
    fn shapes_by_flag() {
        let check = |flags: &[&str], expected: Option<Arrivals>| {
            let words = std::iter::once("x").chain(flags.iter().copied());
            let traffic = Cli::try_parse_from(words).map(|cli| cli.traffic);
            let shape = traffic
                .ok()
                .filter(|traffic| traffic.check().is_ok())
                .map(|traffic| traffic.shape());
            assert_eq!(shape, expected, "{flags:?}");
        };
        check(&["--rate", "5"], Some(Arrivals::Poisson));
        check(
            &["--rate", "5", "--arrivals", "constant"],
            Some(Arrivals::Constant),
        );
        check(
            &["--rate", "5", "--burstiness", "inf"],
            Some(Arrivals::Constant),
        );
        check(
            &["--rate", "5", "--burstiness", "0.5"],
            Some(Arrivals::Gamma { shape: 0.5 }),
        );
        check(
            &["--rate", "5", "--arrivals", "gamma", "--burstiness", "2"],
            Some(Arrivals::Gamma { shape: 2.0 }),
        );
        check(&["--rate", "0"], None);
        check(&["--rate", "5", "--burstiness", "0"], None);
        check(&["--arrivals", "poisson"], None);
        check(&["--rate", "5", "--concurrency", "2"], None);
    }
}
