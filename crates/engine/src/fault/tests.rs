use std::time::Duration;

use super::*;

#[track_caller]
fn check(spec: &str, expected: Result<Fault, &str>) {
    match (spec.parse::<Fault>(), expected) {
        (Ok(seen), Ok(expected)) => assert_eq!(seen, expected),
        (Err(seen), Err(part)) => assert!(seen.contains(part), "{seen}"),
        (seen, expected) => panic!("{spec}: {seen:?} instead of {expected:?}"),
    }
}

#[test]
fn a_spec_is_a_kind_and_keys() {
    check("hang", Ok(Fault::new(Kind::Hang)));
    check(
        "503",
        Ok(Fault {
            code: 503,
            ..Fault::new(Kind::Status)
        }),
    );
    check(
        "stall:after=3,probability=0.5",
        Ok(Fault {
            after: 3,
            probability: 0.5,
            ..Fault::new(Kind::Stall)
        }),
    );
    check(
        "slow-start",
        Ok(Fault {
            for_ms: Some(5000),
            ..Fault::new(Kind::SlowStart)
        }),
    );
    check(
        "drip:delay_ms=50,count=2",
        Ok(Fault {
            delay_ms: 50,
            count: Some(2),
            ..Fault::new(Kind::Drip)
        }),
    );
    check(
        "cut:path=/health",
        Ok(Fault {
            path: Some("/health".to_owned()),
            ..Fault::new(Kind::Cut)
        }),
    );
}

#[test]
fn a_wrong_spec_says_what_is_wrong() {
    check("explode", Err("unknown fault"));
    check("stall:later=3", Err("unknown key `later`"));
    check("stall:after", Err("key=value"));
    check("status:code=200", Err("400 to 599"));
    check("cut:probability=2", Err("0 to 1"));
    check("drip:delay_ms=99999999", Err("at most"));
}

#[test]
fn json_and_spec_are_the_same_fault() {
    let json: Fault = serde_json::from_str(r#"{"kind":"slow-start","for_ms":20}"#).unwrap();
    assert_eq!(json, "slow-start:for_ms=20".parse().unwrap());
    assert!(serde_json::from_str::<Fault>(r#"{"kind":"hang","afer":1}"#).is_err());
}

#[test]
fn count_time_and_chance_bound_a_fault() {
    let now = Duration::from_secs(1);
    let faults = Faults::new(7);
    let strikes = |faults: &Faults, at| {
        (0..1000)
            .filter(|_| {
                faults
                    .strike(Stage::Arrival, "/v1/completions", true, at)
                    .is_some()
            })
            .count()
    };
    faults.arm("500:count=3".parse().unwrap(), now).unwrap();
    assert_eq!(strikes(&faults, now), 3);
    faults.arm("hang:for_ms=10".parse().unwrap(), now).unwrap();
    assert_eq!(strikes(&faults, now + Duration::from_millis(9)), 1000);
    assert_eq!(strikes(&faults, now + Duration::from_millis(10)), 0);
    faults.clear();
    faults
        .arm("hang:probability=0.3".parse().unwrap(), now)
        .unwrap();
    let struck = strikes(&faults, now);
    assert!((250..350).contains(&struck), "{struck}");
    faults.clear();
    assert_eq!(strikes(&faults, now), 0);
}

#[test]
fn a_fault_strikes_its_path_and_stage_only() {
    let faults = Faults::new(0);
    let now = Duration::ZERO;
    faults.arm("stall".parse().unwrap(), now).unwrap();
    faults
        .arm("503:path=/health".parse().unwrap(), now)
        .unwrap();
    let strike = |stage, path, generates| {
        faults
            .strike(stage, path, generates, now)
            .map(|fault| fault.kind)
    };
    assert_eq!(
        strike(Stage::Answer, "/v1/completions", true),
        Some(Kind::Stall)
    );
    assert_eq!(strike(Stage::Answer, "/health", false), None);
    assert_eq!(strike(Stage::Arrival, "/health", false), Some(Kind::Status));
    assert_eq!(strike(Stage::Arrival, "/v1/completions", true), None);
}
