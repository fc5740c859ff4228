//! Does the gain vanish where it must?
//!
//! A gain that stays when its cause is taken away was something else. Each run takes one cause away from every arm and sets
//! the mean time to first token against round robin's in the same world.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::arms::{Arm, Plan, all, run};
use super::outcome::Outcome;
use super::show::progress::Progress;
use super::source::Source;
use crate::report;

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Falsify {
    /// Prompts share nothing: there is nothing to find.
    ShuffledPrefixes,
    /// Schedulers hear everything a minute late: what they believe of load and caches is history.
    StaleMetrics,
    /// Engines keep nothing: what is known of caches is wrong.
    CacheOff,
    /// All three, after each other.
    All,
}

/// How late everything is heard.
const STALE: Duration = Duration::from_secs(60);

/// One arm in one world.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) world: &'static str,
    pub(crate) name: String,
    pub(crate) hit_ratio: f64,
    pub(crate) ttft_mean_ms: f64,
    pub(crate) ttft_p99_ms: f64,
    /// Round robin's mean time to first token over this one's; 1 is no gain.
    pub(crate) gain: f64,
    pub(crate) event_hash: String,
    pub(crate) violation_count: u64,
}

/// Runs every arm and round robin, first as things are, then with the cause taken away.
///
/// # Errors
/// As any run.
pub(crate) fn cells(plan: &Plan, what: Falsify) -> anyhow::Result<Vec<Cell>> {
    let progress = Progress::new(plan.settings.seed);
    let round_robin = Arm::round_robin();
    let others = plan.arms.iter().filter(|arm| arm.name != round_robin.name);
    let arms: Vec<Arm> = std::iter::once(&round_robin)
        .chain(others)
        .cloned()
        .collect();
    let mut cells = Vec::new();
    for (name, world) in worlds(plan, what) {
        let outcomes = all(&arms, plan.threads, |arm| {
            run(arm, &world.settings, &world.source, &progress)
        })?;
        cells.extend(compared(name, &outcomes));
    }
    Ok(cells)
}

fn worlds(plan: &Plan, what: Falsify) -> Vec<(&'static str, Plan)> {
    let mut worlds = vec![("as it is", plan.clone())];
    let wanted = |one| what == one || what == Falsify::All;
    if wanted(Falsify::ShuffledPrefixes) {
        let mut world = plan.clone();
        world.source = Source::Shuffled(Box::new(world.source), plan.settings.seed);
        worlds.push(("shuffled prefixes", world));
    }
    if wanted(Falsify::StaleMetrics) {
        let mut world = plan.clone();
        world.settings.lag = STALE;
        worlds.push(("stale metrics", world));
    }
    if wanted(Falsify::CacheOff) {
        let mut world = plan.clone();
        world.settings.hardware.prefix_caching = false;
        worlds.push(("cache off", world));
    }
    worlds
}

fn compared(world: &'static str, outcomes: &[Outcome]) -> Vec<Cell> {
    let mean = |outcome: &Outcome| outcome.ttft_ms.mean.unwrap_or(0.0);
    let round_robin = outcomes.first().map_or(0.0, mean);
    outcomes
        .iter()
        .map(|outcome| Cell {
            world,
            name: outcome.name.clone(),
            hit_ratio: outcome.hit_ratio,
            ttft_mean_ms: mean(outcome),
            ttft_p99_ms: outcome.ttft_ms.p99.unwrap_or(0.0),
            gain: round_robin / mean(outcome).max(1e-9),
            event_hash: outcome.event_hash.clone(),
            violation_count: outcome.violation_count,
        })
        .collect()
}

/// A table for people.
pub(crate) fn render(cells: &[Cell]) -> String {
    let mut table = report::Table::new(&[
        "world",
        "name",
        "hit %",
        "TTFT mean ms",
        "p99 ms",
        "gain over round robin",
    ])
    .left(1);
    for cell in cells {
        table.row(vec![
            cell.world.to_owned(),
            cell.name.clone(),
            format!("{:.1}", cell.hit_ratio * 100.0),
            format!("{:.0}", cell.ttft_mean_ms),
            format!("{:.0}", cell.ttft_p99_ms),
            format!("{:.2}", cell.gain),
        ]);
    }
    table.render()
}
