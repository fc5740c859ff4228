//! Which figures may be drawn from so many samples?

use serde::{Deserialize, Serialize};

use super::interval::{self, Interval};

/// Fewest samples for a 90th, 95th and 99th percentile: below, it would be the maximum by another name.
pub const MIN_FOR_P90: usize = 10;
pub const MIN_FOR_P95: usize = 20;
pub const MIN_FOR_P99: usize = 100;

/// One measured quantity. Everything but `n` is `None` where the samples do not carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub n: usize,
    pub mean: Option<f64>,
    /// Of the sample (n - 1); `None` under two.
    pub stddev: Option<f64>,
    pub min: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
    /// 95 % intervals; absent where the samples do not carry them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_ci95: Option<Interval>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ci95: Option<Interval>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ci95: Option<Interval>,
}

impl Summary {
    /// Exact figures over all of `values`; those that are not finite are left out and not counted.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let n = sorted.len();
        if n == 0 {
            return Self::default();
        }
        let mean = sorted.iter().sum::<f64>() / n as f64;
        let squares: f64 = sorted.iter().map(|value| (value - mean).powi(2)).sum();
        let from = |fewest: usize, q: f64| (n >= fewest).then(|| quantile(&sorted, q));
        Self {
            n,
            mean: Some(mean),
            stddev: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()),
            min: sorted.first().copied(),
            p50: from(1, 0.5),
            p90: from(MIN_FOR_P90, 0.9),
            p95: from(MIN_FOR_P95, 0.95),
            p99: from(MIN_FOR_P99, 0.99),
            max: sorted.last().copied(),
            mean_ci95: interval::mean(&sorted),
            p50_ci95: interval::quantile(&sorted, 0.5),
            p95_ci95: interval::quantile(&sorted, 0.95),
        }
    }

    /// A figure to one decimal, else `n/a (n=…)`.
    pub fn show(&self, figure: Option<f64>) -> String {
        figure.map_or_else(
            || format!("n/a (n={})", self.n),
            |value| format!("{value:.1}"),
        )
    }
}

/// Linear interpolation between the two nearest ranks of a sorted, non-empty slice (numpy's default).
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = q * (sorted.len() - 1) as f64;
    let (low, high) = (rank.floor() as usize, rank.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (rank - low as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(seen: Option<f64>, expected: f64) {
        let seen = seen.unwrap();
        assert!((seen - expected).abs() < 1e-9, "{seen} is not {expected}");
    }

    #[test]
    fn known_vectors() {
        // 1..=100: figures as numpy gives them.
        let all = Summary::of((1..=100).rev().map(f64::from));
        assert_eq!(all.n, 100);
        close(all.mean, 50.5);
        close(all.stddev, 29.011_491_975_882_016);
        close(all.p50, 50.5);
        close(all.p90, 90.1);
        close(all.p95, 95.05);
        close(all.p99, 99.01);
        let few = Summary::of([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        close(few.mean, 5.0);
        close(few.p50, 4.5);
        close(few.stddev, (32.0_f64 / 7.0).sqrt());
    }

    #[test]
    fn no_percentile_without_its_samples() {
        let has = |n: usize| {
            let summary = Summary::of((0..n).map(|value| value as f64));
            [summary.p50, summary.p90, summary.p95, summary.p99].map(|figure| figure.is_some())
        };
        assert_eq!(has(0), [false; 4]);
        assert_eq!(has(9), [true, false, false, false]);
        assert_eq!(has(19), [true, true, false, false]);
        assert_eq!(has(20), [true, true, true, false]);
        assert_eq!(has(99), [true, true, true, false]);
        assert_eq!(has(100), [true; 4]);
    }

    #[test]
    fn what_is_missing_says_so() {
        let summary = Summary::of([1.0, 2.0, f64::NAN, 3.0, 4.0, 5.0]);
        assert_eq!(summary.show(summary.p95), "n/a (n=5)");
        assert_eq!(summary.show(summary.p50), "3.0");
    }
}
