//! What becomes of the documents people run llm-d with?
//!
//! Each routes, and differently from the default where its own plugins say so, or is refused in full.

use std::sync::Arc;

use scheduler::{
    AdapterFit, Ask, Candidates, Compiled, ConfigError, Document, Profile, SchedulingConfig,
    compile,
};

use crate::rows::{ask, idle, rng};

macro_rules! llm_d {
    ($name:literal) => {
        include_str!(concat!("../documents/llm_d/", $name))
    };
}

fn compiled(text: &str) -> Result<Compiled, ConfigError> {
    compile(&SchedulingConfig::document(Document::parse(text)?), 7)
}

fn profile(text: &str) -> Profile {
    compiled(text).expect("accepted").profile
}

fn winner(profile: &Profile, ask: &Ask<'_>, candidates: &Candidates) -> usize {
    let decision = profile
        .run(ask, candidates, &mut rng(1))
        .expect("one remains");
    decision.preferences[0].index()
}

/// The document sends `ask` to `expected`, and what llm-d runs without a document sends it to `otherwise`.
fn check(text: &str, ask: &Ask<'_>, candidates: &Candidates, expected: usize, otherwise: usize) {
    let profile = profile(text);
    assert_eq!(winner(&profile, ask, candidates), expected, "{profile}");
    let default = self::profile(llm_d!("default.yaml"));
    assert_eq!(winner(&default, ask, candidates), otherwise, "default");
}

fn check_refused(text: &str, expected: &str) {
    let message = compiled(text).expect_err("refused").to_string();
    assert_eq!(message, expected.trim(), "\n{message}");
}

/// Endpoints with labels `key=value`.
fn labelled(labels: &[&[(&str, &str)]]) -> Candidates {
    let mut candidates = idle(labels.len());
    let mut infos = candidates.infos.to_vec();
    for (info, labels) in infos.iter_mut().zip(labels) {
        let labels = labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()));
        info.labels = labels.collect();
    }
    candidates.infos = Arc::from(infos);
    candidates
}

/// `e0` holds the prompt and waits, `e1` is empty.
fn warm_and_busy(matched: f32, waiting: f32) -> Candidates {
    let mut candidates = idle(2);
    candidates.matched_blocks = vec![matched, 0.0];
    candidates.matched_tokens = vec![matched * 100.0, 0.0];
    candidates.queue_requests = vec![waiting, 0.0];
    candidates
}

#[test]
fn dumps_of_them_compile_to_themselves() {
    for text in [
        llm_d!("precise.yaml"),
        llm_d!("lora.yaml"),
        llm_d!("session.yaml"),
        llm_d!("data_parallel.yaml"),
        llm_d!("label_filters.yaml"),
    ] {
        let first = compiled(text).expect("accepted");
        let again = compiled(&first.dump()).expect("a dump is a document");
        assert_eq!(again.effective, first.effective);
        assert_eq!(again.wiring, first.wiring);
        assert_eq!(again.profile.to_string(), first.profile.to_string());
    }
}

#[test]
fn the_default_weighs_prefix_3_against_queue_2() {
    let default = profile(llm_d!("default.yaml"));
    assert_eq!(winner(&default, &ask(), &warm_and_busy(8.0, 5.0)), 0);
    assert_eq!(winner(&default, &ask(), &warm_and_busy(5.0, 5.0)), 1);
}

#[test]
fn the_optimized_baseline_sticks_where_the_default_leaves() {
    let text = llm_d!("optimized_baseline.yaml");
    let mut candidates = warm_and_busy(9.0, 5.0);
    candidates.kv_usage = vec![0.9, 0.0];
    check(text, &ask(), &candidates, 0, 1);
    // 20,000 tokens a second: 400,000 in flight are 20 s, over the 18 s it may be slower.
    candidates.active_tokens = vec![400_000.0, 0.0];
    check(text, &ask(), &candidates, 1, 1);
}

#[test]
fn precise_counts_our_requests_instead_of_the_engines_queue() {
    let text = llm_d!("precise.yaml");
    let mut candidates = warm_and_busy(5.0, 0.0);
    candidates.active_requests = vec![4.0, 0.0];
    check(text, &ask(), &candidates, 1, 0);
    let compiled = compiled(text).expect("accepted");
    assert_eq!(compiled.wiring.prefix.block_size_tokens, 64);
    assert!(
        compiled
            .notes
            .iter()
            .any(|note| note.contains("`kv_events`"))
    );
    let both = text.replace(
        "- {type: single",
        "- {type: approx-prefix-cache-producer}\n- {type: single",
    );
    let both = self::compiled(&both).expect("accepted");
    assert_eq!(both.wiring.prefix.block_size_tokens, 64);
    assert_eq!(
        both.notes[1],
        "approx-prefix-cache-producer and precise-prefix-cache-producer read the same matches here; the block size of the last, precise-prefix-cache-producer, counts"
    );
    let wrapper = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- {type: precise-prefix-cache-scorer, parameters: {tokenProcessorConfig: {blockSizeTokens: 32}}}";
    let compiled = self::compiled(wrapper).expect("accepted");
    assert_eq!(compiled.wiring.prefix.block_size_tokens, 32);
    assert_eq!(
        winner(&compiled.profile, &ask(), &warm_and_busy(1.0, 5.0)),
        0
    );
}

#[test]
fn what_needs_a_second_profile_a_queue_or_a_predictor_is_refused_in_full() {
    check_refused(llm_d!("prefill_decode.yaml"), llm_d!("prefill_decode.txt"));
    check_refused(llm_d!("flow_control.yaml"), llm_d!("flow_control.txt"));
    check_refused(llm_d!("latency.yaml"), llm_d!("latency.txt"));
}

#[test]
fn an_adapter_goes_where_it_runs() {
    let text = llm_d!("lora.yaml");
    let mut candidates = warm_and_busy(0.0, 3.0);
    candidates.adapters = vec![AdapterFit::Running, AdapterFit::Waiting];
    check(text, &ask(), &candidates, 0, 1);
    candidates.adapters = vec![AdapterFit::Running, AdapterFit::FreeSlot];
    check(text, &ask(), &candidates, 1, 1);
    assert!(profile(text).reads_adapters());
    assert!(!profile(llm_d!("default.yaml")).reads_adapters());
}

#[test]
fn a_session_stays_while_its_endpoint_is_a_candidate() {
    let text = llm_d!("session.yaml");
    let candidates = warm_and_busy(0.0, 9.0);
    // base64 of `e0` and of an endpoint that has left.
    let here = [("x-session-token", "ZTA=")];
    let gone = [("x-session-token", "ZTk=")];
    let of = |headers| Ask { headers, ..ask() };
    check(text, &of(&here), &candidates, 0, 1);
    check(text, &of(&gone), &candidates, 1, 1);
    let profile = profile(text);
    assert_eq!(profile.headers(), ["x-session-token"]);
    let told = profile.response_headers(candidates.info(0));
    assert_eq!(told, [("x-session-token".to_owned(), "ZTA=".to_owned())]);
}

#[test]
fn data_parallel_ranks_are_endpoints() {
    let text = llm_d!("data_parallel.yaml");
    let mut candidates = warm_and_busy(9.0, 0.0);
    candidates.active_requests = vec![3.0, 1.0];
    check(text, &ask(), &candidates, 1, 0);
    let notes = compiled(text).expect("accepted").notes;
    assert!(notes[0].contains("every rank is an endpoint"), "{notes:?}");
}

#[test]
fn one_profile_handler_is_enough() {
    let text = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- {type: single-profile-handler}\n- {type: data-parallel-profile-handler, parameters: {primaryPort: 8000}}";
    check_refused(
        text,
        "line 5, plugins[1].parameters.primaryPort: not honoured: requests go to the port of the rank's own endpoint; remove it",
    );
    check_refused(
        &text.replace(", parameters: {primaryPort: 8000}", ""),
        "line 5, plugins: `data-parallel-profile-handler` is a second profile handler; keep one",
    );
}

#[test]
fn labels_narrow_and_attract() {
    let small = ("llm-d.ai/model", "small");
    let mut candidates = labelled(&[
        &[small, ("llm-d.ai/role", "prefill")],
        &[small, ("canary", "yes")],
        &[("llm-d.ai/model", "large")],
        &[small, ("llm-d.ai/role", "decode"), ("tier", "gold")],
        &[small],
    ]);
    candidates.queue_requests = vec![0.0, 5.0, 5.0, 7.0, 6.0];
    let gold = [("x-tier", "gold")];
    let text = llm_d!("label_filters.yaml");
    check(
        text,
        &Ask {
            headers: &gold,
            ..ask()
        },
        &candidates,
        3,
        0,
    );
    check(text, &ask(), &candidates, 4, 0);
    let explain = Ask {
        explain: true,
        ..ask()
    };
    let decision = profile(text)
        .run(&explain, &candidates, &mut rng(1))
        .expect("two remain");
    let why = decision
        .reasons
        .iter()
        .filter_map(|r| Some(r.removed.as_ref()?.1.as_str()));
    assert_eq!(
        why.collect::<Vec<_>>(),
        [
            "label `llm-d.ai/role` is `prefill`",
            "label `canary` is `yes`",
            "label `llm-d.ai/model` is `large`"
        ]
    );
}

#[test]
fn a_role_narrows_to_those_who_have_it() {
    let role = |role| [("llm-d.ai/role", role)];
    let roles = ["decode", "prefill", "encode", "encode-prefill", "both"].map(role);
    let labels: Vec<&[(&str, &str)]> = roles.iter().map(|role| role.as_slice()).collect();
    let mut labels = labels;
    labels.push(&[]);
    let candidates = labelled(&labels);
    for (filter, expected) in [
        ("decode-filter", vec!["e0", "e4", "e5"]),
        ("prefill-filter", vec!["e1", "e3", "e4"]),
        ("encode-filter", vec!["e2", "e3"]),
    ] {
        let text = format!(
            "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- {{type: {filter}}}\n- {{type: queue-scorer}}"
        );
        let explain = Ask {
            explain: true,
            ..ask()
        };
        let decision = profile(&text).run(&explain, &candidates, &mut rng(1));
        let decision = decision.expect("some remain");
        let kept = decision.reasons.iter().filter(|r| r.removed.is_none());
        let mut kept: Vec<&str> = kept.map(|r| &*r.name).collect();
        kept.sort_unstable();
        assert_eq!(kept, expected, "{filter}");
    }
}

#[test]
fn a_request_may_name_its_endpoints() {
    let text = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- {type: header-based-testing-filter}\n- {type: queue-scorer}";
    let named = [("test-epp-endpoint-selection", "10.0.0.7, 10.0.0.0")];
    check(
        text,
        &Ask {
            headers: &named,
            ..ask()
        },
        &warm_and_busy(0.0, 4.0),
        0,
        1,
    );
}

#[test]
fn lengths_and_figures_are_compared() {
    let head = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- ";
    let range = "llm-d.ai/context-length-range";
    let candidates = labelled(&[&[(range, "4096-32768")], &[(range, "0-4096")], &[]]);
    let by_length =
        format!("{head}{{type: context-length-aware, parameters: {{enableFiltering: true}}}}");
    let profile = self::profile(&by_length);
    assert_eq!(winner(&profile, &ask(), &candidates), 1);
    let long = Ask {
        prompt_tokens: 9000.0,
        ..ask()
    };
    assert_eq!(winner(&profile, &long, &candidates), 0);

    let by_rate = format!(
        "{head}{{type: endpoint-attribute-scorer, parameters: {{attributeKey: prefill-ms-per-token, algorithm: {{type: linear_lower_is_better}}}}}}"
    );
    let mut rates = idle(3);
    // 0 is not known yet.
    rates.prefill_ms_per_token = vec![0.3, 0.1, 0.0];
    assert_eq!(winner(&self::profile(&by_rate), &ask(), &rates), 1);
    check_refused(
        &by_rate.replace("prefill-ms-per-token", "gpu-temperature"),
        "line 4, plugins[0].parameters.attributeKey: nobody produces `gpu-temperature`; known: `waiting-queue`, `running-requests`, `kv-cache-utilization`, `active-requests`, `active-tokens`, `queued-tokens`, `prefill-ms-per-token`, `decode-ms-per-token`",
    );
    let by_load = format!("{head}{{type: load-aware-scorer, parameters: {{threshold: 10}}}}");
    assert_eq!(
        winner(&self::profile(&by_load), &ask(), &warm_and_busy(9.0, 4.0)),
        1
    );
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let check = |plugin: &str, expected: &str| {
        let text = format!(
            "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- {plugin}"
        );
        check_refused(&text, &format!("line 4, plugins[0].{expected}"));
    };
    check(
        "{type: precise-prefix-cache-scorer, parameters: {kvEventsConfig: {topicFilter: kv}}}",
        "parameters.kvEventsConfig: not honoured: where cache events come from is the pool's `kv_events` in prefixgate.yaml",
    );
    check(
        "{type: precise-prefix-cache-producer, parameters: {speculativeIndexing: false}}",
        "parameters.speculativeIndexing: not honoured: what was sent always counts until the engine's own word arrives; remove it",
    );
    check(
        "{type: header-label-affinity-scorer, parameters: {headerName: x-tier}}",
        "parameters.labelKey: names the label to compare",
    );
    check(
        "{type: label-selector-filter}",
        "parameters.matchLabels: needs at least one label, or `matchExpressions`",
    );
    check(
        "{type: by-label, parameters: {label: tier}}",
        "parameters.validValues: needs at least one value, or `allowsNoLabel`",
    );
}
