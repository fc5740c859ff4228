//! Which of a document's profiles runs, and what does each of the others do?

use super::document::ProfileSpec;
use super::error::Problem;
use super::handlers::{ByHeader, Disagg, Handler, StageOrder};
use super::instances::Instances;
use super::located::At;
use super::profile::assemble;
use super::suggest::hint;
use crate::around::{Around, Choice};
use crate::plugins::{Kind, Part};
use crate::profile::Named;
use crate::stage::{Stage, StageKind};
use crate::{Admitter, Decider, Profile};

/// What every profile is for; figures are places in the list of profiles.
pub(super) struct Plan {
    main: usize,
    stages: Vec<Split>,
    /// Header, and the profiles it may name beside the main one.
    choice: Option<(String, Vec<usize>)>,
    first: bool,
}

struct Split {
    kind: StageKind,
    profile: usize,
    /// Place of the decider among the instances.
    decider: usize,
}

/// The plan of `handler`; `None` for the one that runs a single profile.
pub(super) fn of(
    handler: Option<Handler>,
    specs: &[ProfileSpec],
    instances: &Instances,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<String>,
) -> Option<Plan> {
    match handler {
        None => single(specs, problems),
        Some(Handler::Header(handler)) => by_header(&handler, specs, problems),
        Some(Handler::Stages(handler)) => staged(&handler, specs, instances, problems, notes),
    }
}

fn single(specs: &[ProfileSpec], problems: &mut Vec<Problem>) -> Option<Plan> {
    if let [_, second, ..] = specs {
        let message = "a second profile; `single-profile-handler` runs one: keep one, or declare `disagg-profile-handler` or `header-profile-handler`";
        problems.push(Problem::at(&second.name, "schedulingProfiles[1]", message));
        return None;
    }
    Some(Plan {
        main: 0,
        stages: Vec::new(),
        choice: None,
        first: false,
    })
}

fn place(specs: &[ProfileSpec], name: &str) -> Option<usize> {
    specs.iter().position(|spec| spec.name.as_str() == name)
}

/// The profile called `name`, or a problem.
fn needed(
    specs: &[ProfileSpec],
    name: &str,
    handler: &str,
    problems: &mut Vec<Problem>,
) -> Option<usize> {
    let found = place(specs, name);
    if found.is_none() {
        let names = hint(name, specs.iter().map(|spec| spec.name.as_str()));
        problems.push(Problem::general(
            "schedulingProfiles",
            format!("`{handler}` needs a profile called `{name}`{names}"),
        ));
    }
    found
}

fn by_header(
    handler: &ByHeader,
    specs: &[ProfileSpec],
    problems: &mut Vec<Problem>,
) -> Option<Plan> {
    let main = needed(
        specs,
        &handler.default_profile,
        "header-profile-handler",
        problems,
    )?;
    let others = (0..specs.len()).filter(|at| *at != main).collect();
    Some(Plan {
        main,
        stages: Vec::new(),
        choice: Some((handler.header_name.clone(), others)),
        first: false,
    })
}

fn staged(
    handler: &Disagg,
    specs: &[ProfileSpec],
    instances: &Instances,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<String>,
) -> Option<Plan> {
    let name = "disagg-profile-handler";
    let main = needed(specs, &handler.profiles.decode, name, problems);
    let mut stages = Vec::new();
    let wanted = [
        (
            StageKind::Encode,
            &handler.profiles.encode,
            &handler.deciders.encode,
        ),
        (
            StageKind::Prefill,
            &handler.profiles.prefill,
            &handler.deciders.prefill,
        ),
    ];
    for (kind, profile, decider) in wanted {
        let Some(decider) = decider else {
            if place(specs, profile).is_some() {
                notes.push(format!(
                    "profile `{profile}` never runs: {name} has no decider for {}",
                    kind.name()
                ));
            }
            continue;
        };
        let profile = needed(specs, profile, name, problems);
        let reference = At::nowhere(decider.clone());
        let path = format!("plugins ({name}).parameters.deciders.{}", kind.name());
        let found = instances.resolve(&reference, &path, &[Kind::Decider], problems);
        let decider = found.and_then(|found| instances.find(&found.name));
        if let (Some(profile), Some(decider)) = (profile, decider) {
            stages.push(Split {
                kind,
                profile,
                decider,
            });
        }
    }
    let named = [
        &handler.profiles.decode,
        &handler.profiles.prefill,
        &handler.profiles.encode,
    ];
    for spec in specs
        .iter()
        .filter(|spec| !named.contains(&&spec.name.value))
    {
        notes.push(format!("profile `{}` is no stage of {name}", spec.name));
    }
    Some(Plan {
        main: main?,
        stages,
        choice: None,
        first: handler.stage_order == StageOrder::PrefillFirst,
    })
}

impl Plan {
    /// The profile that runs, with everything around it.
    pub(super) fn assemble(
        &self,
        specs: &[ProfileSpec],
        instances: &mut Instances,
    ) -> Option<Profile> {
        let main = assemble(&specs[self.main], instances)?;
        let mut around = Around {
            admitters: admitters(instances)?,
            ..Around::default()
        };
        for split in &self.stages {
            let Part::Decider(plugin) = instances.part(split.decider)? else {
                return None;
            };
            around.stages.push(Stage {
                kind: split.kind,
                profile: assemble(&specs[split.profile], instances)?,
                decider: Named::<dyn Decider> {
                    name: instances.all[split.decider].name.as_str().into(),
                    plugin,
                },
                first: self.first,
            });
        }
        if let Some((header, others)) = &self.choice {
            let others = others.iter().map(|at| assemble(&specs[*at], instances));
            around.choice = Some(Choice {
                header: header.clone(),
                others: others.collect::<Option<_>>()?,
            });
        }
        let alone = around.admitters.is_empty() && around.stages.is_empty();
        Some(match alone && around.choice.is_none() {
            true => main,
            false => main.with(around),
        })
    }
}

/// Every admitter that is declared.
fn admitters(instances: &mut Instances) -> Option<Vec<Named<dyn Admitter>>> {
    let declared = instances.all.iter().enumerate();
    let places: Vec<usize> = declared
        .filter(|(_, instance)| instance.r#type.kind == Kind::Admitter)
        .map(|(place, _)| place)
        .collect();
    let taken = places.into_iter().map(|place| {
        let Part::Admitter(plugin) = instances.part(place)? else {
            return None;
        };
        Some(Named::<dyn Admitter> {
            name: instances.all[place].name.as_str().into(),
            plugin,
        })
    });
    taken.collect()
}
