//! What does the plugin reference say? Generated from the table, so that it cannot be out of date.

use std::fmt::Write as _;

use schemars::Schema;
use serde_json::Value;

use crate::config::params::properties;
use crate::config::{ConfigError, DEFAULT_PRESET, PRESETS, Problem, hint};
use crate::plugins::{Kind, NOT_BUILT, PLUGINS, PluginType, Stability, find};

const HEAD: &str = "# Plugins

<!-- Generated from the plugin table by `cargo xtask docs`; edit crates/scheduler/src/plugins.rs instead. -->

A request goes through the filters, then every scorer gives each remaining endpoint a number from 0 to 1, the
weighted sum is its total, and the picker turns totals into an order. docs/scheduling.md shows the sum at work.

`scheduling.config` in prefixgate.yaml is an `EndpointPickerConfig` document with these plugins; a document
written for llm-d means the same here. A parameter is honoured or refused by name: none is ignored.
`prefixgate config check` says which, `prefixgate config print` shows the document with every default filled in.
";

/// The whole of docs/plugins.md.
pub fn plugins_markdown() -> String {
    let mut out = HEAD.to_owned();
    presets(&mut out);
    for kind in Kind::ALL {
        let _ = writeln!(out, "\n## {}\n\n{}", title(kind), introduction(kind));
        for plugin in PLUGINS.iter().filter(|plugin| plugin.kind == kind) {
            section(&mut out, plugin);
        }
    }
    not_built(&mut out);
    out
}

/// The part of docs/plugins.md about one plugin type, by its name or an alias.
///
/// # Errors
/// An unknown name, answered with a suggestion; a type that is not built, with what to use instead.
pub fn plugin_markdown(name: &str) -> Result<String, ConfigError> {
    if let Some(plugin) = find(name) {
        let mut out = String::new();
        section(&mut out, plugin);
        return Ok(out.trim_start().to_owned());
    }
    let message = match NOT_BUILT.iter().find(|(known, _)| *known == name) {
        Some((_, instead)) => format!("`{name}` is not built; {instead}"),
        None => {
            let known: Vec<&str> = PLUGINS.iter().map(|plugin| plugin.name).collect();
            format!("unknown plugin type `{name}`{}", hint(name, known))
        }
    };
    Err(Problem::general("", message).into())
}

fn title(kind: Kind) -> String {
    let name = kind.name();
    let (first, rest) = name.split_at(1);
    format!("{}{rest}s", first.to_ascii_uppercase())
}

fn introduction(kind: Kind) -> &'static str {
    match kind {
        Kind::Filter => {
            "Take endpoints out before anything is scored, in the order the profile lists them."
        }
        Kind::Scorer => {
            "Give every remaining endpoint a number from 0 to 1, counted with the weight the profile states (1.0 when it does not)."
        }
        Kind::Picker => {
            "Turn totals into a preference list: the first is where the request goes, the rest are tried in order if it \
             fails before its first byte. `maxNumOfEndpoints` bounds that list exactly when it is given (1: one \
             destination, no fallback); without it the list holds up to 8. `max-score-picker` is added when a profile \
             names none."
        }
        Kind::ProfileHandler => {
            "Say which profile is run, and which beside it. Exactly one is in force; `single-profile-handler` when none is named."
        }
        Kind::Decider => "Say whether a stage of a request goes to an endpoint of its own.",
        Kind::Admitter => {
            "Say whether a request may go on at all; in force as soon as they are declared, and all must accept. A refusal is answered with 429 and `rejected-saturated`."
        }
        Kind::Headers => "Accepted; a note says what does their work.",
        Kind::Producer => {
            "Built in; added when a document leaves them out. Their parameters tune what is built in."
        }
        Kind::Source => {
            "Where figures about endpoints come from. Metrics are scraped unless `dataLayer.injectDefaults` is false and no source asks for it."
        }
        Kind::Extractor => "Read what a source brings.",
        Kind::Parser => {
            "Claim requests by the end of their path. Without a list all four are in force; with `requestHandler.parsers` \
             only those listed are, and a path that none claims is answered with 400."
        }
        Kind::Detector => {
            "Say how full a pool is. With the feature gate `flowControl` requests wait while it is full; without it those of priority below 0 are turned away then. Listed in a profile they are filters."
        }
        Kind::FlowControl => {
            "With the feature gate `flowControl` requests wait while the pool is full: the highest priority goes first, and inside a priority these say who does."
        }
    }
}

fn presets(out: &mut String) {
    out.push_str("\n## Presets\n\n`scheduling.preset` instead of a document:\n\n| preset | what it is |\n|---|---|\n");
    for preset in PRESETS {
        let default = if preset.name == DEFAULT_PRESET {
            " (used when nothing is configured)"
        } else {
            ""
        };
        let _ = writeln!(out, "| `{}` | {}{default} |", preset.name, preset.summary);
    }
}

fn section(out: &mut String, plugin: &PluginType) {
    let _ = writeln!(
        out,
        "\n### `{}`\n\n{} Stability: {}.",
        plugin.name,
        plugin.summary,
        stability(plugin.stability)
    );
    for alias in plugin.aliases {
        let _ = writeln!(out, "Also written `{alias}`.");
    }
    if !plugin.formula.is_empty() {
        let _ = writeln!(out, "\n```text\n{}\n```", plugin.formula);
    }
    parameters(out, &plugin.parameters_schema());
    if !plugin.refused.is_empty() {
        out.push_str("\nRefused parameters:\n\n");
        for (name, reason) in plugin.refused {
            let _ = writeln!(out, "- `{name}`: {reason}");
        }
    }
    if !plugin.misleads.is_empty() {
        let _ = writeln!(out, "\nWhen it misleads: {}", plugin.misleads);
    }
}

const fn stability(stability: Stability) -> &'static str {
    match stability {
        Stability::Beta => "beta in the field",
        Stability::Alpha => "alpha in the field",
        Stability::Own => "prefixgate's own",
    }
}

fn parameters(out: &mut String, schema: &Schema) {
    let properties = properties(schema);
    if properties.is_empty() {
        return;
    }
    out.push_str("\n| parameter | default | meaning |\n|---|---|---|\n");
    for (name, property) in properties {
        let default = match property.get("default") {
            None | Some(Value::Null) => "none".to_owned(),
            Some(value) => format!("`{value}`"),
        };
        let meaning = property
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let _ = writeln!(
            out,
            "| `{name}` | {default} | {} |",
            meaning.replace('\n', " ")
        );
    }
}

fn not_built(out: &mut String) {
    out.push_str(
        "\n## Not built\n\nTypes that llm-d documents may name. Each is refused, with this advice:\n\n| type | instead |\n|---|---|\n",
    );
    for (name, instead) in NOT_BUILT {
        let _ = writeln!(out, "| `{name}` | {instead} |");
    }
}
