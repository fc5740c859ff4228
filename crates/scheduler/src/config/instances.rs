//! Which plugins does a document declare?

use serde_json::Value;

use super::document::{Document, Parameters, PluginSpec};
use super::error::{ParamError, Problem};
use super::located::At;
use super::params::{Reference, Target};
use super::suggest::hint;
use super::wiring::Wiring;
use super::{APPROX_PREFIX_PRODUCER, PRECISE_PREFIX_PRODUCER};
use crate::plugins::{Input, Kind, NOT_BUILT, PLUGINS, Part, PluginType, find};

/// One plugin instance; its part is taken when it finds its place.
pub(crate) struct Instance {
    pub(crate) name: At<String>,
    pub(crate) r#type: &'static PluginType,
    pub(crate) part: Option<Part>,
    parameters: Value,
    references: Vec<Reference>,
    path: String,
}

impl Instance {
    /// As written in an effective document.
    pub(crate) fn spec(&self) -> PluginSpec {
        PluginSpec {
            name: (self.name.as_str() != self.r#type.name).then(|| self.name.clone()),
            r#type: self.r#type.name.into(),
            parameters: Parameters::from_value(self.parameters.clone()),
        }
    }
}

/// Every plugin instance, declared or added.
#[derive(Default)]
pub(crate) struct Instances {
    pub(crate) all: Vec<Instance>,
    profiles: Vec<String>,
    seed: u64,
    /// Names whose declaration had a problem, so that references to them are not a second one.
    broken: Vec<String>,
}

impl Instances {
    /// Builds what is declared; what is wrong goes to `problems`.
    pub(crate) fn build(document: &Document, seed: u64, problems: &mut Vec<Problem>) -> Self {
        let profiles = document
            .scheduling_profiles
            .iter()
            .map(|profile| profile.name.value.clone())
            .collect();
        let mut instances = Self {
            profiles,
            seed,
            ..Self::default()
        };
        for (index, spec) in document.plugins.iter().enumerate() {
            match instances.instance(spec, index, seed) {
                Ok(instance) => instances.all.push(instance),
                Err(found) => {
                    problems.extend(found);
                    instances.broken.push(spec.name().value.clone());
                }
            }
        }
        instances.check_references(problems);
        instances
    }

    fn instance(
        &self,
        spec: &PluginSpec,
        index: usize,
        seed: u64,
    ) -> Result<Instance, Vec<Problem>> {
        let path = format!("plugins[{index}]");
        let name = spec.name();
        if name.is_empty() {
            return Err(vec![Problem::at(name, path, "the name is empty")]);
        }
        if self.find(name).is_some() || self.is_broken(name) {
            let message = format!("two plugins are called `{name}`; give one another `name`");
            return Err(vec![Problem::at(name, path, message)]);
        }
        let r#type = find_type(&spec.r#type, &path).map_err(|problem| vec![problem])?;
        if !r#type.kind.repeats()
            && self
                .all
                .iter()
                .any(|other| other.r#type.name == r#type.name)
        {
            let message = format!(
                "a second `{}`; there is one of it here, keep one",
                r#type.name
            );
            return Err(vec![Problem::at(&spec.r#type, path, message)]);
        }
        let input = Input {
            parameters: &spec.parameters,
            refused: r#type.refused,
            seed,
        };
        let located = |error| located(spec, &path, error);
        let built = (r#type.build)(&input)
            .map_err(|errors| errors.into_iter().map(located).collect::<Vec<_>>())?;
        let (parameters, references) = (built.parameters, built.references);
        Ok(Instance {
            name: name.clone(),
            r#type,
            part: Some(built.part),
            parameters,
            references,
            path,
        })
    }

    /// Adds a plugin that the document leaves out.
    pub(crate) fn add(&mut self, name: &'static str) {
        let Some(r#type) = find(name) else { return };
        let none = Parameters::default();
        if let Ok(built) = (r#type.build)(&Input {
            parameters: &none,
            refused: &[],
            seed: 0,
        }) {
            self.all.push(Instance {
                name: name.into(),
                r#type,
                part: Some(built.part),
                parameters: built.parameters,
                references: built.references,
                path: String::new(),
            });
        }
    }

    /// The part of an instance: itself the first time, another one made like it from then on.
    pub(crate) fn part(&mut self, index: usize) -> Option<Part> {
        let instance = &mut self.all[index];
        if let Some(part) = instance.part.take() {
            return Some(part);
        }
        let built = (instance.r#type.build)(&Input {
            parameters: &Parameters::from_value(instance.parameters.clone()),
            refused: &[],
            seed: self.seed,
        });
        built.ok().map(|built| built.part)
    }

    /// Whether a plugin of this type is declared or was added.
    pub(crate) fn has(&self, r#type: &str) -> bool {
        self.all
            .iter()
            .any(|instance| instance.r#type.name == r#type)
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.all
            .iter()
            .position(|instance| instance.name.as_str() == name)
    }

    pub(crate) fn is_broken(&self, name: &str) -> bool {
        self.broken.iter().any(|broken| broken == name)
    }

    /// The instance that `reference` names, if it is one of `kinds`.
    pub(crate) fn resolve(
        &self,
        reference: &At<String>,
        path: &str,
        kinds: &[Kind],
        problems: &mut Vec<Problem>,
    ) -> Option<&Instance> {
        let Some(index) = self.find(reference) else {
            if !self.is_broken(reference) {
                let names = hint(
                    reference,
                    self.all.iter().map(|instance| instance.name.as_str()),
                );
                let message = format!("no plugin is called `{reference}`{names}");
                problems.push(Problem::at(reference, path, message));
            }
            return None;
        };
        let instance = &self.all[index];
        if kinds.contains(&instance.r#type.kind) {
            return Some(instance);
        }
        let wanted: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        let message = format!(
            "`{reference}` is a {}, and this place takes a {}",
            instance.r#type.kind.name(),
            wanted.join(" or ")
        );
        problems.push(Problem::at(reference, path, message));
        None
    }

    fn check_references(&self, problems: &mut Vec<Problem>) {
        for instance in &self.all {
            for reference in &instance.references {
                let path = format!("{}.parameters.{}", instance.path, reference.parameter);
                if let Some(message) = self.dangling(reference) {
                    problems.push(Problem {
                        line: instance.name.line,
                        path,
                        message,
                    });
                }
            }
        }
    }

    fn dangling(&self, reference: &Reference) -> Option<String> {
        let name = reference.name.as_str();
        match reference.to {
            Target::Plugin(r#type) => {
                let named = self.find(name).map(|index| self.all[index].r#type.name);
                let other = self
                    .all
                    .iter()
                    .find(|instance| instance.r#type.name == r#type);
                match named {
                    // One of that type is added under its own name when none is declared.
                    None if name == r#type && other.is_none() => None,
                    // The one there is, whatever it is called, is what the default means.
                    None if name == r#type => None,
                    Some(found) if found == r#type => None,
                    // Both kinds of match come out of the same place.
                    Some(PRECISE_PREFIX_PRODUCER) if r#type == APPROX_PREFIX_PRODUCER => None,
                    Some(found) => Some(format!(
                        "`{name}` is a `{found}`, not a `{type}`",
                        r#type = r#type
                    )),
                    None if self.is_broken(name) => None,
                    None => {
                        let known = self.all.iter().map(|instance| instance.name.as_str());
                        let names = hint(name, known.chain([r#type]).collect::<Vec<_>>());
                        Some(format!("no `{}` is called `{name}`{names}", r#type))
                    }
                }
            }
            Target::Profile => {
                let declared = self.profiles.iter().map(String::as_str);
                let known: Vec<&str> = match self.profiles.is_empty() {
                    true => vec!["default"],
                    false => declared.collect(),
                };
                (!known.contains(&name)).then(|| {
                    format!(
                        "no profile is called `{name}`{}",
                        hint(name, known.iter().copied())
                    )
                })
            }
        }
    }

    /// Applies every wiring plugin.
    pub(crate) fn wiring(&mut self) -> Wiring {
        let mut wiring = Wiring::default();
        for instance in &mut self.all {
            match instance.part.take() {
                Some(Part::Wire(apply)) => apply(&mut wiring),
                Some(Part::Scorer {
                    scorer,
                    filter,
                    wire,
                }) => {
                    if let Some(apply) = wire {
                        apply(&mut wiring);
                    }
                    instance.part = Some(Part::Scorer {
                        scorer,
                        filter,
                        wire: None,
                    });
                }
                other => instance.part = other,
            }
        }
        wiring
    }
}

fn located(spec: &PluginSpec, path: &str, error: ParamError) -> Problem {
    let written = spec
        .parameters
        .0
        .iter()
        .find(|(key, _)| key.value == error.parameter);
    let dot = if error.parameter.is_empty() { "" } else { "." };
    Problem {
        line: written.map_or(spec.r#type.line, |(key, _)| key.line),
        path: format!("{path}.parameters{dot}{}", error.parameter),
        message: error.message,
    }
}

fn find_type(name: &At<String>, path: &str) -> Result<&'static PluginType, Problem> {
    if let Some(found) = find(name) {
        return Ok(found);
    }
    let path = format!("{path}.type");
    if let Some((_, instead)) = NOT_BUILT.iter().find(|(known, _)| known == &name.as_str()) {
        return Err(Problem::at(
            name,
            path,
            format!("`{name}` is not built; {instead}"),
        ));
    }
    let names = hint(
        name,
        PLUGINS.iter().map(|plugin| plugin.name).collect::<Vec<_>>(),
    );
    Err(Problem::at(
        name,
        path,
        format!("unknown plugin type `{name}`{names}"),
    ))
}
