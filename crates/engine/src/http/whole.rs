//! What does an answer in one piece look like?

use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::answer::{Choice, Usage};
use super::body::Body;
use super::generate::Style;
use super::logprobs::Tokens;
use super::plan::Plan;
use super::reply::{self, Failure};
use super::shell::{Shell, Track};
use crate::core::Ticket;
use crate::model::FinishReason;

/// Waits for all choices and answers in one piece.
pub(crate) async fn whole(
    plan: Plan,
    ticket: Ticket,
    track: Track,
    abort: bool,
) -> Result<Response<Body>, Failure> {
    let shell = Arc::clone(&track.shell);
    let mut choices = plan.choices(&shell);
    let mut texts: Vec<String> = (0..choices.len())
        .map(|index| plan.echo_of(index).to_owned())
        .collect();
    let mut first = true;
    loop {
        let pieces = ticket.mailbox.read().await;
        if pieces.is_empty() {
            break;
        }
        for piece in &pieces {
            let choice = &mut choices[piece.sequence];
            let text = choice.take(
                &shell.settings.tokenizer,
                &plan.stops,
                piece,
                plan.return_token_ids || plan.logprobs.is_some(),
            );
            if !plan.echo_only {
                texts[piece.sequence] += &text;
            }
            if choice.finish.is_some() && piece.end.is_none() {
                ticket.end(piece.sequence, FinishReason::Stop);
            }
            if std::mem::take(&mut first) {
                track.first_token(piece.cached_tokens);
            }
        }
        if abort {
            break;
        }
    }
    if choices.iter().any(|choice| {
        choice
            .finish
            .as_ref()
            .is_some_and(|finish| finish.reason == FinishReason::Error)
    }) {
        return Err(Failure::internal("the engine could not compute a step"));
    }
    if !abort
        && choices.iter().all(|choice| {
            choice
                .finish
                .as_ref()
                .is_some_and(|finish| finish.reason != FinishReason::Abort)
        })
    {
        track.finished();
    }
    let usage = plan.usage(&shell, &choices);
    let body = whole_json(&plan, &shell, &choices, texts, &usage);
    // A moment's grace would change nothing: the ticket ends what a fault left running.
    drop(ticket);
    Ok(reply::json(StatusCode::OK, &body))
}

fn whole_json(
    plan: &Plan,
    shell: &Shell,
    choices: &[Choice],
    texts: Vec<String>,
    usage: &Usage,
) -> Value {
    let choice_json = |(index, (choice, text)): (usize, (&Choice, String))| {
        let reason = choice
            .finish
            .as_ref()
            .map_or("abort", |finish| finish.reason.as_str());
        let stop_reason = choice
            .finish
            .as_ref()
            .map_or(&Value::Null, |finish| &finish.stop_reason);
        let token_ids = plan.return_token_ids.then_some(&choice.token_ids);
        let logprobs = plan
            .logprobs
            .map(|top| logprobs(plan, shell, index, choice, top));
        match plan.style {
            Style::Completion => json!({
                "index": index, "text": text, "logprobs": logprobs, "finish_reason": reason, "stop_reason": stop_reason,
                "token_ids": token_ids, "prompt_logprobs": prompt_logprobs(plan, shell, index / plan.n),
                "prompt_token_ids": plan.return_token_ids.then(|| &plan.prompts[index / plan.n][..]),
                "routed_experts": null,
            }),
            Style::Chat => json!({
                "index": index,
                "message": {
                    "role": "assistant", "content": text, "refusal": null, "annotations": null, "audio": null,
                    "function_call": null, "reasoning": null,
                },
                "logprobs": logprobs, "finish_reason": reason, "stop_reason": stop_reason, "token_ids": token_ids,
                "routed_experts": null,
            }),
        }
    };
    let choices: Vec<Value> = choices
        .iter()
        .zip(texts)
        .enumerate()
        .map(choice_json)
        .collect();
    let object = if plan.style == Style::Chat {
        "chat.completion"
    } else {
        "text_completion"
    };
    let mut body = json!({
        "id": plan.id, "object": object, "created": plan.created, "model": plan.model, "choices": choices,
        "service_tier": null, "system_fingerprint": shell.settings.fingerprint, "usage": usage.json(),
    });
    if plan.style == Style::Chat {
        body["prompt_logprobs"] = prompt_logprobs(plan, shell, 0);
        body["prompt_token_ids"] = json!(plan.return_token_ids.then(|| &plan.prompts[0][..]));
        body["prompt_text"] = Value::Null;
    }
    for absent in ["kv_transfer_params", "ec_transfer_params", "metrics"] {
        body[absent] = Value::Null;
    }
    body
}

fn prompt_logprobs(plan: &Plan, shell: &Shell, prompt: usize) -> Value {
    plan.prompt_logprobs.map_or(Value::Null, |top| {
        let tokens = Tokens {
            tokenizer: &shell.settings.tokenizer,
            ids: &plan.prompts[prompt],
            place: 0,
            top,
        };
        tokens.prompt()
    })
}

/// Log-probabilities of a whole choice, of its prompt too where that is echoed.
fn logprobs(plan: &Plan, shell: &Shell, index: usize, choice: &Choice, top: usize) -> Value {
    let echoed = match &plan.echo {
        Some(_) => &plan.prompts[index / plan.n][..],
        None => &[],
    };
    let ids = [
        echoed,
        if plan.echo_only {
            &[]
        } else {
            &choice.token_ids
        },
    ]
    .concat();
    let tokens = Tokens {
        tokenizer: &shell.settings.tokenizer,
        ids: &ids,
        place: 0,
        top,
    };
    match plan.style {
        Style::Chat => tokens.chat(),
        Style::Completion => tokens.completion(0, !echoed.is_empty()),
    }
}
