//! What comes of a whole document?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::{API_VERSIONS, Document, KIND};
use super::error::{ConfigError, Problem};
use super::instances::Instances;
use super::presets::{DEFAULT_PRESET, PRESETS};
use super::suggest::hint;
use super::{extras, flow, profile, wiring::Wiring};
use crate::Profile;

/// How requests are scheduled: a preset or a document, not both; the preset `default` when neither.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchedulingConfig {
    /// `default`, `adaptive`, `strict-3-1-1`, `llm-d-default`, `round-robin`, `random` or `least-requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// An `EndpointPickerConfig` document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Document>,
}

impl SchedulingConfig {
    /// The preset called `name`.
    pub fn preset(name: &str) -> Self {
        Self {
            preset: Some(name.to_owned()),
            config: None,
        }
    }

    /// This document.
    pub fn document(document: Document) -> Self {
        Self {
            preset: None,
            config: Some(document),
        }
    }
}

/// A document, resolved.
#[derive(Debug)]
pub struct Compiled {
    pub profile: Profile,
    /// What the document says about the machinery around the scheduler.
    pub wiring: Wiring,
    /// The document in effect: everything added by itself written out, every default filled in.
    pub effective: Document,
    /// What was accepted and has no effect, and why; for people.
    pub notes: Vec<String>,
}

impl Compiled {
    /// The effective document as YAML.
    pub fn dump(&self) -> String {
        // A document is maps, lists, strings and numbers; there is nothing YAML could not hold.
        serde_saphyr::to_string(&self.effective).unwrap_or_default()
    }
}

/// Resolves a configuration. `seed` makes chance differ between pools that draw from equal generators.
///
/// # Errors
/// Every problem found, each with its line where it came from a file.
pub fn compile(config: &SchedulingConfig, seed: u64) -> Result<Compiled, ConfigError> {
    match (&config.preset, &config.config) {
        (Some(_), Some(_)) => {
            let message = "`preset` and `config` exclude each other; keep one";
            Err(Problem::general("scheduling", message).into())
        }
        (None, Some(document)) => compile_document(document, seed),
        (preset, None) => compile_document(
            &preset_document(preset.as_deref().unwrap_or(DEFAULT_PRESET))?,
            seed,
        ),
    }
}

pub(crate) fn default_profile() -> Profile {
    match compile(&SchedulingConfig::default(), 0) {
        Ok(compiled) => compiled.profile,
        Err(error) => unreachable!("the default preset compiles, as its test shows: {error}"),
    }
}

fn preset_document(name: &str) -> Result<Document, ConfigError> {
    let Some(preset) = PRESETS.iter().find(|preset| preset.name == name) else {
        let names = hint(name, PRESETS.iter().map(|preset| preset.name));
        return Err(Problem::general(
            "scheduling.preset",
            format!("unknown preset `{name}`{names}"),
        )
        .into());
    };
    Document::parse(preset.yaml)
}

fn compile_document(document: &Document, seed: u64) -> Result<Compiled, ConfigError> {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    head(document, &mut problems, &mut notes);

    let standard;
    let document = if document.plugins.is_empty() && document.scheduling_profiles.is_empty() {
        // The field runs its own default when a document says nothing of plugins.
        standard = with_plugins_of(&preset_document("llm-d-default")?, document);
        &standard
    } else {
        document
    };

    let mut instances = Instances::build(document, seed, &mut problems);
    extras::check(document, &mut instances, &mut problems, &mut notes);
    let (flow, detector) = flow::read(document, &mut instances, &mut problems, &mut notes);
    let mut wiring = instances.wiring();
    extras::wire(document, &instances, &mut wiring);
    let shed = flow.is_none().then_some(detector);
    wiring.flow = flow;
    let (profile, specs) = match profile::build(document, &mut instances, &mut problems, &mut notes)
    {
        Some((profile, specs)) if problems.is_empty() => (profile.shedding(shed), specs),
        _ => {
            problems.sort_by_key(|problem| problem.line.unwrap_or(u64::MAX));
            return Err(ConfigError { problems });
        }
    };
    if profile.reads_scrape() && !wiring.scrape.enabled {
        let message = "the profile reads engine metrics, and nothing scrapes them; add `metrics-data-source` to `sources`";
        return Err(Problem::general("dataLayer.injectDefaults", message).into());
    }
    let effective = extras::effective(document, &instances, specs, &wiring);
    Ok(Compiled {
        profile,
        wiring,
        effective,
        notes,
    })
}

fn with_plugins_of(standard: &Document, document: &Document) -> Document {
    let mut merged = document.clone();
    merged.plugins.clone_from(&standard.plugins);
    merged
        .scheduling_profiles
        .clone_from(&standard.scheduling_profiles);
    if merged.data_layer.is_none() {
        merged.data_layer.clone_from(&standard.data_layer);
    }
    merged
}

fn head(document: &Document, problems: &mut Vec<Problem>, notes: &mut Vec<String>) {
    let version = &document.api_version;
    if !API_VERSIONS.contains(&version.as_str()) {
        let names = hint(version, API_VERSIONS);
        problems.push(Problem::at(
            version,
            "apiVersion",
            format!("unknown version `{version}`{names}"),
        ));
    } else if version.as_str() != API_VERSIONS[0] {
        notes.push(format!(
            "apiVersion `{version}` is deprecated; `{}` means the same",
            API_VERSIONS[0]
        ));
    }
    if document.kind.as_str() != KIND {
        problems.push(Problem::at(
            &document.kind,
            "kind",
            format!("must be `{KIND}`"),
        ));
    }
    for (index, gate) in document.feature_gates.iter().enumerate() {
        let path = format!("featureGates[{index}]");
        match gate.split_once('=').unwrap_or((gate.as_str(), "true")) {
            ("flowControl", "false" | "true") | ("haPopulateNonLeaderDatastore", "false") => {}
            ("haPopulateNonLeaderDatastore", "true") => {
                notes.push(format!(
                    "{path}: there is no leader here; every process keeps its own view"
                ));
            }
            ("prepareDataPlugins" | "dataLayer", "true" | "false") => notes.push(format!(
                "{path}: an older gate; what it turned on is always on"
            )),
            ("flowControl" | "haPopulateNonLeaderDatastore", other) => {
                problems.push(Problem::at(
                    gate,
                    path,
                    format!("`{other}` must be `true` or `false`"),
                ));
            }
            (name, _) => {
                let names = hint(name, ["flowControl", "haPopulateNonLeaderDatastore"]);
                problems.push(Problem::at(
                    gate,
                    path,
                    format!("unknown feature gate `{name}`{names}"),
                ));
            }
        }
    }
}
