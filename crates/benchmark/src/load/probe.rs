//! Is the server ready, which model does it serve, and how many tokens is a word to it?

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::client::Client;
use crate::workload::{self, text};

/// Waits until `/health` (or, where there is none, `/v1/models`) answers 200; gives up after `patience`
/// with what was seen last.
pub async fn wait_ready(client: &Client, patience: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let seen = match ready(client).await {
            Ok(()) => return Ok(()),
            Err(seen) => seen,
        };
        if Instant::now() >= deadline {
            bail!(
                "{} is not ready after {patience:?}: {seen}",
                client.target()
            );
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn ready(client: &Client) -> Result<(), String> {
    let health = client
        .get("/health")
        .await
        .map_err(|error| error.to_string())?;
    match health.status.as_u16() {
        200 => Ok(()),
        404 | 405 => {
            let models = client
                .get("/v1/models")
                .await
                .map_err(|error| error.to_string())?;
            let code = models.status.as_u16();
            if code == 200 {
                Ok(())
            } else {
                Err(format!("GET /v1/models answered {code}"))
            }
        }
        code => Err(format!("GET /health answered {code}")),
    }
}

/// `asked`, else the first model the server lists.
pub async fn model(client: &Client, asked: Option<&str>) -> anyhow::Result<String> {
    if let Some(asked) = asked {
        return Ok(asked.to_owned());
    }
    let answer = client.get("/v1/models").await?;
    let cards = engine_api::models::parse(&answer.body).with_context(|| {
        format!(
            "GET {} answered {}",
            client.url("/v1/models"),
            answer.status
        )
    })?;
    let first = cards.into_iter().next().map(|card| card.id);
    first.with_context(|| format!("{} lists no model; name one with --model", client.target()))
}

/// Tokens that one more word of generated text costs, by the server's own count of two short prompts.
pub async fn tokens_per_word(client: &Client, model: &str, seed: u64) -> anyhow::Result<f64> {
    const SHORT_WORDS: usize = 100;
    const LONG_WORDS: usize = 400;
    let short = prompt_tokens(client, model, SHORT_WORDS, seed).await?;
    let long = prompt_tokens(client, model, LONG_WORDS, seed).await?;
    let per_word = (long as f64 - short as f64) / (LONG_WORDS - SHORT_WORDS) as f64;
    if !(0.1..=20.0).contains(&per_word) {
        bail!(
            "the server counts {short} tokens for {SHORT_WORDS} words and {long} for {LONG_WORDS}; use --token-ids"
        );
    }
    Ok(per_word)
}

async fn prompt_tokens(
    client: &Client,
    model: &str,
    words: usize,
    seed: u64,
) -> anyhow::Result<u64> {
    let prompt = text::words(&mut text::rng(&[seed, words as u64]), words);
    let body = workload::Body {
        model,
        prompt: prompt.into(),
        max_tokens: 1,
        ignore_eos: false,
    };
    let answer = client.post("/v1/completions", body.whole()).await?;
    let usage = engine_api::usage::read_body(&answer.body);
    usage.map(|usage| usage.prompt_tokens).with_context(|| {
        let said = super::stream::error_message(&answer.body);
        format!(
            "{} answered {} without usage: {said}",
            client.url("/v1/completions"),
            answer.status
        )
    })
}
