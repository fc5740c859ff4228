//! Which conditions hold?
//!
//! `Ready` carries the reason and message of whatever an operator has to look at first.

use super::{Observed, Phase, PodView, condition, routing, workloads};
use crate::types::Condition;

/// One judgement.
pub(super) struct Judgement {
    pub(super) kind: &'static str,
    pub(super) status: &'static str,
    pub(super) severity: Option<&'static str>,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Judgement {
    pub(super) fn good(kind: &'static str) -> Self {
        Self {
            kind,
            status: "True",
            severity: None,
            reason: String::new(),
            message: String::new(),
        }
    }

    pub(super) fn bad(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            status: "False",
            severity: None,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    pub(super) fn unknown(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self {
            status: "Unknown",
            ..Self::bad(kind, reason, message)
        }
    }

    pub(super) fn with(mut self, reason: &str, message: impl Into<String>) -> Self {
        self.reason = reason.to_owned();
        self.message = message.into();
        self
    }

    pub(super) fn blocks(&self) -> bool {
        self.status != "True"
    }
}

/// Every condition, sorted by type; times of those that did not turn are kept.
pub(super) fn conditions(
    seen: &Observed<'_>,
    views: &[PodView],
    before: &[Condition],
    stopped: bool,
) -> Vec<Condition> {
    let judgements = if stopped {
        stopped_conditions(views)
    } else {
        judge(seen, views, before)
    };
    let mut all: Vec<_> = judgements
        .into_iter()
        .map(|judgement| to_condition(judgement, before, seen))
        .collect();
    all.sort_by(|a, b| a.kind.cmp(&b.kind));
    all
}

fn stopped_conditions(views: &[PodView]) -> Vec<Judgement> {
    let draining = views.len();
    let message = if draining > 0 {
        format!("stopping: {draining} replicas end their requests first")
    } else {
        "stopped by the annotation serving.kserve.io/stop; remove it to start".to_owned()
    };
    [
        "Ready",
        "MainWorkloadReady",
        "WorkloadsReady",
        "RouterReady",
    ]
    .map(|kind| Judgement::bad(kind, "Stopped", message.clone()))
    .into()
}

fn judge(seen: &Observed<'_>, views: &[PodView], before: &[Condition]) -> Vec<Judgement> {
    let resolved = match seen.resolved {
        Ok(resolved) => resolved,
        Err(error) => {
            let message = error.to_string();
            return vec![
                Judgement::bad("PresetsCombined", error.reason(), message.clone()),
                Judgement::bad("Ready", error.reason(), message),
            ];
        }
    };
    let mut all = vec![Judgement::good("PresetsCombined")];
    let mut main =
        blocked(seen).unwrap_or_else(|| workloads::main_ready(seen, resolved, views, before));
    if !main.blocks() && main.reason.is_empty() {
        main = main.with("Ready", format!("{} replicas serve", ready(views)));
    }
    let workloads_ready = roll_up("WorkloadsReady", [Some(&main)].into_iter().chain([None]));
    all.extend(workloads::prefill_ready(seen));
    let prefill = all
        .iter()
        .find(|judgement| judgement.kind == "PrefillWorkloadReady")
        .filter(|judgement| judgement.blocks());
    let workloads_ready = match prefill {
        Some(prefill) if !workloads_ready.blocks() => {
            Judgement::bad("WorkloadsReady", &prefill.reason, prefill.message.clone())
        }
        _ => workloads_ready,
    };
    let router = routing::judgements(seen, resolved);
    let router_ready = roll_up("RouterReady", router.iter().map(Some));
    let ready = roll_up(
        "Ready",
        [Some(&workloads_ready), Some(&router_ready)].into_iter(),
    );
    all.push(main);
    all.extend(router);
    all.push(workloads_ready);
    if resolved.spec.router.is_some() {
        all.push(router_ready);
    }
    all.push(ready);
    all.extend(lint(seen));
    all
}

fn ready(views: &[PodView]) -> usize {
    views
        .iter()
        .filter(|view| view.phase == Phase::Ready)
        .count()
}

/// Why nothing was rolled out.
fn blocked(seen: &Observed<'_>) -> Option<Judgement> {
    let kind = "MainWorkloadReady";
    if let Some(finding) = seen.findings.iter().find(|finding| finding.fatal) {
        return Some(Judgement::bad(
            kind,
            finding.reason,
            format!("not rolled out: {}", finding.message),
        ));
    }
    if let Some((object, message)) = seen.refused.first() {
        let reason = if message.contains("exceeded quota") {
            "QuotaExceeded"
        } else {
            "ObjectRefused"
        };
        return Some(Judgement::bad(kind, reason, format!("{object}: {message}")));
    }
    None
}

/// The first that blocks decides.
fn roll_up<'a>(
    kind: &'static str,
    parts: impl Iterator<Item = Option<&'a Judgement>>,
) -> Judgement {
    let parts: Vec<_> = parts.flatten().collect();
    let worst = parts
        .iter()
        .find(|part| part.status == "False")
        .or_else(|| parts.iter().find(|part| part.blocks()));
    match worst {
        Some(part) => Judgement {
            kind,
            status: part.status,
            severity: None,
            reason: part.reason.clone(),
            message: part.message.clone(),
        },
        None => {
            let first = parts
                .first()
                .map(|part| (part.reason.clone(), part.message.clone()));
            let (reason, message) = first.unwrap_or_default();
            Judgement::good(kind).with(&reason, message)
        }
    }
}

/// What is odd about the engine's arguments; does not count against Ready.
fn lint(seen: &Observed<'_>) -> Option<Judgement> {
    let first = seen.findings.first()?;
    let messages: Vec<_> = seen
        .findings
        .iter()
        .map(|finding| finding.message.as_str())
        .collect();
    let mut judgement = Judgement::bad("EngineArgumentsValid", first.reason, messages.join("; "));
    judgement.severity = Some(if first.fatal { "Error" } else { "Warning" });
    Some(judgement)
}

fn to_condition(judgement: Judgement, before: &[Condition], seen: &Observed<'_>) -> Condition {
    let kept = condition(before, judgement.kind)
        .filter(|old| old.status == judgement.status && !old.last_transition_time.is_empty())
        .map(|old| old.last_transition_time.clone());
    Condition {
        kind: judgement.kind.to_owned(),
        status: judgement.status.to_owned(),
        severity: judgement.severity.map(str::to_owned),
        reason: judgement.reason,
        message: judgement.message,
        last_transition_time: kept.unwrap_or_else(|| seconds(seen.now)),
        observed_generation: None,
    }
}

/// RFC 3339 with whole seconds, as the API server's own times are.
pub(crate) fn seconds(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
