//! `explain`: why would a request go where?

mod show;

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use benchmark::load::stream::error_message;
use benchmark::report;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::admin;

/// Asks a running gateway how it would place one request; nothing is sent to an engine.
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["prompt", "body", "chat"]))]
pub struct Args {
    /// The gateway's admin address.
    #[arg(long, default_value = "http://127.0.0.1:9090")]
    pub admin: String,
    /// A completion prompt.
    #[arg(long)]
    pub prompt: Option<String>,
    /// A file with a request body as a client sends it; `-` is standard input.
    #[arg(long)]
    pub body: Option<PathBuf>,
    /// One user message of a chat.
    #[arg(long)]
    pub chat: Option<String>,
    /// Model, for --prompt and --chat [default: the default pool's].
    #[arg(long)]
    pub model: Option<String>,
    /// Path the request would be sent to [default: by the body].
    #[arg(long)]
    pub path: Option<String>,
    /// Print the gateway's answer unchanged.
    #[arg(long)]
    pub json: bool,
}

/// Prints a table of every candidate's raw inputs, scores and totals, and the reason in words.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let answer = ask(&args).await?;
    if args.json {
        report::emit_json(&answer)?;
    } else {
        report::emit(&show::text(&answer)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The gateway's answer.
pub async fn ask(args: &Args) -> anyhow::Result<Value> {
    let (body, default_path) = body(args)?;
    let path = args.path.as_deref().unwrap_or(default_path);
    let encoded: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
    let client = admin::client(&args.admin)?;
    let answer = client
        .post(&format!("/admin/explain?path={encoded}"), body)
        .await?;
    let at = client.target();
    if !answer.status.is_success() {
        let said = error_message(&answer.body);
        bail!("POST {at}/admin/explain answered {}: {said}", answer.status);
    }
    answer
        .json()
        .map_err(|why| anyhow::anyhow!("POST {at}/admin/explain: the answer is {why}"))
}

fn body(args: &Args) -> anyhow::Result<(Bytes, &'static str)> {
    let (mut body, path) = match (&args.prompt, &args.chat, &args.body) {
        (Some(prompt), _, _) => (json!({"prompt": prompt}), "/v1/completions"),
        (_, Some(text), _) => (
            json!({"messages": [{"role": "user", "content": text}]}),
            "/v1/chat/completions",
        ),
        (_, _, Some(file)) => return read_body(file),
        _ => bail!("say which request: --prompt TEXT, --chat TEXT or --body FILE"),
    };
    if let Some(model) = &args.model {
        body["model"] = json!(model);
    }
    Ok((Bytes::from(body.to_string()), path))
}

/// The bytes as they are, and the path that such a body belongs to.
fn read_body(file: &PathBuf) -> anyhow::Result<(Bytes, &'static str)> {
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin()
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
    } else {
        bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    let json: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let path = match (json.get("messages"), json.get("input")) {
        (Some(_), _) => "/v1/chat/completions",
        (None, Some(_)) => "/v1/responses",
        _ => "/v1/completions",
    };
    Ok((Bytes::from(bytes), path))
}
