//! `prefixgate config check / print / schema`.

use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

use crate::config::{self, Overrides, Resolved, resolve};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Reads a configuration and says what is wrong with it.
    Check(Overrides),
    /// Prints the effective configuration and where each value came from.
    Print(Overrides),
    /// Prints the JSON schema of the file.
    Schema,
}

#[allow(clippy::print_stdout, reason = "the answer of the command")]
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Check(overrides) => {
            let resolved = resolved(&overrides)?;
            let pools = resolved.config.pools.len();
            println!(
                "the configuration is good: {pools} pool{}",
                if pools == 1 { "" } else { "s" }
            );
            for (place, compiled) in compiled(&resolved)? {
                compiled
                    .notes
                    .iter()
                    .for_each(|note| println!("note: {place}: {note}"));
            }
        }
        Action::Print(overrides) => print!("{}", print(&resolved(&overrides)?)?),
        Action::Schema => println!("{}", serde_json::to_string_pretty(&config::schema())?),
    }
    Ok(ExitCode::SUCCESS)
}

/// Resolves `overrides`, telling flags from environment by a second look at the command line.
pub(crate) fn resolved(overrides: &Overrides) -> anyhow::Result<Resolved> {
    let matches = crate::Cli::command().try_get_matches().ok();
    let deepest = matches.as_ref().map(|matches| {
        let mut deepest = matches;
        while let Some((_, next)) = deepest.subcommand() {
            deepest = next;
        }
        deepest.clone()
    });
    let source = |argument: &str| {
        let matches = deepest.as_ref()?;
        // Asking for an argument the command does not have would be a bug of ours, not the user's.
        matches
            .ids()
            .any(|id| id == argument)
            .then(|| matches.value_source(argument))
            .flatten()
    };
    Ok(resolve(overrides, source)?)
}

fn print(resolved: &Resolved) -> anyhow::Result<String> {
    let yaml = serde_saphyr::to_string(&resolved.config)
        .context("cannot write the configuration as YAML")?;
    let mut page = String::new();
    for line in yaml.lines() {
        let key = line.split(':').next().unwrap_or_default();
        page.push_str(line);
        if let Some(origin) = resolved.origins.get(key) {
            page.push_str(&format!("  # from: {}", origin.name()));
        }
        page.push('\n');
    }
    for (place, compiled) in compiled(resolved)? {
        page.push_str(&format!(
            "\n# {place} in effect, with everything that was added by itself:\n"
        ));
        compiled
            .dump()
            .lines()
            .for_each(|line| page.push_str(&format!("#   {line}\n")));
    }
    Ok(page)
}

/// Every scheduling section, resolved, by its place.
fn compiled(resolved: &Resolved) -> anyhow::Result<Vec<(String, scheduler::Compiled)>> {
    let config = &resolved.config;
    let mut all = vec![(
        "scheduling".to_owned(),
        scheduler::compile(&config.scheduling, 0)?,
    )];
    for pool in &config.pools {
        if let Some(scheduling) = &pool.scheduling {
            all.push((
                format!("pools.{}.scheduling", pool.name),
                scheduler::compile(scheduling, 0)?,
            ));
        }
    }
    Ok(all)
}
