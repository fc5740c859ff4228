//! Which coefficients fit what was seen? Ridge regression by normal equations that fade.

/// Faded sums of `N` features, their products and what was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit<const N: usize> {
    /// Weighted products of features, scaled to mean weight 1.
    products: [[f64; N]; N],
    seen: [f64; N],
}

impl<const N: usize> Default for Fit<N> {
    fn default() -> Self {
        Self {
            products: [[0.0; N]; N],
            seen: [0.0; N],
        }
    }
}

impl<const N: usize> Fit<N> {
    /// Takes in one observation; older ones fade by 1/e in `memory` observations.
    pub(super) fn add(&mut self, features: [f64; N], seen: f64, weight: f64, memory: f64) {
        let keep = 1.0 - 1.0 / memory;
        for row in 0..N {
            for column in 0..N {
                let product = &mut self.products[row][column];
                *product = *product * keep + weight * features[row] * features[column];
            }
            self.seen[row] = self.seen[row] * keep + weight * features[row] * seen;
        }
    }

    /// The coefficients, drawn to `prior` as by `firmness` observations of each alone, and none below a hundredth of its
    /// prior: one that would be is held there, and the others are fitted to what is left.
    pub(super) fn solve(&self, prior: [f64; N], firmness: [f64; N]) -> [f64; N] {
        let mut held: [Option<f64>; N] = [None; N];
        for _ in 0..=N {
            let found = self.solve_with(&prior, &firmness, &held);
            let Some(low) =
                (0..N).find(|at| found[*at] < prior[*at] / 100.0 && held[*at].is_none())
            else {
                return found;
            };
            held[low] = Some(prior[low].max(0.0) / 100.0);
        }
        prior
    }

    fn solve_with(
        &self,
        prior: &[f64; N],
        firmness: &[f64; N],
        held: &[Option<f64>; N],
    ) -> [f64; N] {
        let mut matrix = self.products;
        let mut right = self.seen;
        for at in 0..N {
            matrix[at][at] += firmness[at];
            right[at] += firmness[at] * prior[at];
        }
        for at in 0..N {
            if let Some(value) = held[at] {
                for row in 0..N {
                    right[row] -= matrix[row][at] * value;
                    matrix[row][at] = 0.0;
                    matrix[at][row] = 0.0;
                }
                matrix[at][at] = 1.0;
                right[at] = value;
            }
        }
        eliminated(matrix, right).unwrap_or(*prior)
    }
}

/// Gaussian elimination; the matrix is positive definite but for rounding, so it needs no pivots. `None` where rounding
/// has made it singular.
fn eliminated<const N: usize>(mut matrix: [[f64; N]; N], mut right: [f64; N]) -> Option<[f64; N]> {
    for at in 0..N {
        if matrix[at][at].abs() < 1e-300 {
            return None;
        }
        for row in at + 1..N {
            let factor = matrix[row][at] / matrix[at][at];
            let above = matrix[at];
            for (value, above) in matrix[row].iter_mut().zip(above).skip(at) {
                *value -= factor * above;
            }
            right[row] -= factor * right[at];
        }
    }
    let mut found = [0.0; N];
    for at in (0..N).rev() {
        let known: f64 = (at + 1..N)
            .map(|column| matrix[at][column] * found[column])
            .sum();
        found[at] = (right[at] - known) / matrix[at][at];
    }
    found.iter().all(|value| value.is_finite()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_is_found_again() {
        let mut fit = Fit::<3>::default();
        for at in 0..200 {
            let (x, y) = (f64::from(at % 17), f64::from(at % 5));
            fit.add([1.0, x, y], 4.0 + 3.0 * x + 0.5 * y, 1.0, 1e6);
        }
        let found = fit.solve([0.0, 1.0, 1.0], [1e-6; 3]);
        for (seen, expected) in found.iter().zip([4.0, 3.0, 0.5]) {
            assert!((seen - expected).abs() < 1e-3, "{found:?}");
        }
    }

    #[test]
    fn nothing_seen_is_the_prior_and_no_coefficient_turns_negative() {
        let empty = Fit::<2>::default().solve([2.0, 3.0], [0.1; 2]);
        assert!(
            (empty[0] - 2.0).abs() < 1e-12 && (empty[1] - 3.0).abs() < 1e-12,
            "{empty:?}"
        );
        let mut falling = Fit::<2>::default();
        for at in 0..50 {
            let x = f64::from(at % 10);
            falling.add([1.0, x], 100.0 - 5.0 * x, 1.0, 1e6);
        }
        let found = falling.solve([1.0, 1.0], [1e-3; 2]);
        assert!(
            found[1] > 0.0 && found[1] < 0.1 && found[0] > 50.0,
            "{found:?}"
        );
    }

    #[test]
    fn the_past_fades() {
        let mut fit = Fit::<1>::default();
        for _ in 0..100 {
            fit.add([1.0], 10.0, 1.0, 20.0);
        }
        for _ in 0..100 {
            fit.add([1.0], 20.0, 1.0, 20.0);
        }
        let [found] = fit.solve([1.0], [1e-9]);
        assert!(found > 19.5, "{found}");
    }
}
