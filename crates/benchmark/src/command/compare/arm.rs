//! Which systems are set against each other?

use std::str::FromStr;

use serde::{Serialize, Serializer};

/// How requests are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Routing {
    RoundRobin,
    Ours,
}

/// One system: hardware, cache and routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arm {
    pub replicas: u16,
    pub cache: bool,
    pub routing: Routing,
}

/// Replicas of the larger arms.
pub(super) const MANY: u16 = 3;

/// One replica, cache off: as the pattern documentation has it.
pub(super) const PATTERN_1: Arm = arm(1, false, Routing::RoundRobin);
/// Three replicas, cache on, our routing.
pub(super) const PATTERN_3: Arm = arm(MANY, true, Routing::Ours);
/// The same hardware and cache behind plain round robin.
pub(super) const ROUND_ROBIN: Arm = arm(MANY, true, Routing::RoundRobin);
/// Hardware alone.
pub(super) const HARDWARE: Arm = arm(MANY, false, Routing::RoundRobin);

const fn arm(replicas: u16, cache: bool, routing: Routing) -> Arm {
    Arm {
        replicas,
        cache,
        routing,
    }
}

impl Arm {
    /// All eight, from the least to the most.
    pub fn all() -> Vec<Self> {
        let mut arms = Vec::new();
        for replicas in [1, MANY] {
            for cache in [false, true] {
                for routing in [Routing::RoundRobin, Routing::Ours] {
                    arms.push(arm(replicas, cache, routing));
                }
            }
        }
        arms
    }

    /// Those that the answers need; with one replica there is nothing to route.
    pub fn few() -> Vec<Self> {
        vec![PATTERN_1, HARDWARE, ROUND_ROBIN, PATTERN_3]
    }
}

impl std::fmt::Display for Arm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cache = if self.cache { "on" } else { "off" };
        let routing = match self.routing {
            Routing::RoundRobin => "rr",
            Routing::Ours => "ours",
        };
        write!(f, "{}-{cache}-{routing}", self.replicas)
    }
}

/// `REPLICAS-on|off-rr|ours`, such as `3-on-ours`.
impl FromStr for Arm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::all();
        let named = all.iter().find(|arm| arm.to_string() == text);
        named.copied().ok_or_else(|| {
            let known: Vec<String> = all.iter().map(ToString::to_string).collect();
            format!("expected one of {}", known.join(", "))
        })
    }
}

impl Serialize for Arm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_arms_belong_to_each_other() {
        assert_eq!(Arm::all().len(), 8);
        for arm in Arm::all() {
            assert_eq!(arm.to_string().parse(), Ok(arm));
        }
        let check = |text: &str, expected: Option<Arm>| {
            assert_eq!(text.parse().ok(), expected, "{text}");
        };
        check("1-off-rr", Some(PATTERN_1));
        check("3-on-ours", Some(PATTERN_3));
        check("2-on-ours", None);
        check("3-on", None);
        check("", None);
        assert!(Arm::few().iter().all(|arm| Arm::all().contains(arm)));
    }
}
