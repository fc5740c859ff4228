//! Which load is tried next when the highest that is carried is looked for?

/// What is known: the highest load carried and the lowest not carried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bracket {
    pub carried: Option<f64>,
    pub refused: Option<f64>,
    next: Option<f64>,
    /// The search ends when the ends are no further apart than this share of the lower.
    tolerance: f64,
    /// Loads below this are not tried.
    least: f64,
}

/// Factor from one trial to the next while one end is unknown.
const STRIDE: f64 = 1.5;

impl Bracket {
    /// Begins at `guess`, which must be above 0.
    pub fn new(guess: f64, tolerance: f64) -> Self {
        Self {
            carried: None,
            refused: None,
            next: Some(guess),
            tolerance,
            least: guess / 64.0,
        }
    }

    /// The load to try; `None` when enough is known.
    pub fn next(&self) -> Option<f64> {
        self.next
    }

    /// Takes the result of trying `load` and decides what is tried next.
    pub fn tried(&mut self, load: f64, carried: bool) {
        if carried {
            self.carried = Some(self.carried.unwrap_or(0.0).max(load));
        } else {
            self.refused = Some(self.refused.unwrap_or(f64::MAX).min(load));
        }
        self.next = match (self.carried, self.refused) {
            // A lower load was refused than one that was carried: the edge is between the noise of the two.
            (Some(low), Some(high)) if high <= low * (1.0 + self.tolerance) => None,
            (Some(low), Some(high)) => Some((low * high).sqrt()),
            (Some(low), None) => Some(low * STRIDE),
            (None, Some(high)) => Some(high / STRIDE).filter(|load| *load >= self.least),
            (None, None) => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads up to `capacity` are carried.
    fn find(guess: f64, tolerance: f64, capacity: f64) -> (Option<f64>, usize) {
        let mut bracket = Bracket::new(guess, tolerance);
        let mut trials = 0;
        while let Some(load) = bracket.next() {
            bracket.tried(load, load <= capacity);
            trials += 1;
            assert!(trials < 60);
        }
        (bracket.carried, trials)
    }

    #[test]
    fn the_edge_is_found_within_the_tolerance() {
        for capacity in [0.3, 1.0, 7.7, 10.0, 55.0, 900.0] {
            let (found, trials) = find(10.0, 0.05, capacity);
            let found = found.unwrap();
            assert!(
                found <= capacity && found >= capacity / 1.0501,
                "{capacity}: {found}"
            );
            assert!(trials <= 18, "{capacity}: {trials} trials");
        }
    }

    #[test]
    fn nothing_carried_ends_too() {
        assert_eq!(find(10.0, 0.05, 0.0).0, None);
    }
}
