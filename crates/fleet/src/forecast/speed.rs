//! How much slower than others is an endpoint, as far as noise lets one tell?

/// Faded moments of the logarithms of observed over expected times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speed {
    weight: f64,
    /// Sum of squared weights: how many equal observations they are worth.
    weight_squares: f64,
    sum: f64,
    squares: f64,
    factor: f64,
}

impl Default for Speed {
    fn default() -> Self {
        Self {
            weight: 0.0,
            weight_squares: 0.0,
            sum: 0.0,
            squares: 0.0,
            factor: 1.0,
        }
    }
}

/// A deviation is believed in full from a multiple of its own error on, and not at all below this many.
const ERRORS: f64 = 2.0;

/// Spread of single observations assumed while there are few.
const ASSUMED_VARIANCE: f64 = 0.1;

impl Speed {
    /// Takes in one observation; older ones fade by 1/e in `memory` observations.
    pub(super) fn add(&mut self, seen: f64, weight: f64, memory: f64) {
        let keep = 1.0 - 1.0 / memory;
        self.weight = self.weight * keep + weight;
        self.weight_squares = self.weight_squares * keep * keep + weight * weight;
        self.sum = self.sum * keep + weight * seen;
        self.squares = self.squares * keep + weight * seen * seen;
    }

    fn mean(&self) -> f64 {
        self.sum / self.weight.max(1e-9)
    }

    /// Squared standard error of the mean.
    fn error_squared(&self) -> f64 {
        let count = self.weight * self.weight / self.weight_squares.max(1e-9);
        let spread = (self.squares / self.weight.max(1e-9) - self.mean().powi(2)).max(0.0);
        (spread * count + ASSUMED_VARIANCE) / (count + 1.0) / count.max(1e-3)
    }

    /// The factor by which this one is slower than `others`, 1 where that may be chance.
    pub(super) fn factor_over(&mut self, others: &Self) -> f64 {
        let deviation = self.mean() - others.mean();
        let noise = ERRORS * ERRORS * self.error_squared();
        let believed = (1.0 - noise / deviation.powi(2).max(1e-12)).max(0.0);
        self.factor = (deviation * believed).exp();
        self.factor
    }

    /// The last one worked out.
    pub(super) fn last_factor(&self) -> f64 {
        self.factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_one_stands_out_soon_and_equal_ones_are_not_told_apart() {
        let noise = |at: u32| f64::from(at * 7919 % 101) / 101.0 - 0.5;
        let mut pool = Speed::default();
        let mut lanes = [Speed::default(); 4];
        for at in 0..400_u32 {
            let lane = (at % 4) as usize;
            let slow = if lane == 3 { 1.6 } else { 0.0 };
            let seen = slow + noise(at);
            pool.add(seen, 1.0, 1_000.0);
            lanes[lane].add(seen, 1.0, 200.0);
            let factor = lanes[lane].factor_over(&pool);
            if lane == 3 && at > 12 {
                assert!(factor > 1.5, "{at}: {factor}");
            }
        }
        let ratio = lanes[3].factor_over(&pool) / lanes[0].factor_over(&pool);
        assert!((4.0..6.0).contains(&ratio), "{ratio}");
        let equal = lanes[0].last_factor() / lanes[1].last_factor();
        assert!((0.95..1.05).contains(&equal), "{equal}");
    }
}
