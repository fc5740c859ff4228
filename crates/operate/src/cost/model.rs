//! What does a fleet of N replicas cost, and what does it serve?
//!
//! ```text
//! cost per day        = shared parts + replicas · price of a node
//! requests per day    = requests/s · utilisation · 86,400
//! cost per million    = cost per day / requests per day · 1,000,000
//! replicas for a load = ⌈requests per day · peak factor / 86,400 / (requests/s of one · utilisation)⌉
//! ```

use serde::Serialize;

/// Seconds in a day.
pub const DAY_S: f64 = 86_400.0;
/// Replicas of Pattern 3.
pub const PATTERN3_REPLICAS: u32 = 3;
/// Slack against a load that fits exactly and a float that says it does not.
const ROUNDING: f64 = 1e-9;
/// Most replicas a service is sized for; a larger need is an input error.
const MAX_REPLICAS: f64 = 1e6;

/// One service: its prices and what its replicas serve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Service {
    /// Paid once, per day.
    pub shared_per_day: f64,
    /// One replica, per day.
    pub node_per_day: f64,
    /// Requests per second of one replica at full use.
    pub replica_rps: f64,
    /// Requests per second of Pattern 3's three replicas at full use.
    pub pattern3_rps: f64,
    /// Share of full use that is planned for.
    pub utilisation: f64,
}

/// What a load asks of the fleet beside its size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Demand {
    pub requests_per_day: f64,
    /// Requests per second at the peak over the day's mean.
    pub peak_factor: f64,
    /// The load must be carried with one replica gone.
    pub n_plus_1: bool,
}

impl Demand {
    /// Requests per second at the peak.
    pub fn peak_rps(&self) -> f64 {
        self.requests_per_day * self.peak_factor / DAY_S
    }
}

impl Service {
    /// Cost of `replicas` behind one gateway, per day.
    pub fn per_day(&self, replicas: u32) -> f64 {
        self.shared_per_day + f64::from(replicas) * self.node_per_day
    }

    /// Requests per day that `rps` at full use comes to at the planned utilisation.
    pub fn requests_per_day(&self, rps: f64) -> f64 {
        rps * self.utilisation * DAY_S
    }

    /// Cost per million requests of a fleet that is used as planned.
    pub fn per_million(&self, replicas: u32, rps: f64) -> f64 {
        self.per_day(replicas) / self.requests_per_day(rps) * 1e6
    }

    /// Fewest replicas behind one gateway that carry `demand`.
    pub fn replicas_for(&self, demand: &Demand) -> u32 {
        let needed = ceil(demand.peak_rps() / (self.replica_rps * self.utilisation));
        needed.max(1) + u32::from(demand.n_plus_1)
    }

    /// Fewest separate Pattern 1 services that carry `demand`.
    pub fn pattern1_copies(&self, demand: &Demand) -> u32 {
        self.replicas_for(demand)
    }

    /// Fewest separate Pattern 3 services that carry `demand`; with one replica gone a third of one is missing.
    pub fn pattern3_copies(&self, demand: &Demand) -> u32 {
        let one = self.pattern3_rps * self.utilisation;
        let missing = if demand.n_plus_1 {
            one / f64::from(PATTERN3_REPLICAS)
        } else {
            0.0
        };
        ceil((demand.peak_rps() + missing) / one).max(1)
    }

    /// Requests per second above which Pattern 3 costs less per request than Pattern 1, both used as planned.
    pub fn break_even_rps(&self) -> f64 {
        self.per_day(PATTERN3_REPLICAS) / self.per_day(1) * self.replica_rps
    }

    /// Loads, in requests per day, at which copies of Pattern 3 cost less than copies of Pattern 1: the first
    /// such range up to `most` copies of Pattern 1. `None`: there is none.
    pub fn break_even_load(&self, most: u32) -> Option<(f64, f64)> {
        let one = self.requests_per_day(self.replica_rps);
        let three = self.requests_per_day(self.pattern3_rps);
        let cheaper = |load: f64| {
            let (ones, threes) = (ceil(load / one).max(1), ceil(load / three).max(1));
            f64::from(threes) * self.per_day(PATTERN3_REPLICAS) < f64::from(ones) * self.per_day(1)
        };
        // Costs change only where one more copy is needed.
        let mut edges: Vec<f64> = (0..=most).map(|copies| f64::from(copies) * one).collect();
        let end = f64::from(most) * one;
        edges.extend((1..=most).map(|copies| f64::from(copies) * three));
        edges.retain(|edge| *edge <= end);
        edges.sort_by(f64::total_cmp);
        let ranges = || edges.windows(2).map(|pair| (pair[0], pair[1]));
        let inside = |(from, to): (f64, f64)| to > from && cheaper(f64::midpoint(from, to));
        let (from, mut to) = ranges().find(|range| inside(*range))?;
        for range in ranges().filter(|(low, high)| *low >= from && high > low) {
            if range.0 > to || !inside(range) {
                break;
            }
            to = range.1;
        }
        Some((from, to))
    }
}

fn ceil(replicas: f64) -> u32 {
    // Bounded first, so that the cast keeps its value.
    (replicas - ROUNDING).ceil().clamp(0.0, MAX_REPLICAS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures of the pattern documentation.
    fn documented() -> Service {
        Service {
            shared_per_day: 6.3,
            node_per_day: 127.0,
            replica_rps: 7.0,
            pattern3_rps: 20.0,
            utilisation: 0.8,
        }
    }

    fn cents(value: f64) -> f64 {
        (value * 100.0).round() / 100.0
    }

    #[test]
    fn costs_of_the_documented_patterns() {
        let service = documented();
        let check = |replicas, rps, expected: (f64, f64)| {
            let seen = (
                cents(service.per_day(replicas)),
                cents(service.per_million(replicas, rps)),
            );
            assert_eq!(seen, expected);
        };
        check(1, 7.0, (133.30, 275.50));
        check(3, 20.0, (387.30, 280.16));
        check(3, 21.0, (387.30, 266.82));
    }

    #[test]
    fn replicas_and_cost_for_a_load() {
        let check = |requests_per_day, peak_factor, n_plus_1, expected: (u32, f64, u32)| {
            let service = documented();
            let demand = Demand {
                requests_per_day,
                peak_factor,
                n_plus_1,
            };
            let replicas = service.replicas_for(&demand);
            let seen = (
                replicas,
                cents(service.per_day(replicas)),
                service.pattern3_copies(&demand),
            );
            assert_eq!(seen, expected, "{demand:?}");
        };
        check(50e3, 1.0, false, (1, 133.30, 1));
        check(500e3, 1.0, false, (2, 260.30, 1));
        check(2e6, 1.0, false, (5, 641.30, 2));
        // A load that fits exactly.
        check(7.0 * 0.8 * DAY_S, 1.0, false, (1, 133.30, 1));
        check(0.0, 1.0, false, (1, 133.30, 1));
        check(500e3, 3.0, false, (4, 514.30, 2));
        check(500e3, 1.0, true, (3, 387.30, 1));
        check(2e6, 1.0, true, (6, 768.30, 2));
        // 1,382,400 is all that one Pattern 3 carries, two thirds of it with a replica gone.
        check(1.3e6, 1.0, true, (4, 514.30, 2));
    }

    #[test]
    fn break_even() {
        let mut service = documented();
        assert_eq!(cents(service.break_even_rps()), 20.34);
        let (from, to) = service.break_even_load(20).unwrap();
        assert_eq!((from.round(), to.round()), (967_680.0, 1_382_400.0));
        service.pattern3_rps = 6.0;
        assert_eq!(service.break_even_load(20), None);
        service.pattern3_rps = 100.0;
        let (from, to) = service.break_even_load(6).unwrap();
        assert_eq!((from.round(), to.round()), (967_680.0, 2_903_040.0));
    }
}
