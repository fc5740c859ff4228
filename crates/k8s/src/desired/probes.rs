//! When does a pod count as started, and as ready?
//!
//! A fixed delay is wrong both ways: a large model is killed, a small one waits. A start-up probe holds the other two
//! back exactly until the engine answers, so delays of theirs are dropped and their time is given to it.

use serde_json::{Value, json};

/// Keeps delays as they are written, when `"true"`.
pub(crate) const KEEP_DELAYS: &str = "prefixgate.dev/keep-probe-delays";
/// A start-up may take at least this many times the delay somebody wrote down for it.
const HEADROOM: u64 = 4;

/// Turns fixed delays of `main` into patience of its start-up probe, and every probe to the engine's protocol.
pub(super) fn apply(main: &mut Value, tls: bool, keep_delays: bool) {
    let mut longest_s = 0;
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let Some(probe) = main.get_mut(probe).filter(|probe| probe.is_object()) else {
            continue;
        };
        if tls && probe["httpGet"].is_object() {
            probe["httpGet"]["scheme"] = json!("HTTPS");
        }
    }
    if keep_delays || !main["startupProbe"].is_object() {
        return;
    }
    for probe in ["readinessProbe", "livenessProbe"] {
        if let Some(probe) = main.get_mut(probe).and_then(Value::as_object_mut)
            && let Some(delay) = probe.shift_remove("initialDelaySeconds")
        {
            longest_s = longest_s.max(delay.as_u64().unwrap_or_default());
        }
    }
    let startup = &mut main["startupProbe"];
    let period_s = startup["periodSeconds"].as_u64().unwrap_or(10).max(1);
    let needed = (longest_s * HEADROOM).div_ceil(period_s);
    if startup["failureThreshold"].as_u64().unwrap_or(3) < needed {
        startup["failureThreshold"] = json!(needed);
    }
}

/// The longest an engine may take to start, in seconds, as its start-up probe says.
pub(crate) fn startup_limit_s(main: &Value) -> Option<u64> {
    let startup = main.get("startupProbe")?;
    let number = |key: &str, default: u64| startup[key].as_u64().unwrap_or(default);
    Some(
        number("initialDelaySeconds", 0)
            + number("periodSeconds", 10) * number("failureThreshold", 3),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(main: Value, keep: bool, expected: Value) {
        let mut main = main;
        apply(&mut main, false, keep);
        assert_eq!(main, expected);
    }

    #[test]
    fn delays_become_patience() {
        check(
            json!({"startupProbe": {"periodSeconds": 5, "failureThreshold": 10}, "readinessProbe": {"initialDelaySeconds": 240, "periodSeconds": 10}}),
            false,
            json!({"startupProbe": {"periodSeconds": 5, "failureThreshold": 192}, "readinessProbe": {"periodSeconds": 10}}),
        );
        let untouched = json!({"readinessProbe": {"initialDelaySeconds": 240}});
        check(untouched.clone(), false, untouched.clone());
        let kept = json!({"startupProbe": {}, "livenessProbe": {"initialDelaySeconds": 240}});
        check(kept.clone(), true, kept.clone());
    }
}
