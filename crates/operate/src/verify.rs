//! `verify`: does the running system do what its operator expects of it?

mod affinity;
mod api;
mod fleet;
mod outcome;
mod prompts;
mod show;
mod spread;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use benchmark::command::connection::EngineAddresses;
use benchmark::load::{Client, ClientOptions, Target};
use benchmark::report;

pub use outcome::{Check, Report, Status};

use fleet::Fleet;

/// The operator's checks of a running system.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address of an OpenAI-compatible server, with its path prefix if it has one.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    pub url: String,
    #[command(flatten)]
    pub engines: EngineAddresses,
    /// Model to ask for [default: the first one the server lists].
    #[arg(long)]
    pub model: Option<String>,
    /// Replicas that should be reached [default: as the admin address, else --engines, say].
    #[arg(long)]
    pub replicas: Option<usize>,
    /// Requests sent at once in the distribution check.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub concurrency: u16,
    /// Requests with one long system prompt in the affinity check.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub repeats: u16,
    /// System prompt of the affinity check, after a word that is new in every run [default: a generated long one].
    #[arg(long)]
    pub system_prompt: Option<String>,
    /// Sent as a bearer token.
    #[arg(long, env = "PREFIXGATE_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// Seconds until an unanswered request counts as failed.
    #[arg(long, default_value_t = 60)]
    pub timeout_s: u64,
    /// Print the checks as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs all checks and prints them; a failure code when one failed.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let report = check(&args).await?;
    if args.json {
        report::emit_json(&report)?;
    } else {
        report::emit(&show::text(&report))?;
    }
    Ok(if report.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What every check needs.
struct Subject<'a> {
    args: &'a Args,
    client: Arc<Client>,
    model: Option<String>,
    fleet: Fleet,
    simulated: bool,
    /// An endpoint that some answer named.
    named: Option<String>,
}

/// All checks in order. Fails only on addresses that cannot be used; whatever the server does is in the report.
pub async fn check(args: &Args) -> anyhow::Result<Report> {
    let options = ClientOptions {
        timeout: Duration::from_secs(args.timeout_s.max(1)),
        api_key: args.api_key.clone(),
        ..ClientOptions::default()
    };
    let client = Arc::new(Client::new(Target::parse(&args.url)?, options)?);
    let (health, answers) = api::health(&client).await;
    let (models, model) = api::models(&client, args.model.as_deref()).await;
    let mut checks = vec![health, models];
    let fleet = Fleet::find(args, &client).await?;
    let mut subject = Subject {
        args,
        client,
        model,
        fleet,
        simulated: false,
        named: None,
    };
    if answers {
        subject.requests(&mut checks).await;
    } else {
        for name in [
            "completion",
            "chat",
            "chat-stream",
            "distribution",
            "affinity",
            "cached-tokens",
        ] {
            checks.push(Check::skip(
                name,
                "an answer",
                "the address did not answer the checks before this one",
            ));
        }
    }
    checks.push(subject.fleet.health(subject.named.as_deref()).await);
    let url = subject.client.target().to_string();
    Ok(Report::of(url, subject.model, subject.simulated, checks))
}

impl Subject<'_> {
    async fn requests(&mut self, checks: &mut Vec<Check>) {
        checks.push(self.completion().await);
        checks.push(self.chat().await);
        checks.push(self.chat_stream().await);
        checks.push(self.distribution().await);
        checks.extend(self.affinity().await);
    }
}
