//! What do the parts of a document around its profile mean here?

use super::document::{DataLayer, Document, PluginRef, ProfileSpec, RequestHandler, SourceSpec};
use super::error::Problem;
use super::instances::Instances;
use super::located::At;
use super::parsers::Parser;
use super::wiring::Wiring;
use super::{APPROX_PREFIX_PRODUCER, PRECISE_PREFIX_PRODUCER, PRECISE_PREFIX_SCORER, wired};
use crate::plugins::Kind;

/// Added when a document leaves them out; the field adds the same.
const STANDARD: [&str; 2] = ["token-producer", "inflight-load-producer"];

/// Types that say where prefix matches come from; the first is added where there is none.
const MATCHES: [&str; 3] = [
    APPROX_PREFIX_PRODUCER,
    PRECISE_PREFIX_PRODUCER,
    PRECISE_PREFIX_SCORER,
];

const PAIRS: [(&str, &str); 3] = [
    ("metrics-data-source", "core-metrics-extractor"),
    ("models-data-source", "models-data-extractor"),
    ("endpoint-notification-source", PRECISE_PREFIX_PRODUCER),
];

/// Checks every section but the profiles, and adds the plugins that are always there.
pub(crate) fn check(
    document: &Document,
    instances: &mut Instances,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<String>,
) {
    if let Some(data) = &document.data_layer {
        check_data_layer(data, instances, problems);
    }
    check_parsers(document, instances, problems, notes);
    check_handlers(instances, problems, notes);
    if !MATCHES.into_iter().any(|name| instances.has(name)) {
        instances.add(APPROX_PREFIX_PRODUCER);
    }
    for name in STANDARD {
        if !instances.has(name) {
            instances.add(name);
        }
    }
    if scrapes(document, instances) {
        for name in [PAIRS[0].0, PAIRS[0].1] {
            if !instances.has(name) {
                instances.add(name);
            }
        }
    }
}

/// Exactly one profile handler, and what the accepted ones mean here.
fn check_handlers(instances: &mut Instances, problems: &mut Vec<Problem>, notes: &mut Vec<String>) {
    let handlers = instances
        .all
        .iter()
        .filter(|instance| instance.r#type.kind == Kind::ProfileHandler);
    if let Some(second) = handlers.clone().nth(1) {
        let message = format!("`{}` is a second profile handler; keep one", second.name);
        problems.push(Problem::at(&second.name, "plugins", message));
    } else if handlers.count() == 0 {
        instances.add("single-profile-handler");
    }
    if instances.has("data-parallel-profile-handler") {
        let note = "data-parallel-profile-handler: every rank is an endpoint of its own and requests go to its own port, so `x-data-parallel-host-port` is not set";
        notes.push(note.to_owned());
    }
    if instances.has("disagg-headers-handler") {
        let note = "disagg-headers-handler: `disagg-profile-handler` writes the headers by itself";
        notes.push(note.to_owned());
    }
    if instances.has("predicted-latency-producer") {
        let note = "predicted-latency-producer: times are expected from what each endpoint's answers taught, without a predictor server; of its parameters only `sloBufferFactor` does something";
        notes.push(note.to_owned());
    }
    note_matches(instances, notes);
}

/// Whoever is declared to know matches, they come out of one place here.
fn note_matches(instances: &Instances, notes: &mut Vec<String>) {
    for name in MATCHES
        .into_iter()
        .skip(1)
        .filter(|name| instances.has(name))
    {
        notes.push(format!(
            "{name}: exact for endpoints whose cache events the pool follows (`kv_events`), by what they were sent for the others"
        ));
    }
    let types = instances.all.iter().map(|instance| instance.r#type.name);
    let declared: Vec<&str> = types.filter(|name| MATCHES.contains(name)).collect();
    if let [_, .., last] = declared.as_slice() {
        notes.push(format!(
            "{} read the same matches here; the block size of the last, {last}, counts",
            declared.join(" and ")
        ));
    }
}

/// Whether engine metrics are scraped: unless turned off and not asked for.
fn scrapes(document: &Document, instances: &Instances) -> bool {
    let Some(data) = &document.data_layer else {
        return true;
    };
    let defaults = data.inject_defaults.as_ref().is_none_or(|on| on.value);
    defaults
        || data
            .sources
            .iter()
            .any(|source| type_of(&source.plugin_ref, instances) == Some(PAIRS[0].0))
}

fn type_of(name: &str, instances: &Instances) -> Option<&'static str> {
    instances
        .find(name)
        .map(|index| instances.all[index].r#type.name)
}

fn check_data_layer(data: &DataLayer, instances: &Instances, problems: &mut Vec<Problem>) {
    for (index, source) in data.sources.iter().enumerate() {
        let path = format!("dataLayer.sources[{index}]");
        let from = instances.resolve(&source.plugin_ref, &path, &[Kind::Source], problems);
        let from = from.map(|instance| instance.r#type.name);
        for (position, extractor) in source.extractors.iter().enumerate() {
            let path = format!("{path}.extractors[{position}]");
            let kinds: &[Kind] = match type_of(&extractor.plugin_ref, instances) {
                // It listens to who comes and goes; everything else in this place is an extractor.
                Some(PRECISE_PREFIX_PRODUCER) => &[Kind::Producer],
                _ => &[Kind::Extractor],
            };
            let to = instances.resolve(&extractor.plugin_ref, &path, kinds, problems);
            if let (Some(from), Some(to)) = (from, to.map(|instance| instance.r#type.name))
                && !PAIRS.contains(&(from, to))
            {
                let message = format!("`{to}` cannot read what `{from}` brings");
                problems.push(Problem::at(&extractor.plugin_ref, path, message));
            }
        }
    }
    let pool = "membership comes from the pool's own discovery in prefixgate.yaml; remove it";
    let sync = "replicas of this gateway do not share state; remove it";
    let mut refuse = |value: Option<&At<String>>, name: &str, reason: &str| {
        if let Some(value) = value {
            problems.push(Problem::at(
                value,
                format!("dataLayer.{name}"),
                format!("not honoured: {reason}"),
            ));
        }
    };
    refuse(
        data.discovery.as_ref().map(|r| &r.plugin_ref),
        "discovery",
        pool,
    );
    refuse(
        data.peer_discovery.as_ref().map(|r| &r.plugin_ref),
        "peerDiscovery",
        sync,
    );
    refuse(
        data.cross_replica_syncer_plugin_ref.as_ref(),
        "crossReplicaSyncerPluginRef",
        sync,
    );
    refuse(
        data.cross_replica_sync_interval.as_ref(),
        "crossReplicaSyncInterval",
        sync,
    );
}

fn check_parsers(
    document: &Document,
    instances: &mut Instances,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<String>,
) {
    for (index, parser) in listed(document).iter().enumerate() {
        let path = if document.request_handler.is_some() {
            format!("requestHandler.parsers[{index}]")
        } else {
            "parser".to_owned()
        };
        instances.resolve(&parser.plugin_ref, &path, &[Kind::Parser], problems);
    }
    match (&document.parser, &document.request_handler) {
        (Some(parser), Some(_)) => {
            let message =
                "deprecated, and `requestHandler` is there too; keep `requestHandler.parsers`";
            problems.push(Problem::at(&parser.plugin_ref, "parser", message));
        }
        (Some(_), None) => {
            notes.push("parser is deprecated; `requestHandler.parsers` means the same".to_owned())
        }
        _ => {}
    }
    if listed(document).is_empty() {
        for name in [
            "openai-parser",
            "anthropic-parser",
            "vllmhttp-parser",
            "passthrough-parser",
        ] {
            if !instances.has(name) {
                instances.add(name);
            }
        }
    }
}

/// Parsers that the document lists, none when it leaves them to the default.
fn listed(document: &Document) -> &[PluginRef] {
    match (&document.request_handler, &document.parser) {
        (Some(handler), _) => &handler.parsers,
        (None, Some(parser)) => std::slice::from_ref(parser),
        (None, None) => &[],
    }
}

/// Fills in what sections other than plugins say.
pub(crate) fn wire(document: &Document, instances: &Instances, wiring: &mut Wiring) {
    wiring.scrape.enabled = scrapes(document, instances);
    let parsers: Vec<Parser> = listed(document)
        .iter()
        .filter_map(|parser| wired::parser(type_of(&parser.plugin_ref, instances)?))
        .collect();
    if !parsers.is_empty() {
        wiring.parsers.0 = parsers;
    }
}

/// The document with everything that was added or left to a default.
pub(crate) fn effective(
    document: &Document,
    instances: &Instances,
    profiles: Vec<ProfileSpec>,
    wiring: &Wiring,
) -> Document {
    let name_of = |r#type: &str| -> Option<At<String>> {
        instances
            .all
            .iter()
            .find(|instance| instance.r#type.name == r#type)
            .map(|instance| instance.name.clone())
    };
    let mut data = document.data_layer.clone().unwrap_or_default();
    let scraped = |source: &SourceSpec| type_of(&source.plugin_ref, instances) == Some(PAIRS[0].0);
    if wiring.scrape.enabled
        && !data.sources.iter().any(scraped)
        && let (Some(source), Some(extractor)) = (name_of(PAIRS[0].0), name_of(PAIRS[0].1))
    {
        data.sources.push(SourceSpec {
            plugin_ref: source,
            extractors: vec![PluginRef {
                plugin_ref: extractor,
            }],
        });
    }
    let mut parsers = listed(document).to_vec();
    if parsers.is_empty() {
        let standard = instances
            .all
            .iter()
            .filter(|instance| instance.r#type.kind == Kind::Parser);
        parsers = standard
            .map(|instance| PluginRef {
                plugin_ref: instance.name.clone(),
            })
            .collect();
        // The one that takes everything goes last, as in the field.
        parsers.sort_by_key(|parser| {
            type_of(&parser.plugin_ref, instances) == Some("passthrough-parser")
        });
    }
    Document {
        api_version: super::document::API_VERSIONS[0].into(),
        kind: super::document::KIND.into(),
        feature_gates: document.feature_gates.clone(),
        plugins: instances
            .all
            .iter()
            .map(super::instances::Instance::spec)
            .collect(),
        scheduling_profiles: profiles,
        data_layer: Some(data),
        flow_control: document.flow_control.clone(),
        request_handler: Some(RequestHandler { parsers }),
        saturation_detector: document.saturation_detector.clone(),
        parser: None,
    }
}
