//! Which arms run, and at which load?

mod load;

pub(crate) use load::Capacity;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Context;
use engine::backend::Profile;
use scheduler::{Document, PRESETS, SchedulingConfig, compile};

use super::outcome::{Outcome, Report};
use super::router::{FleetRouter, Router, RuleRouter};
use super::rule::{INFINITE_SHARED_CACHE, Known, RULES};
use super::settings::Settings;
use super::show::progress::Progress;
use super::source::Source;
use super::sweep;
use super::world::World;

/// What decides in one arm.
#[derive(Clone)]
pub(crate) enum Decider {
    /// The gateway's own scheduling, by its own history of what it sent where or, `exact`, by the engines' cache events.
    Scheduling {
        config: Box<SchedulingConfig>,
        exact: bool,
    },
    Rule(&'static Known),
    /// No decision: every request by itself on an idle replica of the fastest kind.
    Alone,
}

/// The bound that no routing and no fleet size beats.
pub(crate) const ALONE: &str = "bound:alone";

/// What it is, for lists.
pub(crate) const ALONE_SUMMARY: &str = "bound: every request alone on an idle replica of the fastest kind, one unlimited cache: no routing beats it in any percentile";

/// Before the name of a scheduling: matches rest on the engines' cache events.
pub(crate) const EXACT: &str = "exact:";

/// One arm of a comparison.
#[derive(Clone)]
pub(crate) struct Arm {
    pub(crate) name: String,
    pub(crate) decider: Decider,
}

impl Arm {
    /// A preset, a rule, a bound, or a file; a preset or a file behind `exact:` too.
    ///
    /// # Errors
    /// None of these, with a suggestion; a document that does not compile, with every problem.
    pub(crate) fn named(name: &str, _replicas: usize) -> anyhow::Result<Self> {
        let rule = |bare: &str| RULES.iter().find(|known| known.name == bare);
        let bare = name
            .strip_prefix("rule:")
            .or_else(|| name.strip_prefix("bound:"));
        let decider = if let Some(scheduling) = name.strip_prefix(EXACT) {
            Decider::Scheduling {
                config: Box::new(match PRESETS.iter().any(|one| one.name == scheduling) {
                    true => SchedulingConfig::preset(scheduling),
                    false => document(scheduling).with_context(|| {
                        format!("{EXACT} stands before a preset or a file: reference rules know what they know")
                    })?,
                }),
                exact: true,
            }
        } else if name == ALONE || name == "alone" {
            Decider::Alone
        } else if let Some(bare) = bare {
            Decider::Rule(rule(bare).with_context(|| unknown(bare))?)
        } else if PRESETS.iter().any(|preset| preset.name == name) {
            approximate(SchedulingConfig::preset(name))
        } else if let Some(known) = rule(name) {
            Decider::Rule(known)
        } else {
            approximate(document(name)?)
        };
        if let Decider::Scheduling { config, .. } = &decider {
            compile(config, 0).with_context(|| format!("--compare {name}"))?;
        }
        let bound = is_bound(&decider);
        Ok(Self {
            name: match bound && !name.starts_with("bound:") {
                true => format!("bound:{name}"),
                false => name.to_owned(),
            },
            decider,
        })
    }

    /// Round robin, against which loads are measured.
    pub(crate) fn round_robin() -> Self {
        Self {
            name: "rule:round-robin".to_owned(),
            decider: Decider::Rule(&RULES[0]),
        }
    }

    pub(crate) fn is_bound(&self) -> bool {
        is_bound(&self.decider)
    }

    /// The world this arm runs in where it is not the plan's.
    fn world(&self, settings: &Settings) -> Option<Settings> {
        let Decider::Alone = &self.decider else {
            return None;
        };
        let mut alone = settings.clone();
        let per_token = |profile: &&Profile| profile.flops_per_token / profile.flops_per_s;
        let fastest = (settings.hardware.profiles.iter())
            .min_by(|a, b| per_token(a).total_cmp(&per_token(b)))
            .cloned();
        alone.hardware.profiles = fastest.into_iter().collect();
        // What is found cached is the shared cache's word, not this engine's.
        alone.hardware.prefix_caching = false;
        alone.concurrency = Some(1);
        alone.gateways = 1;
        Some(alone)
    }

    pub(crate) fn router(
        &self,
        settings: &Settings,
        gateway: usize,
    ) -> anyhow::Result<Box<dyn Router>> {
        let replicas = settings.hardware.profiles.len();
        let seed = settings
            .seed
            .wrapping_add((gateway as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Ok(match &self.decider {
            Decider::Scheduling { config, exact } => {
                let compiled =
                    compile(config, seed).with_context(|| format!("--compare {}", self.name))?;
                let router = FleetRouter::new(compiled, replicas, settings.seed, seed);
                Box::new(match exact {
                    true => router.hearing_cache_events(),
                    false => router,
                })
            }
            Decider::Rule(known) => Self::ruled(known, replicas, seed),
            Decider::Alone => Self::ruled(&INFINITE_SHARED_CACHE, replicas, seed),
        })
    }

    fn ruled(known: &Known, replicas: usize, seed: u64) -> Box<dyn Router> {
        let rule = (known.make)(replicas, seed);
        Box::new(RuleRouter::new(rule, replicas, seed))
    }
}

fn approximate(config: SchedulingConfig) -> Decider {
    Decider::Scheduling {
        config: Box::new(config),
        exact: false,
    }
}

fn is_bound(decider: &Decider) -> bool {
    match decider {
        Decider::Rule(known) => known.bound,
        Decider::Alone => true,
        Decider::Scheduling { .. } => false,
    }
}

fn unknown(name: &str) -> String {
    let presets = PRESETS.iter().map(|preset| preset.name);
    let rules = RULES.iter().map(|known| known.name);
    let hint = scheduler::suggest(name, presets.chain(rules))
        .map_or_else(String::new, |close| format!("; did you mean `{close}`?"));
    format!("`{name}` is no preset, reference rule or readable file{hint} (--list names them)")
}

/// A scheduling document, or a gateway configuration that holds one.
fn document(name: &str) -> anyhow::Result<SchedulingConfig> {
    let text = match std::fs::read_to_string(name) {
        Ok(text) => text,
        Err(error) if name.contains(['/', '.']) => {
            return Err(error).with_context(|| format!("cannot read {name}"));
        }
        Err(_) => anyhow::bail!(unknown(name)),
    };
    let document = Document::parse(&text).with_context(|| format!("--compare {name}"))?;
    Ok(SchedulingConfig::document(document))
}

/// What is to be run.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) source: Source,
    pub(crate) arms: Vec<Arm>,
    pub(crate) load: Option<f64>,
    pub(crate) threads: usize,
    /// Loads of the curves, times that of the comparison.
    pub(crate) sweep: Vec<f64>,
}

/// Runs one arm to its end.
///
/// # Errors
/// Bad input; an engine that cannot be built.
pub(crate) fn run(
    arm: &Arm,
    settings: &Settings,
    source: &Source,
    progress: &Progress,
) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    let own = arm.world(settings);
    let settings = own.as_ref().unwrap_or(settings);
    let mut jobs = source.open()?;
    let world = World::new(settings, |gateway| arm.router(settings, gateway))?;
    let bar = progress.arm(&arm.name);
    let done = world.run(&mut *jobs, &mut |now, share| bar.tell(now, share))?;
    Ok(Outcome::of(arm, settings, done, begun.elapsed()))
}

/// Runs every arm of a plan, several at once: arms share nothing, so how many does not change what comes out.
///
/// # Errors
/// As [`run`].
pub(crate) fn compare(plan: &Plan) -> anyhow::Result<Report> {
    let progress = Progress::new(plan.settings.seed);
    let (source, capacity) = match plan.load {
        Some(share) => {
            let capacity = load::capacity(plan, &progress)?;
            let factor = capacity.factor * share;
            (plan.source.sped_up(factor), Some(capacity))
        }
        None => (plan.source.clone(), None),
    };
    let outcomes = all(&plan.arms, plan.threads, |arm| {
        run(arm, &plan.settings, &source, &progress)
    })?;
    let curves = match plan.sweep.is_empty() {
        true => Vec::new(),
        false => sweep::curves(plan, &source, &plan.sweep, &progress)?,
    };
    Ok(Report::of(plan, &source, capacity, outcomes, curves))
}

/// Calls `run` for every item on at most `threads` threads; results in the order of the items.
pub(crate) fn all<I: Sync, T: Send>(
    items: &[I],
    threads: usize,
    run: impl Fn(&I) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else {
                return done;
            };
            done.push((at, run(item)));
        }
    };
    let mut done: Vec<(usize, anyhow::Result<T>)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(items.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let mut done = work();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
