//! What does a document say about requests that wait?

use std::time::Duration;

use serde_json::{Map, Value};

use super::document::{Document, FlowControl};
use super::error::Problem;
use super::instances::Instances;
use super::located::At;
use super::pieces::{DEFAULT_CEILING, Piece};
use super::suggest::hint;
use super::wired::parse_duration;
use crate::flow::REQUEST_TTL;
use crate::plugins::{Kind, Part};
use crate::{Band, Detector, FlowSettings};

/// Whether the document's feature gate turns flow control on.
pub(crate) fn is_on(document: &Document) -> bool {
    let gates = document.feature_gates.iter();
    let mut said =
        gates.filter_map(
            |gate| match gate.split_once('=').unwrap_or((gate.as_str(), "true")) {
                ("flowControl", value) => Some(value == "true"),
                _ => None,
            },
        );
    said.next_back().unwrap_or(false)
}

/// Reads one section; what is wrong goes to `problems`.
struct Reading<'a> {
    instances: &'a Instances,
    problems: &'a mut Vec<Problem>,
}

/// Settings and the detector in force; the former only where the gate is on.
pub(crate) fn read(
    document: &Document,
    instances: &mut Instances,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<String>,
) -> (Option<FlowSettings>, Detector) {
    let on = is_on(document);
    let absent = FlowControl::default();
    let flow = document.flow_control.as_ref().unwrap_or(&absent);
    if document.flow_control.is_some() && !on {
        notes.push(
            "flowControl: requests do not wait while the feature gate `flowControl` is off; its detector still tells when requests of priority below 0 are turned away".to_owned(),
        );
    }
    if document.saturation_detector.is_some() {
        notes.push(
            "saturationDetector is deprecated; `flowControl.saturationDetector` means the same"
                .to_owned(),
        );
    }
    if on {
        for name in [
            "fcfs-ordering-policy",
            "global-strict-fairness-policy",
            "static-usage-limit-policy",
        ] {
            if !instances.has(name) {
                instances.add(name);
            }
        }
    }
    let mut reading = Reading {
        instances,
        problems,
    };
    let detector = reading.detector(document, flow);
    let settings = reading.settings(flow, detector);
    (on.then_some(settings), detector)
}

impl Reading<'_> {
    fn detector(&mut self, document: &Document, flow: &FlowControl) -> Detector {
        let told = flow.saturation_detector.as_ref();
        let told = told.map(|told| (told, "flowControl.saturationDetector"));
        let older = document.saturation_detector.as_ref();
        let told = told.or(older.map(|told| (told, "saturationDetector")));
        match told {
            Some((told, path)) => match self.piece(&told.plugin_ref, path, Kind::Detector) {
                Some(Piece::Detector(detector)) => detector,
                _ => Detector::default(),
            },
            // One that is declared is meant.
            None => {
                let mut declared = self.instances.all.iter().filter_map(|it| match &it.part {
                    Some(Part::Flow(Piece::Detector(detector))) => Some(*detector),
                    _ => None,
                });
                declared.next_back().unwrap_or_default()
            }
        }
    }

    fn piece(&mut self, name: &At<String>, path: &str, kind: Kind) -> Option<Piece> {
        let found = self.instances.resolve(name, path, &[kind], self.problems)?;
        match &found.part {
            Some(Part::Flow(piece)) => Some(*piece),
            _ => None,
        }
    }

    fn wrong<T>(&mut self, at: &At<T>, path: &str, message: impl Into<String>) {
        self.problems.push(Problem::at(at, path, message));
    }

    fn settings(&mut self, flow: &FlowControl, detector: Detector) -> FlowSettings {
        let mut ceiling = DEFAULT_CEILING;
        if let Some(name) = &flow.usage_limit_policy_plugin_ref {
            let path = "flowControl.usageLimitPolicyPluginRef";
            match self.piece(name, path, Kind::FlowControl) {
                Some(Piece::Ceiling(told)) => ceiling = told,
                Some(_) => self.wrong(name, path, format!("`{name}` is no usage limit")),
                None => {}
            }
        }
        if let Some(eviction) = flow.enable_eviction.as_ref().filter(|on| on.value) {
            let message = "not honoured: running requests are never evicted; remove it";
            self.wrong(eviction, "flowControl.enableEviction", message);
        }
        let request_ttl = self
            .ttl(flow.default_request_ttl.as_ref(), "defaultRequestTTL")
            .unwrap_or(REQUEST_TTL);
        let band = |priority| Band {
            priority,
            ..Band::default()
        };
        FlowSettings {
            max_requests: self.count(flow.max_requests.as_ref(), "maxRequests"),
            max_bytes: self.count(flow.max_bytes.as_ref(), "maxBytes"),
            no_endpoint_ttl: self
                .ttl(
                    flow.no_endpoint_request_ttl.as_ref(),
                    "noEndpointRequestTTL",
                )
                .unwrap_or(request_ttl),
            request_ttl,
            bands: self.bands(flow.priority_bands.as_ref()),
            default_band: self
                .band_at(flow.default_priority_band.as_ref(), "defaultPriorityBand")
                .unwrap_or_else(|| band(0)),
            negative_band: self
                .band_at(
                    flow.default_negative_priority_band.as_ref(),
                    "defaultNegativePriorityBand",
                )
                .unwrap_or_else(|| band(-1)),
            ceiling,
            detector,
        }
    }

    fn ttl(&mut self, value: Option<&At<Value>>, name: &str) -> Option<Duration> {
        let value = value?;
        let told = value.as_str().and_then(parse_duration);
        let told = told.filter(|ttl| !ttl.is_zero());
        if told.is_none() {
            let message = "must be a duration of more than 0, as `30s` or `1m30s`";
            self.wrong(value, &format!("flowControl.{name}"), message);
        }
        told
    }

    fn count(&mut self, value: Option<&At<Value>>, name: &str) -> Option<u64> {
        let value = value?;
        let told = quantity(value);
        if told.is_none() {
            let message = "must be a whole number of more than 0, or a quantity as `512Mi`";
            self.wrong(value, &format!("flowControl.{name}"), message);
        }
        told
    }

    fn bands(&mut self, value: Option<&At<Value>>) -> Vec<Band> {
        let Some(value) = value else {
            return Vec::new();
        };
        let Value::Array(listed) = &value.value else {
            self.wrong(value, "flowControl.priorityBands", "must be a list");
            return Vec::new();
        };
        let mut bands: Vec<Band> = Vec::new();
        for (index, one) in listed.iter().enumerate() {
            let path = format!("flowControl.priorityBands[{index}]");
            let Some(band) = self.band(value, one, &path) else {
                continue;
            };
            if one.get("priority").is_none() {
                self.wrong(value, &path, "needs a `priority`");
            } else if bands.iter().any(|known| known.priority == band.priority) {
                let message = format!("a second band of priority {}; keep one", band.priority);
                self.wrong(value, &path, message);
            } else {
                bands.push(band);
            }
        }
        bands
    }

    fn band_at(&mut self, value: Option<&At<Value>>, name: &str) -> Option<Band> {
        let value = value?;
        self.band(value, &value.value, &format!("flowControl.{name}"))
    }

    fn band(&mut self, at: &At<Value>, value: &Value, path: &str) -> Option<Band> {
        let Value::Object(told) = value else {
            self.wrong(at, path, "must be a map");
            return None;
        };
        for key in told.keys().filter(|key| !FIELDS.contains(&key.as_str())) {
            let names = hint(key, FIELDS);
            self.wrong(at, path, format!("unknown field `{key}`{names}"));
        }
        let mut band = Band::default();
        if let Some(priority) = told.get("priority") {
            match priority.as_i64().and_then(|it| i32::try_from(it).ok()) {
                Some(priority) => band.priority = priority,
                None => self.wrong(at, path, "`priority` must be a whole number"),
            }
        }
        let quantities = [
            ("maxRequests", &mut band.max_requests),
            ("maxBytes", &mut band.max_bytes),
        ];
        for (key, held) in quantities {
            match told.get(key).map(quantity) {
                None => {}
                Some(Some(count)) => *held = count,
                Some(None) => self.wrong(
                    at,
                    path,
                    format!("`{key}` must be a whole number of more than 0, or a quantity"),
                ),
            }
        }
        match self.named(at, told, "fairnessPolicyRef", path) {
            Some((_, Piece::Fairness(fairness))) => band.fairness = fairness,
            Some((name, _)) => self.wrong(at, path, format!("`{name}` is no fairness policy")),
            None => {}
        }
        match self.named(at, told, "orderingPolicyRef", path) {
            Some((_, Piece::Order(order))) => band.order = order,
            Some((name, _)) => self.wrong(at, path, format!("`{name}` is no ordering policy")),
            None => {}
        }
        Some(band)
    }

    fn named(
        &mut self,
        at: &At<Value>,
        told: &Map<String, Value>,
        key: &str,
        path: &str,
    ) -> Option<(String, Piece)> {
        let value = told.get(key)?;
        // A bare name, or as references are written elsewhere.
        let name = value.as_str().or_else(|| value.get("pluginRef")?.as_str());
        let Some(name) = name else {
            self.wrong(at, path, format!("`{key}` must name a plugin"));
            return None;
        };
        let reference = At {
            value: name.to_owned(),
            line: at.line,
        };
        let piece = self.piece(&reference, &format!("{path}.{key}"), Kind::FlowControl)?;
        Some((name.to_owned(), piece))
    }
}

const FIELDS: [&str; 5] = [
    "priority",
    "maxRequests",
    "maxBytes",
    "fairnessPolicyRef",
    "orderingPolicyRef",
];

/// A count, or bytes as Kubernetes writes them; `None` for anything else, and for 0.
fn quantity(value: &Value) -> Option<u64> {
    let count = match value {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => {
            let digits = text.find(|c: char| !c.is_ascii_digit());
            let digits = digits.unwrap_or(text.len());
            let number: u64 = text[..digits].parse().ok()?;
            let unit: u64 = match &text[digits..] {
                "" => 1,
                "k" => 1_000,
                "M" => 1_000_000,
                "G" => 1_000_000_000,
                "Ki" => 1 << 10,
                "Mi" => 1 << 20,
                "Gi" => 1 << 30,
                _ => return None,
            };
            number.checked_mul(unit)?
        }
        _ => return None,
    };
    (count > 0).then_some(count)
}
