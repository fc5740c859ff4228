//! When should each request of an open loop leave?

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// How gaps between requests are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// Every gap is `1/rate`.
    Constant,
    /// Exponential gaps: independent users.
    Poisson,
    /// Gamma gaps of this shape: below 1 burstier than Poisson, above 1 steadier.
    Gamma { shape: f64 },
}

/// `requests` send times from the start, at `rate_per_s` on average, never decreasing.
pub fn schedule(arrivals: Arrivals, rate_per_s: f64, requests: usize, seed: u64) -> Vec<Duration> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut at_s = 0.0;
    let mean_s = 1.0 / rate_per_s.max(1e-6);
    let mut times = Vec::with_capacity(requests);
    for _ in 0..requests {
        times.push(Duration::from_secs_f64(at_s));
        at_s += mean_s * unit_gap(arrivals, &mut rng);
    }
    times
}

/// One gap with mean 1, in units of the mean gap.
pub fn gap_s(arrivals: Arrivals, rng: &mut SmallRng) -> f64 {
    unit_gap(arrivals, rng)
}

/// A gap with mean 1.
fn unit_gap(arrivals: Arrivals, rng: &mut SmallRng) -> f64 {
    match arrivals {
        Arrivals::Constant => 1.0,
        Arrivals::Poisson => exponential(rng),
        Arrivals::Gamma { shape } => gamma(shape.max(0.01), rng) / shape.max(0.01),
    }
}

fn exponential(rng: &mut SmallRng) -> f64 {
    -(1.0 - rng.random::<f64>()).ln()
}

/// Gamma with scale 1 by Marsaglia and Tsang's rejection; shapes below 1 by their boost.
fn gamma(shape: f64, rng: &mut SmallRng) -> f64 {
    if shape < 1.0 {
        let boost = (1.0 - rng.random::<f64>()).powf(1.0 / shape);
        return gamma(shape + 1.0, rng) * boost;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        let u = 1.0 - rng.random::<f64>();
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// Standard normal, by Box and Muller.
fn normal(rng: &mut SmallRng) -> f64 {
    let radius = (2.0 * exponential(rng)).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean gap and squared coefficient of variation of the gaps.
    fn moments(arrivals: Arrivals) -> (f64, f64) {
        let times = schedule(arrivals, 10.0, 40_001, 7);
        let gaps: Vec<f64> = times
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        (mean, variance / (mean * mean))
    }

    #[test]
    fn gaps_have_the_moments_of_their_distribution() {
        for (arrivals, variation) in [
            (Arrivals::Constant, 0.0),
            (Arrivals::Poisson, 1.0),
            (Arrivals::Gamma { shape: 1.0 }, 1.0),
            (Arrivals::Gamma { shape: 4.0 }, 0.25),
            (Arrivals::Gamma { shape: 0.5 }, 2.0),
        ] {
            let (mean, seen) = moments(arrivals);
            assert!((mean - 0.1).abs() < 0.003, "{arrivals:?}: mean gap {mean}");
            assert!(
                (seen - variation).abs() < 0.12,
                "{arrivals:?}: variation {seen}"
            );
        }
    }

    #[test]
    fn a_seed_fixes_the_schedule() {
        let draw = |seed| schedule(Arrivals::Poisson, 5.0, 50, seed);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!(draw(1)[0], Duration::ZERO);
    }
}
