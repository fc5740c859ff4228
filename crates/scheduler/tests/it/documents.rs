//! Which documents are accepted, and what do refusals say?

use std::time::Duration;

use scheduler::{
    Compiled, ConfigError, Document, PLUGINS, PRESETS, Parser, SchedulingConfig, compile,
    config_schema, plugin_markdown, plugins_markdown,
};

fn compiled(text: &str) -> Result<Compiled, ConfigError> {
    compile(&SchedulingConfig::document(Document::parse(text)?), 7)
}

fn check_refused(text: &str, expected: &str) {
    let message = compiled(text).expect_err("refused").to_string();
    assert_eq!(message, expected.trim(), "\n{message}");
}

fn check_profile(text: &str, expected: &str) -> Compiled {
    let compiled = compiled(text).expect("accepted");
    assert_eq!(compiled.profile.to_string(), expected);
    compiled
}

#[test]
fn presets_are_what_they_say() {
    let check = |preset: &str, expected: &str| {
        let compiled = compile(&SchedulingConfig::preset(preset), 0).unwrap();
        assert_eq!(compiled.profile.to_string(), expected, "{preset}");
        assert_eq!(compiled.notes, [""; 0], "{preset}");
    };
    check(
        "default",
        "overload-guard > prefix-cache-scorer 3.0 + queue-scorer 1.0 + kv-cache-utilization-scorer 1.0 > max-score-picker",
    );
    check(
        "strict-3-1-1",
        "prefix-cache-scorer 3.0 + queue-scorer 1.0 + kv-cache-utilization-scorer 1.0 > max-score-picker",
    );
    check(
        "llm-d-default",
        "queue-scorer 2.0 + kv-cache-utilization-scorer 2.0 + prefix-cache-scorer 3.0 > max-score-picker",
    );
    check("round-robin", "max-score-picker");
    check("random", "random-picker");
    check(
        "least-requests",
        "active-request-scorer 1.0 > max-score-picker",
    );
    check("adaptive", "latency-cost-scorer 1.0 > max-score-picker");
    assert_eq!(PRESETS.len(), 7);
    let neither = compile(&SchedulingConfig::default(), 0).unwrap();
    assert!(neither.profile.to_string().starts_with("overload-guard > "));
}

#[test]
fn a_misspelt_preset_is_answered_with_a_suggestion() {
    let error = compile(&SchedulingConfig::preset("round_robin"), 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "scheduling.preset: unknown preset `round_robin`; did you mean `round-robin`?"
    );
    let both = SchedulingConfig {
        config: Some(Document::default()),
        ..SchedulingConfig::preset("random")
    };
    let error = compile(&both, 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "scheduling: `preset` and `config` exclude each other; keep one"
    );
}

#[test]
fn what_is_dumped_compiles_to_itself() {
    let texts = [
        include_str!("../documents/accepted/optimised_baseline.yaml"),
        include_str!("../documents/accepted/older_spelling.yaml"),
        include_str!("../documents/accepted/nothing_said.yaml"),
        include_str!("../documents/accepted/no_profile.yaml"),
    ];
    let documents = texts
        .iter()
        .map(|text| SchedulingConfig::document(Document::parse(text).unwrap()));
    for config in documents.chain(
        PRESETS
            .iter()
            .map(|preset| SchedulingConfig::preset(preset.name)),
    ) {
        let first = compile(&config, 0).unwrap();
        let again = compiled(&first.dump()).expect("a dump is a document");
        assert_eq!(again.effective, first.effective);
        assert_eq!(again.dump(), first.dump());
        assert_eq!(again.wiring, first.wiring);
        assert_eq!(again.profile.to_string(), first.profile.to_string());
    }
}

#[test]
fn documents_of_the_field_are_accepted() {
    check_profile(
        include_str!("../documents/accepted/optimised_baseline.yaml"),
        "prefix-cache-affinity-filter > token-load-scorer 1.5 > max-score-picker",
    );
    check_profile(
        include_str!("../documents/accepted/nothing_said.yaml"),
        "queue-scorer 2.0 + kv-cache-utilization-scorer 2.0 + prefix-cache-scorer 3.0 > max-score-picker",
    );
    let compiled = check_profile(
        include_str!("../documents/accepted/no_profile.yaml"),
        "queue-scorer 1.0 + session-affinity-scorer 1.0 > max-score-picker",
    );
    assert_eq!(compiled.profile.headers(), ["x-conversation"]);
    assert!(!compiled.profile.reads_prefix());
}

#[test]
fn parameters_of_wiring_are_honoured() {
    let compiled = check_profile(
        include_str!("../documents/accepted/older_spelling.yaml"),
        "cached 3.0 + busy 1.0 > weighted-random-picker",
    );
    let wiring = compiled.wiring;
    assert!(!wiring.prefix.auto_tune);
    assert_eq!(wiring.prefix.block_size_tokens, 64);
    assert_eq!(wiring.prefix.max_match_tokens, Some(256 * 64));
    assert_eq!(wiring.prefix.capacity_blocks, 20_000);
    assert_eq!(wiring.inflight.output_tokens(100, None), 200);
    assert_eq!(wiring.inflight.output_tokens(100, Some(50)), 50);
    assert!(wiring.scrape.enabled);
    assert_eq!(wiring.scrape.path, "/stats");
    assert_eq!(wiring.scrape.port, Some(9400));
    assert_eq!(wiring.scrape.interval, Some(Duration::from_millis(200)));
    assert_eq!(wiring.scrape.default_engine.as_deref(), Some("sglang"));
    assert_eq!(
        wiring.parsers.claim("/v1/chat/completions"),
        Some(Parser::Openai)
    );
    assert_eq!(wiring.parsers.claim("/tokenize"), None);
    assert_eq!(
        compiled.notes,
        [
            "apiVersion `inference.networking.x-k8s.io/v1alpha1` is deprecated; `llm-d.ai/v1alpha1` means the same",
            "featureGates[1]: there is no leader here; every process keeps its own view",
            "flowControl: requests do not wait while the feature gate `flowControl` is off; its detector still tells when requests of priority below 0 are turned away",
            "`queue-scorer` is declared and no profile uses it",
        ]
    );
}

/// A document beside the message it is refused with.
macro_rules! refused {
    ($name:literal) => {
        check_refused(
            include_str!(concat!("../documents/refused/", $name, ".yaml")),
            include_str!(concat!("../documents/refused/", $name, ".txt")),
        )
    };
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    refused!("precise_and_flow_control");
    refused!("two_profiles");
    refused!("blind");
}

#[test]
fn slips_are_answered_with_a_line_and_a_suggestion() {
    refused!("slips");
    refused!("unknown_field");
    refused!("wrong_places");
    check_refused("", "line 1: unexpected end of input");
    check_refused(
        "kind: EndpointPickerConfig",
        "line 1: missing field `apiVersion`",
    );
}

#[test]
fn lines_are_those_of_the_file_around_a_document() {
    #[derive(serde::Deserialize)]
    struct File {
        scheduling: SchedulingConfig,
    }
    let text = "scheduling:\n  config:\n    apiVersion: llm-d.ai/v1alpha1\n    kind: EndpointPickerConfig\n    plugins:\n    - type: queue-scoring\n";
    let file: File = serde_saphyr::from_str(text).unwrap();
    let error = compile(&file.scheduling, 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 6, plugins[0].type: unknown plugin type `queue-scoring`; did you mean `queue-scorer`?"
    );
}

#[test]
fn the_schema_knows_every_plugin_and_its_parameters() {
    let schema = config_schema();
    let plugin = &schema["$defs"]["PluginSpec"];
    let types = plugin["properties"]["type"]["enum"].as_array().unwrap();
    assert!(
        types.iter().any(|name| name == "overload-guard")
            && types.iter().any(|name| name == "tokenizer")
    );
    let prefix = plugin["allOf"]
        .as_array()
        .unwrap()
        .iter()
        .find(|case| case["if"]["properties"]["type"]["enum"][0] == "prefix-cache-scorer");
    let parameters = &prefix.unwrap()["then"]["properties"]["parameters"];
    assert_eq!(
        parameters["properties"]["matchLengthScaleTokens"]["default"],
        8192.0
    );
    assert_eq!(parameters["additionalProperties"], false);
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn the_reference_tells_of_every_plugin() {
    let text = plugins_markdown();
    for plugin in PLUGINS {
        assert!(
            text.contains(&format!("### `{}`", plugin.name)),
            "{}",
            plugin.name
        );
        assert!(
            !plugin.kind.in_profile() || !plugin.formula.is_empty(),
            "{}",
            plugin.name
        );
    }
    assert!(
        plugin_markdown("tokenizer")
            .unwrap()
            .starts_with("### `token-producer`")
    );
    let check = |name: &str, expected: &str| {
        assert_eq!(plugin_markdown(name).unwrap_err().to_string(), expected);
    };
    check(
        "queue-scorr",
        "unknown plugin type `queue-scorr`; did you mean `queue-scorer`?",
    );
    check(
        "topology-affinity-scorer",
        "`topology-affinity-scorer` is not built; remove it, or put each zone's endpoints in a pool of their own",
    );
    assert!(text.contains("| `matchLengthWeight` | `0.0` |"));
    assert!(text.contains("| `maxNumOfEndpoints` | none |"));
}
