//! How often did a value fall at or below each bound?

/// A Prometheus histogram.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    bounds: Vec<f64>,
    /// Values per bucket, not cumulative; one more than bounds, the last without a bound.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// `bounds` in ascending order.
    pub(crate) fn new(bounds: Vec<f64>) -> Self {
        Self {
            counts: vec![0; bounds.len() + 1],
            bounds,
            sum: 0.0,
        }
    }

    pub(crate) fn observe(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }

    /// Bounds with the number of values at or below each; the last is infinity.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        }))
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn sum(&self) -> f64 {
        self.sum
    }
}

/// 1, 2, 5, 10, 20, … up to `most`.
pub(crate) fn one_two_five(most: usize) -> Vec<f64> {
    let decades = (0..10).map(|exponent| 10_usize.pow(exponent));
    decades
        .flat_map(|unit| [unit, 2 * unit, 5 * unit])
        .take_while(|&bound| bound <= most)
        .map(|bound| bound as f64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_below_it() {
        let mut histogram = Histogram::new(vec![1.0, 2.0]);
        [0.5, 1.0, 1.5, 9.0]
            .into_iter()
            .for_each(|value| histogram.observe(value));
        assert_eq!(
            histogram.cumulative().collect::<Vec<_>>(),
            [(1.0, 2), (2.0, 3), (f64::INFINITY, 4)]
        );
        assert_eq!((histogram.count(), histogram.sum()), (4, 12.0));
    }

    #[test]
    fn lengths_go_up_to_the_model_length() {
        assert_eq!(one_two_five(25), [1.0, 2.0, 5.0, 10.0, 20.0]);
    }
}
