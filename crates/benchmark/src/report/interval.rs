//! How surely is a figure known? 95 % intervals, none of which assumes a shape of the distribution but where it says so.

/// Standard normal quantile of 97.5 %.
const Z: f64 = 1.959_963_984_540_054;

/// A lower and an upper end.
pub type Interval = (f64, f64);

/// Wilson's score interval of a share: `successes` out of `n`. `None` without a trial.
pub fn share(successes: usize, n: usize) -> Option<Interval> {
    if n == 0 {
        return None;
    }
    let (k, n) = (successes as f64, n as f64);
    let p = k / n;
    let z2 = Z * Z;
    let centre = p + z2 / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    Some((
        ((centre - half) / scale).max(0.0),
        ((centre + half) / scale).min(1.0),
    ))
}

/// Order-statistic interval of quantile `q` of a sorted slice: the ranks that hold it with 95 % by the binomial's
/// normal approximation. `None` where one of the ranks is outside the samples.
pub fn quantile(sorted: &[f64], q: f64) -> Option<Interval> {
    let n = sorted.len() as f64;
    let half = Z * (n * q * (1.0 - q)).sqrt();
    let (low, high) = ((n * q - half).floor(), (n * q + half).ceil());
    if low < 1.0 || high > n {
        return None;
    }
    Some((sorted[low as usize - 1], sorted[high as usize - 1]))
}

/// Interval of a mean by the central limit theorem. `None` under 30 values.
pub fn mean(values: &[f64]) -> Option<Interval> {
    let n = values.len();
    if n < 30 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let half = Z * (squares / (n - 1) as f64 / n as f64).sqrt();
    Some((mean - half, mean + half))
}

/// Two-sided 95 % quantiles of Student's t for 1, 2, … degrees of freedom.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// The mean of independent runs and half the width of its interval, by Student's t: the one place where figures are taken
/// for normally distributed, as means and percentiles of long runs nearly are. No width from a single run.
pub fn mean_of_few(values: &[f64]) -> (Option<f64>, Option<f64>) {
    let n = values.len();
    if n == 0 {
        return (None, None);
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    if n == 1 {
        return (Some(mean), None);
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let error = (squares / (n - 1) as f64 / n as f64).sqrt();
    let t = STUDENT.get(n - 2).copied().unwrap_or(Z);
    (Some(mean), Some(t * error))
}

/// Interval of a ratio of sums `Σ top / Σ bottom` over independent pairs, by linearisation. `None` under 30 pairs.
pub fn ratio(pairs: &[(f64, f64)]) -> Option<Interval> {
    let n = pairs.len();
    let bottom: f64 = pairs.iter().map(|pair| pair.1).sum();
    if n < 30 || bottom <= 0.0 {
        return None;
    }
    let ratio = pairs.iter().map(|pair| pair.0).sum::<f64>() / bottom;
    let squares: f64 = pairs
        .iter()
        .map(|(top, bottom)| (top - ratio * bottom).powi(2))
        .sum();
    let half = Z * (squares * n as f64 / (n - 1) as f64).sqrt() / bottom;
    Some(((ratio - half).max(0.0), ratio + half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_by_wilson() {
        let check = |k, n, expected: Option<Interval>| {
            let seen = share(k, n);
            match (seen, expected) {
                (None, None) => {}
                (Some(seen), Some(expected)) => assert!(
                    (seen.0 - expected.0).abs() < 5e-4 && (seen.1 - expected.1).abs() < 5e-4,
                    "{seen:?}"
                ),
                _ => panic!("{seen:?}"),
            }
        };
        check(0, 0, None);
        // Published values of the score interval.
        check(95, 100, Some((0.8882, 0.9785)));
        check(10, 10, Some((0.7225, 1.0)));
        check(0, 10, Some((0.0, 0.2775)));
    }

    #[test]
    fn quantiles_need_samples_on_both_sides() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&sorted, 0.5), Some((40.0, 60.0)));
        assert_eq!(quantile(&sorted, 0.95), Some((90.0, 100.0)));
        assert_eq!(quantile(&sorted, 0.99), None);
        assert_eq!(quantile(&sorted[..5], 0.5), None);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn few_runs_by_student() {
        assert_eq!(mean_of_few(&[]), (None, None));
        assert_eq!(mean_of_few(&[3.0]), (Some(3.0), None));
        // Deviations -2..2: standard error sqrt(2.5 / 5), times t of 4 degrees.
        let (mean, half) = mean_of_few(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(mean, Some(3.0));
        assert!((half.unwrap() - 2.776 * 0.5_f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn means_and_ratios() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i % 2)).collect();
        let (low, high) = mean(&values).unwrap();
        assert!((low - 0.4015).abs() < 1e-3 && (high - 0.5985).abs() < 1e-3);
        assert_eq!(mean(&values[..29]), None);
        let pairs: Vec<(f64, f64)> = values.iter().map(|value| (*value, 1.0)).collect();
        let (low_ratio, high_ratio) = ratio(&pairs).unwrap();
        assert!((low_ratio - low).abs() < 1e-9 && (high_ratio - high).abs() < 1e-9);
        assert_eq!(ratio(&[(0.0, 0.0); 40]), None);
    }
}
