//! Which ready-made documents are there?

/// A named document.
pub struct Preset {
    pub name: &'static str,
    pub summary: &'static str,
    pub(crate) yaml: &'static str,
}

/// Used when neither a preset nor a document is given.
pub const DEFAULT_PRESET: &str = "default";

pub static PRESETS: &[Preset] = &[
    Preset {
        name: DEFAULT_PRESET,
        summary: "prefix 3, queue 1, KV utilisation 1, highest sum wins, behind the overload guard",
        yaml: "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: overload-guard
- type: prefix-cache-scorer
- type: queue-scorer
- type: kv-cache-utilization-scorer
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: overload-guard
  - {pluginRef: prefix-cache-scorer, weight: 3}
  - {pluginRef: queue-scorer, weight: 1}
  - {pluginRef: kv-cache-utilization-scorer, weight: 1}
",
    },
    Preset {
        name: "adaptive",
        summary: "the least expected milliseconds until the tokens are out, by rates learned from answers",
        yaml: "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: latency-cost-scorer
- type: max-score-picker
  parameters: {tieMargin: 0}
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: latency-cost-scorer, weight: 1}
  - pluginRef: max-score-picker
",
    },
    Preset {
        name: "strict-3-1-1",
        summary: "the same sum without the guard: a prefix gap over two thirds always wins",
        yaml: "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: prefix-cache-scorer
- type: queue-scorer
- type: kv-cache-utilization-scorer
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: prefix-cache-scorer, weight: 3}
  - {pluginRef: queue-scorer, weight: 1}
  - {pluginRef: kv-cache-utilization-scorer, weight: 1}
",
    },
    Preset {
        name: "llm-d-default",
        summary: "what llm-d runs without a document: prefix 3, queue 2, KV utilisation 2",
        yaml: "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
- type: metrics-data-source
- type: core-metrics-extractor
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: queue-scorer, weight: 2}
  - {pluginRef: kv-cache-utilization-scorer, weight: 2}
  - {pluginRef: prefix-cache-scorer, weight: 3}
dataLayer:
  sources:
  - pluginRef: metrics-data-source
    extractors:
    - pluginRef: core-metrics-extractor
",
    },
    Preset {
        name: "round-robin",
        summary: "endpoints in turn, whatever they hold or do",
        yaml: "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: max-score-picker
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: max-score-picker
",
    },
    Preset {
        name: "random",
        summary: "any endpoint, by chance",
        yaml: "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: random-picker
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: random-picker
",
    },
    Preset {
        name: "least-requests",
        summary: "the fewest requests of ours in flight",
        yaml: "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: active-request-scorer
- type: max-score-picker
  parameters: {tieMargin: 0}
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: active-request-scorer, weight: 1}
  - pluginRef: max-score-picker
",
    },
];
