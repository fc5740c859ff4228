//! What of a document stands around the profile that runs?

use std::time::Duration;

use scheduler::{
    Ask, Band, Compiled, ConfigError, Detector, Document, EndpointLoad, Fairness, Order,
    SchedulingConfig, compile,
};

use crate::rows::{ask, idle, rng};

const HEAD: &str = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n";

fn compiled(text: &str) -> Result<Compiled, ConfigError> {
    let document = Document::parse(&format!("{HEAD}{text}"))?;
    compile(&SchedulingConfig::document(document), 7)
}

fn refused(text: &str, expected: &[&str]) {
    let error = compiled(text).expect_err("refused");
    let told: Vec<String> = error.problems.iter().map(|p| p.to_string()).collect();
    assert_eq!(told.len(), expected.len(), "{text}\n{told:?}");
    for (told, expected) in told.iter().zip(expected) {
        // Lists of what is known may follow.
        assert!(told.starts_with(expected), "{told}");
    }
}

const STAGES: &str = "
schedulingProfiles:
- {name: decode, plugins: [{pluginRef: decode-filter}]}
- {name: prefill, plugins: [{pluginRef: prefill-filter}]}
- {name: encode, plugins: [{pluginRef: encode-filter}]}
";

const FILTERS: &str =
    "- {type: decode-filter}\n- {type: prefill-filter}\n- {type: encode-filter}\n";

#[test]
fn stages_come_of_deciders() {
    let check = |plugins: &str, expected: &[&str], notes: &[&str]| {
        let text = format!("plugins:\n{FILTERS}{plugins}{STAGES}");
        let compiled = compiled(&text).unwrap_or_else(|error| panic!("{text}\n{error}"));
        let stages = compiled.profile.stages().iter();
        let stages: Vec<&str> = stages.map(|stage| stage.kind().name()).collect();
        assert_eq!(stages, expected, "{text}");
        assert_eq!(compiled.profile.name(), "decode");
        assert_eq!(compiled.notes, notes, "{text}");
        let again = Document::parse(&compiled.dump()).expect("a dump is a document");
        let again = compile(&SchedulingConfig::document(again), 7).expect("it compiles");
        assert_eq!(again.profile.stages().len(), expected.len());
    };
    let no_encode = "profile `encode` never runs: disagg-profile-handler has no decider for encode";
    let no_prefill =
        "profile `prefill` never runs: disagg-profile-handler has no decider for prefill";
    let headers = "disagg-headers-handler: `disagg-profile-handler` writes the headers by itself";
    check(
        "- {type: disagg-profile-handler}\n",
        &[],
        &[no_encode, no_prefill],
    );
    check(
        "- {type: prefill-header-handler}\n- {type: always-disagg-pd-decider}\n- {type: pd-profile-handler, parameters: {deciderPluginName: always-disagg-pd-decider}}\n",
        &["prefill"],
        &[headers, no_encode],
    );
    check(
        "- {type: always-disagg-multimodal-decider}\n- {type: always-disagg-pd-decider}\n- {type: disagg-profile-handler, parameters: {deciders: {prefill: always-disagg-pd-decider, encode: always-disagg-multimodal-decider}}}\n",
        &["encode", "prefill"],
        &[],
    );
}

#[test]
fn what_a_handler_needs_is_told() {
    refused(
        "plugins:\n- {type: queue-scorer}\n- {type: disagg-profile-handler, parameters: {deciders: {prefill: nobody}}}\nschedulingProfiles:\n- {name: decod, plugins: [{pluginRef: queue-scorer}]}",
        &[
            "schedulingProfiles: `disagg-profile-handler` needs a profile called `decode`; did you mean `decod`?",
            "schedulingProfiles: `disagg-profile-handler` needs a profile called `prefill`",
            "plugins (disagg-profile-handler).parameters.deciders.prefill: no plugin is called `nobody`",
        ],
    );
    refused(
        "plugins:\n- {type: disagg-profile-handler, parameters: {stageOrder: both-first}}",
        &[
            "line 4, plugins[0].parameters.stageOrder: unknown variant `both-first`, expected `decode-first` or `prefill-first`",
        ],
    );
    refused(
        "plugins:\n- {type: disagg-profile-handler, parameters: {primaryPort: 8000}}",
        &[
            "line 4, plugins[0].parameters.primaryPort: not honoured: requests go to the port of the rank's own endpoint; remove it",
        ],
    );
}

#[test]
fn media_is_encoded_elsewhere() {
    let text = format!(
        "plugins:\n{FILTERS}- {{type: always-disagg-multimodal-decider}}\n- {{type: disagg-profile-handler, parameters: {{deciders: {{encode: always-disagg-multimodal-decider}}}}}}{STAGES}"
    );
    let profile = compiled(&text).expect("accepted").profile;
    assert!(profile.reads_media());
    let mut candidates = idle(2);
    let mut infos = candidates.infos.to_vec();
    infos[1]
        .labels
        .insert("llm-d.ai/role".to_owned(), "encode".to_owned());
    candidates.infos = infos.into();
    for (media, expected) in [(true, Some(1)), (false, None)] {
        let ask = Ask { media, ..ask() };
        let beside = profile.stages()[0].pick(&ask, &candidates, 0, &mut rng(1));
        assert_eq!(beside.slot.map(|slot| slot.index()), expected);
    }
}

#[test]
fn a_header_names_the_profile() {
    let text = "plugins:\n- {type: queue-scorer}\n- {type: active-request-scorer}\n- {type: header-profile-handler, parameters: {defaultProfile: by-queue}}\nschedulingProfiles:\n- {name: by-queue, plugins: [{pluginRef: queue-scorer}]}\n- {name: by-count, plugins: [{pluginRef: active-request-scorer}]}";
    let profile = compiled(text).expect("accepted").profile;
    assert_eq!(profile.headers(), ["epp-profile"]);
    let mut candidates = idle(2);
    candidates.queue_requests = vec![0.0, 4.0];
    candidates.active_requests = vec![4.0, 0.0];
    for (named, expected) in [("by-queue", 0), ("by-count", 1), ("nobody", 0)] {
        let headers = [("epp-profile", named)];
        let ask = Ask {
            headers: &headers,
            ..ask()
        };
        let decision = profile.run(&ask, &candidates, &mut rng(1)).expect("one");
        assert_eq!(decision.preferences[0].index(), expected, "{named}");
    }
}

#[test]
fn low_priority_is_turned_away_by_chance() {
    let text = "plugins:\n- {type: queue-scorer}\n- {type: probabilistic-admitter, parameters: {k: 1, power: 1}}";
    let profile = compiled(text).expect("accepted").profile;
    let turned = |queue: f32, priority| {
        let mut candidates = idle(2);
        candidates.queue_requests = vec![queue; 2];
        let mut rng = rng(1);
        let ask = Ask { priority, ..ask() };
        let refused = |_: &u32| profile.admit(&ask, &candidates, &mut rng).is_err();
        (0..200).filter(refused).count()
    };
    assert_eq!(turned(2.5, 0), 0);
    assert_eq!(turned(0.0, -1), 0);
    assert!((60..140).contains(&turned(2.5, -1)));
}

#[test]
fn flow_control_is_read_whole() {
    let text = "featureGates: [flowControl, prepareDataPlugins]
plugins:
- {type: queue-scorer}
- {type: round-robin-fairness-policy}
- {type: edf-ordering-policy}
- {type: slo-deadline-ordering-policy}
- {type: static-usage-limit-policy, parameters: {threshold: 0.9}}
- {type: concurrency-detector, parameters: {concurrencyMode: hybrid, maxConcurrency: 4, maxTokenConcurrency: 1000}}
flowControl:
  maxRequests: 10k
  maxBytes: 1Gi
  defaultRequestTTL: 1m30s
  noEndpointRequestTTL: 5s
  usageLimitPolicyPluginRef: static-usage-limit-policy
  saturationDetector: {pluginRef: concurrency-detector}
  defaultPriorityBand: {maxRequests: 7, orderingPolicyRef: edf-ordering-policy}
  priorityBands:
  - {priority: 5, maxBytes: 2M, fairnessPolicyRef: round-robin-fairness-policy, orderingPolicyRef: slo-deadline-ordering-policy}";
    let compiled = compiled(text).expect("accepted");
    let flow = compiled.wiring.flow.expect("on");
    assert_eq!(
        (flow.max_requests, flow.max_bytes),
        (Some(10_000), Some(1 << 30))
    );
    assert_eq!(flow.request_ttl, Duration::from_secs(90));
    assert_eq!(flow.no_endpoint_ttl, Duration::from_secs(5));
    assert!((flow.ceiling - 0.9).abs() < 1e-9);
    assert!(flow.reads_slo());
    let five = Band {
        priority: 5,
        max_bytes: 2_000_000,
        fairness: Fairness::RoundRobin,
        order: Order::SloDeadline,
        ..Band::default()
    };
    assert_eq!(flow.band(5), &five);
    assert_eq!(
        (flow.band(0).max_requests, flow.band(0).order),
        (7, Order::Deadline)
    );
    assert_eq!(
        compiled.notes,
        ["featureGates[1]: an older gate; what it turned on is always on"]
    );
}

#[test]
fn slips_in_flow_control_are_told() {
    let with = |flow: &str| {
        format!(
            "featureGates: [flowControl]\nplugins:\n- {{type: queue-scorer}}\n- {{type: fcfs-ordering-policy}}\nflowControl:\n  {flow}"
        )
    };
    for (flow, expected) in [
        (
            "defaultRequestTTL: soon",
            "line 8, flowControl.defaultRequestTTL: must be a duration of more than 0, as `30s` or `1m30s`",
        ),
        (
            "maxRequests: 0",
            "line 8, flowControl.maxRequests: must be a whole number of more than 0, or a quantity as `512Mi`",
        ),
        (
            "priorityBands: [{maxRequests: 3}]",
            "line 8, flowControl.priorityBands[0]: needs a `priority`",
        ),
        (
            "priorityBands: [{priority: 1}, {priority: 1}]",
            "line 8, flowControl.priorityBands[1]: a second band of priority 1; keep one",
        ),
        (
            "priorityBands: [{priority: 1, fairnessPolicyRef: fcfs-ordering-policy}]",
            "line 8, flowControl.priorityBands[0]: `fcfs-ordering-policy` is no fairness policy",
        ),
        (
            "saturationDetector: {pluginRef: queue-scorer}",
            "line 8, flowControl.saturationDetector: `queue-scorer` is a scorer, and this place takes a saturation detector",
        ),
        (
            "usageLimitPolicyPluginRef: priority-holdback-policy",
            "line 8, flowControl.usageLimitPolicyPluginRef: no plugin is called `priority-holdback-policy`",
        ),
    ] {
        refused(&with(flow), &[expected]);
    }
}

#[test]
fn saturation_of_an_endpoint() {
    let utilization = Detector::default();
    let concurrency = Detector::Concurrency {
        max_requests: Some(10.0),
        max_tokens: Some(1000.0),
        headroom: 0.0,
    };
    let load = EndpointLoad {
        queue_requests: 2.0,
        kv_usage: 0.2,
        active_requests: 5.0,
        active_tokens: 900.0,
        age: Some(Duration::from_millis(100)),
    };
    let check = |detector: &Detector, load: EndpointLoad, expected: f64| {
        let seen = detector.saturation(&load);
        assert!((seen - expected).abs() < 1e-9, "{load:?} {seen}");
    };
    check(&utilization, load, 0.4);
    check(
        &utilization,
        EndpointLoad {
            kv_usage: 0.8,
            ..load
        },
        1.0,
    );
    check(&utilization, EndpointLoad { age: None, ..load }, 1.0);
    let idle = EndpointLoad {
        active_requests: 0.0,
        age: None,
        ..load
    };
    check(&utilization, idle, 0.4);
    check(&concurrency, load, 0.9);
}

#[test]
fn a_detector_in_a_profile_is_a_filter() {
    let text = "plugins:\n- {type: queue-scorer}\n- {type: concurrency-detector, parameters: {maxConcurrency: 2}}\nschedulingProfiles:\n- {name: default, plugins: [{pluginRef: concurrency-detector}, {pluginRef: queue-scorer}]}";
    let profile = compiled(text).expect("accepted").profile;
    let mut candidates = idle(2);
    candidates.active_requests = vec![2.0, 1.0];
    candidates.queue_requests = vec![0.0, 9.0];
    let decision = profile.run(&ask(), &candidates, &mut rng(1)).expect("one");
    assert_eq!(decision.preferences.len(), 1);
    assert_eq!(decision.preferences[0].index(), 1);
    candidates.active_requests = vec![2.0, 2.0];
    let error = profile.run(&ask(), &candidates, &mut rng(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "filter concurrency-detector removed every candidate"
    );
}
