//! Does it speak the OpenAI API?

use std::time::Instant;

use benchmark::load::stream::{error_message, fingerprint_simulated, says_simulated};
use benchmark::load::{Answer, Client};
use benchmark::workload::Prompted;
use serde_json::Value;

use super::Subject;
use super::fleet::named;
use super::outcome::Check;
use super::prompts::Prompts;

/// The check, and whether anything at all answers at the address.
pub(crate) async fn health(client: &Client) -> (Check, bool) {
    let (name, expected) = ("health", "GET /health answers 200");
    let answer = match client.get("/health").await {
        Ok(answer) => answer,
        Err(error) => {
            let hint = "start the server, or correct --url (scheme, host, port and path prefix)";
            return (
                Check::fail(name, expected, error.to_string()).hint(hint),
                false,
            );
        }
    };
    let took = format!(
        "{} in {:.1} ms",
        answer.status,
        answer.elapsed.as_secs_f64() * 1e3
    );
    let said = || format!("{took}: {}", error_message(&answer.body));
    let check = match answer.status.as_u16() {
        200 => Check::pass(name, expected, took),
        404 | 405 => Check::skip(
            name,
            expected,
            format!("{took}: this server has no /health"),
        ),
        503 => Check::fail(name, expected, said())
            .hint("no endpoint is ready: see the gateway's log and each engine's own /health"),
        _ => Check::fail(name, expected, said())
            .hint("see the server's log; is --url the data port and the right path prefix?"),
    };
    (check, true)
}

/// The check, and the model to ask for.
pub(crate) async fn models(client: &Client, asked: Option<&str>) -> (Check, Option<String>) {
    let name = "models";
    let expected = asked.map_or_else(
        || "GET /v1/models lists at least one model".to_owned(),
        |asked| format!("GET /v1/models lists {asked}"),
    );
    let asked_for = asked.map(str::to_owned);
    let listed = match client.get("/v1/models").await {
        Ok(answer) if answer.status.is_success() => model_ids(&answer),
        Ok(answer) => Err(format!(
            "{}: {}",
            answer.status,
            error_message(&answer.body)
        )),
        Err(error) => Err(error.to_string()),
    };
    let ids = match listed {
        Ok(ids) => ids,
        Err(seen) => {
            let hint =
                "is --url an OpenAI-compatible server, with the right path prefix and --api-key?";
            return (Check::fail(name, expected, seen).hint(hint), asked_for);
        }
    };
    let seen = if ids.is_empty() {
        "an empty list".to_owned()
    } else {
        ids.join(", ")
    };
    let found = asked.map_or(!ids.is_empty(), |asked| ids.iter().any(|id| id == asked));
    let model = asked_for.or_else(|| ids.into_iter().next());
    if found {
        (Check::pass(name, expected, seen), model)
    } else {
        let hint = "name a listed model with --model, or see which models the engines serve";
        (Check::fail(name, expected, seen).hint(hint), model)
    }
}

/// An empty list is an answer; anything without a `data` array is not.
fn model_ids(answer: &Answer) -> Result<Vec<String>, String> {
    let json = answer.json()?;
    let data = json["data"]
        .as_array()
        .ok_or_else(|| format!("no `data` array in {json:.200}"))?;
    Ok(data
        .iter()
        .filter_map(|card| card["id"].as_str())
        .map(str::to_owned)
        .collect())
}

impl Subject<'_> {
    pub(crate) async fn completion(&mut self) -> Check {
        let body = Prompts::new(self.model.as_deref()).completion();
        let text = |json: &Value| json["choices"][0]["text"].as_str().map(str::to_owned);
        self.whole(
            "completion",
            "/v1/completions",
            body,
            "choices[0].text",
            text,
        )
        .await
    }

    pub(crate) async fn chat(&mut self) -> Check {
        let body = Prompts::new(self.model.as_deref()).chat();
        let text = |json: &Value| {
            let message = &json["choices"][0]["message"];
            let said = message["content"]
                .as_str()
                .or(message["reasoning_content"].as_str());
            said.map(str::to_owned)
        };
        self.whole(
            "chat",
            "/v1/chat/completions",
            body,
            "choices[0].message.content",
            text,
        )
        .await
    }

    async fn whole(
        &mut self,
        name: &str,
        path: &str,
        body: bytes::Bytes,
        field: &str,
        text: impl Fn(&Value) -> Option<String>,
    ) -> Check {
        let expected = format!("POST {path} answers 200 with {field} and token counts");
        let answer = match self.client.post(path, body).await {
            Ok(answer) => answer,
            Err(error) => return Check::fail(name, expected, error.to_string()),
        };
        self.note(&answer);
        if !answer.status.is_success() {
            let seen = format!("{}: {}", answer.status, error_message(&answer.body));
            return Check::fail(name, expected, seen).hint(hint_for(answer.status.as_u16()));
        }
        let json = match answer.json() {
            Ok(json) => json,
            Err(seen) => {
                return Check::fail(name, expected, format!("200, but the body is {seen}"))
                    .hint("something else answers at this address: check --url");
            }
        };
        let Some(text) = text(&json) else {
            return Check::fail(name, expected, format!("200 without {field}"))
                .hint("the answer is JSON but not of the OpenAI shape");
        };
        let (prompt, output) = (
            &json["usage"]["prompt_tokens"],
            &json["usage"]["completion_tokens"],
        );
        let seen = format!(
            "{} characters of text, {prompt} prompt and {output} output tokens, {:.0} ms",
            text.chars().count(),
            answer.elapsed.as_secs_f64() * 1e3
        );
        if output.as_u64().is_some_and(|tokens| tokens > 0) {
            Check::pass(name, expected, seen)
        } else {
            Check::fail(
                name,
                expected,
                format!(
                    "{} characters of text, no output tokens counted",
                    text.len()
                ),
            )
            .hint("usage.completion_tokens is missing or zero: the engine generated nothing")
        }
    }

    pub(crate) async fn chat_stream(&mut self) -> Check {
        let (name, path) = ("chat-stream", "/v1/chat/completions");
        let expected = "a stream with content, token counts and [DONE], without an error event";
        let body = Prompts::new(self.model.as_deref()).chat_stream();
        let prompted = Prompted {
            path,
            body,
            group: 0,
        };
        let sample = self.client.stream(&prompted, Instant::now()).await;
        self.simulated |= sample.simulated;
        if let Some(failure) = &sample.failure {
            return Check::fail(name, expected, failure.to_string())
                .hint("does a proxy in between buffer or cut streams?");
        }
        let tokens = sample.usage.map(|usage| usage.completion_tokens);
        let seen = format!(
            "{} content events, {} output tokens, first content after {}, {}",
            sample.content_events(),
            tokens.map_or_else(|| "no count of".to_owned(), |tokens| tokens.to_string()),
            sample
                .ttft_ms()
                .map_or_else(|| "n/a".to_owned(), |ms| format!("{ms:.0} ms")),
            if sample.done { "[DONE]" } else { "no [DONE]" },
        );
        match (tokens, sample.done) {
            (Some(_), true) => Check::pass(name, expected, seen),
            (None, _) => Check::fail(name, expected, seen).hint(
                "the server ignores stream_options.include_usage: clients cannot count tokens",
            ),
            (_, false) => Check::fail(name, expected, seen)
                .hint("the stream ended early: see the server's log, and proxies in between"),
        }
    }

    /// Remembers whether an answer calls itself simulated, and the endpoint it names.
    pub(crate) fn note(&mut self, answer: &Answer) {
        self.named = named(answer).or(self.named.take());
        self.simulated |= says_simulated(&answer.headers) || fingerprint_simulated(&answer.body);
    }
}

fn hint_for(status: u16) -> &'static str {
    match status {
        401 | 403 => "give the key with --api-key or PREFIXGATE_API_KEY",
        404 => "is the path prefix in --url right, and does the server know this model (--model)?",
        429 => "the server sheds load; try again when it is quieter",
        502 | 504 => "the engine broke off or was too slow: see the gateway's and the engine's log",
        503 => "no endpoint is ready: see pool health below",
        _ => "see the server's log",
    }
}
