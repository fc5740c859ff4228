//! Which filters, scorers and picker make the profile?

use std::sync::Arc;

use super::document::{Document, ProfilePlugin, ProfileSpec};
use super::error::Problem;
use super::handlers::Handler;
use super::instances::Instances;
use super::located::At;
use super::pieces::Piece;
use super::plan;
use crate::plugins::{Kind, Part};
use crate::profile::{Named, Profile, Weighted};
use crate::{Filter, Picker};

const IN_PROFILE: [Kind; 4] = [Kind::Filter, Kind::Scorer, Kind::Picker, Kind::Detector];
const DEFAULT_PROFILE: &str = "default";
const DEFAULT_PICKER: &str = "max-score-picker";
const DEFAULT_WEIGHT: f64 = 1.0;

/// The profile with everything around it, and how all profiles are written out in full; `None` when there is no
/// usable one.
pub(crate) fn build(
    document: &Document,
    instances: &mut Instances,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<String>,
) -> Option<(Profile, Vec<ProfileSpec>)> {
    let before = problems.len();
    let handler = taken_handler(instances);
    let mut specs = listed(document, instances);
    let plan = plan::of(handler, &specs, instances, problems, notes);
    for (index, spec) in specs.iter_mut().enumerate() {
        check(spec, index, instances, problems);
    }
    if problems.len() > before {
        return None;
    }
    let plan = plan?;
    note_unused(&specs, instances, notes);
    for spec in &mut specs {
        with_picker(spec, instances);
    }
    let profile = plan.assemble(&specs, instances)?;
    Some((profile, specs))
}

fn taken_handler(instances: &mut Instances) -> Option<Handler> {
    let at = instances
        .all
        .iter()
        .position(|instance| matches!(instance.part, Some(Part::Handler(_))))?;
    match instances.all[at].part.take() {
        Some(Part::Handler(handler)) => Some(handler),
        _ => None,
    }
}

fn listed(document: &Document, instances: &Instances) -> Vec<ProfileSpec> {
    match document.scheduling_profiles.as_slice() {
        [] => vec![ProfileSpec {
            name: DEFAULT_PROFILE.into(),
            plugins: everything(instances),
        }],
        listed => listed.to_vec(),
    }
}

fn everything(instances: &Instances) -> Vec<ProfilePlugin> {
    let usable = instances
        .all
        .iter()
        .filter(|instance| instance.r#type.kind.in_profile());
    usable
        .map(|instance| ProfilePlugin {
            plugin_ref: instance.name.clone(),
            weight: None,
        })
        .collect()
}

/// Every reference resolves, weights are scorers' and sane, nothing is listed twice. Fills in weights.
fn check(
    spec: &mut ProfileSpec,
    number: usize,
    instances: &Instances,
    problems: &mut Vec<Problem>,
) {
    let mut seen: Vec<String> = Vec::new();
    let mut picker = false;
    for (index, plugin) in spec.plugins.iter_mut().enumerate() {
        let path = format!("schedulingProfiles[{number}].plugins[{index}]");
        let reference = plugin.plugin_ref.clone();
        let Some(instance) = instances.resolve(&reference, &path, &IN_PROFILE, problems) else {
            continue;
        };
        if seen.contains(&reference.value) {
            problems.push(Problem::at(
                &reference,
                &path,
                format!("`{reference}` is listed twice; keep one"),
            ));
        }
        seen.push(reference.value.clone());
        if instance.r#type.kind == Kind::Picker {
            if picker {
                let message = format!("`{reference}` is a second picker; keep one");
                problems.push(Problem::at(&reference, &path, message));
            }
            picker = true;
        }
        weigh(plugin, instance.r#type.kind, &path, problems);
    }
}

fn weigh(plugin: &mut ProfilePlugin, kind: Kind, path: &str, problems: &mut Vec<Problem>) {
    let path = format!("{path}.weight");
    match (&plugin.weight, kind) {
        (Some(weight), Kind::Scorer) if !(weight.is_finite() && weight.value >= 0.0) => {
            problems.push(Problem::at(weight, path, "must be 0 or more"));
        }
        (Some(weight), kind) if kind != Kind::Scorer => {
            let message = format!(
                "only scorers have weights, and `{}` is a {}",
                plugin.plugin_ref,
                kind.name()
            );
            problems.push(Problem::at(weight, path, message));
        }
        (None, Kind::Scorer) => plugin.weight = Some(At::nowhere(DEFAULT_WEIGHT)),
        _ => {}
    }
}

fn note_unused(specs: &[ProfileSpec], instances: &Instances, notes: &mut Vec<String>) {
    for instance in instances
        .all
        .iter()
        .filter(|instance| instance.r#type.kind.in_profile())
    {
        let mut used = specs.iter().flat_map(|spec| &spec.plugins);
        if !used.any(|plugin| plugin.plugin_ref.value == instance.name.value) {
            notes.push(format!(
                "`{}` is declared and no profile uses it",
                instance.name
            ));
        }
    }
}

fn with_picker(spec: &mut ProfileSpec, instances: &mut Instances) {
    let kind = |plugin: &ProfilePlugin| {
        instances
            .find(&plugin.plugin_ref)
            .map(|index| instances.all[index].r#type.kind)
    };
    if spec
        .plugins
        .iter()
        .any(|plugin| kind(plugin) == Some(Kind::Picker))
    {
        return;
    }
    // A declared one that no profile lists keeps its name to itself; the added one is then the same type.
    if instances.find(DEFAULT_PICKER).is_none() {
        instances.add(DEFAULT_PICKER);
    }
    spec.plugins.push(ProfilePlugin {
        plugin_ref: DEFAULT_PICKER.into(),
        weight: None,
    });
}

pub(super) fn assemble(spec: &ProfileSpec, instances: &mut Instances) -> Option<Profile> {
    let (mut filters, mut scorers, mut picker) = (Vec::new(), Vec::new(), None);
    for plugin in &spec.plugins {
        let index = instances.find(&plugin.plugin_ref)?;
        let name: Arc<str> = plugin.plugin_ref.as_str().into();
        match instances.part(index)? {
            Part::Filter(plugin) => filters.push(Named::<dyn Filter> { name, plugin }),
            Part::Scorer { scorer, filter, .. } => {
                if let Some(plugin) = filter {
                    let name = Arc::clone(&name);
                    filters.push(Named::<dyn Filter> { name, plugin });
                }
                let weight = plugin
                    .weight
                    .as_ref()
                    .map_or(DEFAULT_WEIGHT, |weight| weight.value)
                    as f32;
                scorers.push(Weighted {
                    scorer: Named {
                        name,
                        plugin: scorer,
                    },
                    weight,
                });
            }
            Part::Picker(plugin) => picker = Some(Named::<dyn Picker> { name, plugin }),
            Part::Flow(Piece::Detector(detector)) => filters.push(Named::<dyn Filter> {
                name,
                plugin: Box::new(detector),
            }),
            Part::Wire(_)
            | Part::Flow(_)
            | Part::Decider(_)
            | Part::Admitter(_)
            | Part::Handler(_) => return None,
        }
    }
    Some(Profile::new(
        spec.name.as_str().into(),
        filters,
        scorers,
        picker?,
    ))
}
