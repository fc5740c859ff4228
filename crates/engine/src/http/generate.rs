//! How does a generation request become sequences for the model, and their tokens one answer?

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};
use tokenize::ChatOptions;

use super::answer::{Choice, Details, Stops, Usage};
use super::body::Body;
use super::reply::{self, Failure};
use super::request::{Ask, Prompt};
use super::shell::{Shell, Track};
use super::{route, stream};
use crate::args::TextMode;
use crate::core::Ticket;
use crate::model::{FinishReason, Generation, Lora, Request, Text};

/// Completion tokens where neither client nor route says.
const DEFAULT_COMPLETION_TOKENS: usize = 16;
/// An invented chat answer without a stated limit ends by itself within these many tokens.
const NATURAL_TOKENS: std::ops::Range<u64> = 32..257;
/// Most choices per prompt.
const MAX_N: i64 = 128;
/// Longest `cache_salt`, characters.
const MAX_SALT_CHARS: usize = 128;

/// The two ways to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Completion,
    Chat,
}

impl Style {
    fn id_prefix(self) -> &'static str {
        match self {
            Self::Completion => "cmpl",
            Self::Chat => "chatcmpl",
        }
    }
}

/// What surrounds one request.
pub(crate) struct Context {
    pub(crate) shell: Arc<Shell>,
    pub(crate) headers: HeaderMap,
    pub(crate) path: &'static str,
    /// A fault ends the answer with `abort` after so many chunks.
    pub(crate) abort_after: Option<u32>,
}

impl Context {
    /// The client's `x-request-id`.
    pub(crate) fn request_id(&self) -> Option<&str> {
        self.headers
            .get("x-request-id")
            .and_then(|value| value.to_str().ok())
            .filter(|id| !id.is_empty())
    }
}

/// One request, understood and checked.
pub(crate) struct Plan {
    pub(crate) style: Style,
    pub(crate) id: String,
    pub(crate) created: u64,
    /// As answers name the model.
    pub(crate) model: String,
    /// Token ids per prompt.
    pub(crate) prompts: Vec<Arc<[u32]>>,
    /// Choices per prompt.
    pub(crate) n: usize,
    pub(crate) requests: Vec<Request>,
    pub(crate) stops: Stops,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) continuous_usage: bool,
    /// Text before each prompt's choices: the prompt, when asked for.
    pub(crate) echo: Option<Vec<String>>,
    /// Only the echo is wanted.
    pub(crate) echo_only: bool,
    pub(crate) return_token_ids: bool,
    cache_salt: Option<String>,
    priority: i64,
}

/// Answers a generation request.
pub(crate) async fn generate(
    context: Context,
    style: Style,
    body: Bytes,
) -> Result<Response<Body>, Failure> {
    let understood = route::off_thread(body.len(), move || {
        let plan = plan(&context, style, &body)?;
        Ok((context, plan))
    });
    let (context, mut plan) = understood.await?;
    let shell = Arc::clone(&context.shell);
    let requests = std::mem::take(&mut plan.requests);
    let prompt_tokens = plan.prompts.iter().map(|prompt| prompt.len()).sum();
    let number = shell.seen.add(
        &plan.id,
        context.request_id(),
        context.path,
        prompt_tokens,
        shell.clock.now(),
    );
    let track = Track {
        shell: Arc::clone(&shell),
        number,
    };
    let ticket = shell.core.submit(requests, plan.n).await?;
    if plan.stream {
        return Ok(stream::response(plan, ticket, track, context.abort_after));
    }
    let mut response = whole(plan, ticket, track, context.abort_after.is_some()).await?;
    route::add_orca(&shell, &context.headers, &mut response);
    Ok(response)
}

/// Answers with tokens instead of text, generating nothing.
pub(crate) fn render(
    context: &Context,
    style: Style,
    body: &[u8],
) -> Result<Response<Body>, Failure> {
    let plan = plan(context, style, body)?;
    let one = |(index, prompt): (usize, &Arc<[u32]>)| {
        let request_id = if plan.prompts.len() == 1 {
            plan.id.clone()
        } else {
            format!("{}-{index}", plan.id)
        };
        json!({
            "request_id": request_id, "token_ids": &prompt[..], "token_offsets": null, "features": null,
            "sampling_params": {"n": plan.n, "max_tokens": plan.requests[index * plan.n].max_tokens},
            "model": plan.model, "stream": plan.stream, "cache_salt": plan.cache_salt, "priority": plan.priority,
            "kv_transfer_params": null,
        })
    };
    let mut rendered: Vec<Value> = plan.prompts.iter().enumerate().map(one).collect();
    let value = match style {
        Style::Completion => Value::Array(rendered),
        Style::Chat => rendered.pop().unwrap_or_default(),
    };
    Ok(reply::json(StatusCode::OK, &value))
}

fn plan(context: &Context, style: Style, body: &[u8]) -> Result<Plan, Failure> {
    let shell = &context.shell;
    let mut ask = Ask::read(body)?;
    let (model, lora) = select_model(shell, ask.model.as_deref())?;
    check(&ask, style)?;
    let prompts = prompt_tokens(shell, &ask, style)?;
    let stops = Stops {
        strings: ask.stops()?,
        include: ask.include_stop_str_in_output.unwrap_or(false),
        min_tokens: usize::try_from(ask.min_tokens.unwrap_or(0)).unwrap_or(0),
        eos_ids: shell.settings.tokenizer.eos_ids().to_vec(),
    };
    let n = usize::try_from(ask.n.unwrap_or(1)).unwrap_or(1);
    let echo = ask.echo.unwrap_or(false) && style == Style::Completion;
    let echo_only = echo && ask.max_tokens == Some(0);
    let requests = requests(shell, &ask, style, &prompts, &stops, lora)?;
    let forced = shell.settings.args.enable_force_include_usage;
    let options = ask.stream_options.as_ref();
    let include_usage = forced
        || options
            .and_then(|options| options.include_usage)
            .unwrap_or(false);
    let continuous = forced
        || options
            .and_then(|options| options.continuous_usage_stats)
            .unwrap_or(false);
    let suffix = match (context.request_id(), ask.request_id.as_deref()) {
        (Some(id), _) | (None, Some(id)) => id.to_owned(),
        (None, None) => uuid::Uuid::new_v4().simple().to_string(),
    };
    Ok(Plan {
        style,
        id: format!("{}-{suffix}", style.id_prefix()),
        created: shell.clock.unix_s(),
        model,
        echo: echo.then(|| {
            prompts
                .iter()
                .map(|ids| shell.settings.tokenizer.decode(ids))
                .collect()
        }),
        prompts,
        n,
        requests,
        stops,
        stream: ask.stream.unwrap_or(false),
        include_usage,
        continuous_usage: include_usage && continuous,
        echo_only,
        return_token_ids: ask.return_token_ids.unwrap_or(false),
        cache_salt: ask.cache_salt,
        priority: ask.priority.unwrap_or(0),
    })
}

/// The name answers carry, and the adapter where the name is one's.
fn select_model(shell: &Shell, asked: Option<&str>) -> Result<(String, Option<Lora>), Failure> {
    let settings = &shell.settings;
    let Some(name) = asked.filter(|name| !name.is_empty()) else {
        return Ok((settings.model_name().to_owned(), None));
    };
    if settings.served_names.iter().any(|served| served == name) {
        return Ok((settings.model_name().to_owned(), None));
    }
    if let Some(lora) = settings.loras.iter().find(|lora| &*lora.name == name) {
        return Ok((name.to_owned(), Some(lora.clone())));
    }
    let loras = settings.loras.iter().map(|lora| lora.name.to_string());
    let known: Vec<String> = settings.served_names.iter().cloned().chain(loras).collect();
    Err(Failure::unknown_model(name, &known))
}

/// Values that make no sense, alone or together.
fn check(ask: &Ask<'_>, style: Style) -> Result<(), Failure> {
    if ask.stream_options.is_some() && !ask.stream.unwrap_or(false) {
        return Err(
            Failure::invalid("Stream options can only be defined when `stream=True`.")
                .param("stream_options"),
        );
    }
    let n = ask.n.unwrap_or(1);
    if !(1..=MAX_N).contains(&n) {
        return Err(Failure::invalid(format!("n must be from 1 to {MAX_N}, got {n}.")).param("n"));
    }
    match ask.temperature {
        Some(temperature) if temperature < 0.0 => {
            return Err(Failure::invalid(format!(
                "temperature must be non-negative, got {temperature}."
            ))
            .param("temperature"));
        }
        Some(0.0) if n > 1 => {
            return Err(Failure::invalid(format!(
                "n must be 1 when using greedy sampling, got {n}."
            ))
            .param("n"));
        }
        _ => {}
    }
    if let Some(top_p) = ask.top_p.filter(|top_p| !(*top_p > 0.0 && *top_p <= 1.0)) {
        return Err(
            Failure::invalid(format!("top_p must be in (0, 1], got {top_p}.")).param("top_p"),
        );
    }
    if let Some(chat_template) = &ask.chat_template
        && style == Style::Chat
        && !chat_template.is_empty()
    {
        return Err(Failure::invalid(
            "Chat template is passed with request, but requests are not trusted with one.",
        ));
    }
    ask.cache_salt.as_deref().map_or(Ok(()), check_salt)
}

fn check_salt(salt: &str) -> Result<(), Failure> {
    let chars = salt.chars().count();
    let wrong = !(1..=MAX_SALT_CHARS).contains(&chars) || salt.contains(['@', '/', '\\', '\0']);
    match wrong {
        true => Err(Failure::invalid(format!(
            "cache_salt must have 1 to {MAX_SALT_CHARS} characters and none of '@', '/', '\\' and NUL."
        ))
        .param("cache_salt")),
        false => Ok(()),
    }
}

fn prompt_tokens(shell: &Shell, ask: &Ask<'_>, style: Style) -> Result<Vec<Arc<[u32]>>, Failure> {
    let tokenizer = &shell.settings.tokenizer;
    let refused =
        |error: tokenize::EncodeError| Failure::invalid(error.to_string()).param("prompt");
    if style == Style::Chat {
        let text = chat_text(shell, ask)?;
        return Ok(vec![
            tokenizer
                .encode_with(&text, ask.add_special_tokens.unwrap_or(false))
                .map_err(refused)?
                .into(),
        ]);
    }
    let special = ask.add_special_tokens.unwrap_or(true);
    let tokens = |prompt: Prompt| match prompt {
        Prompt::Text(text) => tokenizer
            .encode_with(&text, special)
            .map(Arc::from)
            .map_err(refused),
        Prompt::Tokens(ids) => match ids.iter().find(|&&id| id >= tokenizer.vocab_size()) {
            Some(id) => {
                Err(Failure::invalid(format!("Token id {id} is out of vocabulary")).param("prompt"))
            }
            None => Ok(ids.into()),
        },
    };
    ask.prompts()?.into_iter().map(tokens).collect()
}

/// The prompt text of a conversation.
pub(crate) fn chat_text(shell: &Shell, ask: &Ask<'_>) -> Result<String, Failure> {
    let messages = ask
        .messages
        .as_ref()
        .ok_or_else(|| Failure::malformed("`messages` is required"))?;
    if messages.as_array().is_some_and(Vec::is_empty) {
        return Err(Failure::invalid("messages must not be empty").param("messages"));
    }
    let continued = ask.continue_final_message.unwrap_or(false);
    let options = ChatOptions {
        add_generation_prompt: ask.add_generation_prompt.unwrap_or(!continued),
        continue_final_message: continued,
        kwargs: ask.chat_template_kwargs.as_ref(),
        now_unix_s: shell.clock.unix_s() as i64,
    };
    let rendered = shell
        .settings
        .tokenizer
        .render_chat(messages, ask.tools.as_ref(), &options);
    rendered.map_err(|error| match error {
        tokenize::TemplateError::Messages(_) => Failure::malformed(error.to_string()),
        _ => Failure::invalid(error.to_string()).param("messages"),
    })
}

/// One sequence per prompt and choice, in the order of choice indexes.
fn requests(
    shell: &Shell,
    ask: &Ask<'_>,
    style: Style,
    prompts: &[Arc<[u32]>],
    stops: &Stops,
    lora: Option<Lora>,
) -> Result<Vec<Request>, Failure> {
    let n = ask.n.unwrap_or(1).max(1) as u64;
    let stop_token_ids = stop_tokens(ask, &stops.eos_ids);
    let salt: Option<Arc<str>> = ask.cache_salt.as_deref().map(Arc::from);
    let text = match shell.settings.args.text {
        TextMode::Filler => Text::Filler,
        TextMode::Echo => Text::Echo,
    };
    let mut requests = Vec::with_capacity(prompts.len() * n as usize);
    for prompt in prompts {
        let (max_tokens, stated) = max_tokens(shell, ask, style, prompt.len())?;
        for choice in 0..n {
            let seed = ask
                .seed
                .map(|seed| seed as u64)
                .map(|seed| seed.wrapping_add(choice));
            let seed =
                seed.or_else(|| (choice > 0).then(|| content_seed(prompt).wrapping_add(choice)));
            requests.push(Request {
                cache_salt: salt.clone(),
                lora: lora.clone(),
                skip_cache_read: ask.prompt_logprobs.is_some(),
                generation: Generation {
                    text,
                    seed,
                    stop_token_ids: Arc::clone(&stop_token_ids),
                    min_tokens: stops.min_tokens.min(max_tokens),
                    natural_tokens: (!stated).then(|| natural_tokens(prompt, choice)),
                },
                ..Request::new(Arc::clone(prompt), max_tokens)
            });
        }
    }
    Ok(requests)
}

/// End-of-text tokens unless ignored, then the client's own. The first is the one an invented text ends with.
fn stop_tokens(ask: &Ask<'_>, eos_ids: &[u32]) -> Arc<[u32]> {
    let eos = if ask.ignore_eos.unwrap_or(false) {
        &[]
    } else {
        eos_ids
    };
    eos.iter()
        .chain(ask.stop_token_ids.iter().flatten())
        .copied()
        .collect()
}

/// Tokens to generate at most, and whether the client said so.
fn max_tokens(
    shell: &Shell,
    ask: &Ask<'_>,
    style: Style,
    prompt_tokens: usize,
) -> Result<(usize, bool), Failure> {
    let limit = shell.settings.max_model_len();
    let stated = match style {
        Style::Chat => ask.max_completion_tokens.or(ask.max_tokens),
        Style::Completion => ask.max_tokens,
    };
    let echo_only = style == Style::Completion && stated == Some(0) && ask.echo.unwrap_or(false);
    let wanted = match (stated, style) {
        (Some(_), _) if echo_only => Some(1),
        (Some(tokens), _) if tokens < 1 => {
            return Err(
                Failure::invalid(format!("max_tokens must be at least 1, got {tokens}."))
                    .param("max_tokens"),
            );
        }
        (Some(tokens), _) => Some(usize::try_from(tokens).unwrap_or(usize::MAX)),
        (None, Style::Completion) => Some(DEFAULT_COMPLETION_TOKENS),
        (None, Style::Chat) => None,
    };
    if ask.min_tokens.unwrap_or(0) < 0
        || ask.min_tokens.unwrap_or(0) > wanted.map_or(i64::MAX, |most| most as i64)
    {
        return Err(
            Failure::invalid("min_tokens must be from 0 to max_tokens.").param("min_tokens")
        );
    }
    let output = wanted.unwrap_or(1);
    if prompt_tokens.saturating_add(output) > limit {
        return Err(Failure::invalid(format!(
            "This model's maximum context length is {limit} tokens. However, {output} output tokens were requested and the \
             prompt contains {prompt_tokens} input tokens. Shorten the prompt or ask for fewer output tokens."
        ))
        .param("input_tokens"));
    }
    Ok((wanted.unwrap_or(limit - prompt_tokens), wanted.is_some()))
}

/// Differs between prompts; the same for the same prompt on every engine.
fn content_seed(prompt: &[u32]) -> u64 {
    // FNV-1a over the ids.
    prompt.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &id| {
        (hash ^ u64::from(id)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn natural_tokens(prompt: &[u32], choice: u64) -> usize {
    let span = NATURAL_TOKENS.end - NATURAL_TOKENS.start;
    (NATURAL_TOKENS.start + (content_seed(prompt) >> 20).wrapping_add(choice * 37) % span) as usize
}

impl Plan {
    /// The state of every choice before its first token.
    pub(crate) fn choices(&self, shell: &Shell) -> Vec<Choice> {
        let per_prompt = |prompt: &Arc<[u32]>| {
            (0..self.n)
                .map(|_| Choice::new(&shell.settings.tokenizer, prompt))
                .collect::<Vec<_>>()
        };
        self.prompts.iter().flat_map(per_prompt).collect()
    }

    /// Tokens of the whole answer so far.
    pub(crate) fn usage(&self, shell: &Shell, choices: &[Choice]) -> Usage {
        let prompt_tokens: usize = self.prompts.iter().map(|prompt| prompt.len()).sum();
        let settings = &shell.settings;
        let details = settings.args.enable_prompt_tokens_details.then(|| {
            // Choices of one prompt share its lookup; the first one's counts.
            let cached_tokens = choices
                .iter()
                .step_by(self.n)
                .map(|choice| choice.cached_tokens)
                .sum();
            let created = self.prompts.iter().map(|prompt| {
                prompt.len() / settings.batch.block_size_tokens * settings.batch.block_size_tokens
            });
            let created = created.sum::<usize>().saturating_sub(cached_tokens);
            let created = if settings.batch.enable_prefix_caching {
                created
            } else {
                0
            };
            Details {
                cached_tokens,
                created_cache_tokens: (self.style == Style::Chat).then_some(created),
            }
        });
        let completion_tokens = if self.echo_only {
            0
        } else {
            choices.iter().map(|choice| choice.completion_tokens).sum()
        };
        Usage {
            prompt_tokens,
            completion_tokens,
            details,
        }
    }

    /// The prompt's text that opens choice `index`.
    pub(crate) fn echo_of(&self, index: usize) -> &str {
        self.echo
            .as_ref()
            .map_or("", |texts| texts[index / self.n].as_str())
    }
}

/// Waits for all choices and answers in one piece.
async fn whole(
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
                plan.return_token_ids,
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
        match plan.style {
            Style::Completion => json!({
                "index": index, "text": text, "logprobs": null, "finish_reason": reason, "stop_reason": stop_reason,
                "token_ids": token_ids, "prompt_logprobs": null,
                "prompt_token_ids": plan.return_token_ids.then(|| &plan.prompts[index / plan.n][..]),
            }),
            Style::Chat => json!({
                "index": index,
                "message": {
                    "role": "assistant", "content": text, "refusal": null, "annotations": null, "audio": null,
                    "function_call": null, "tool_calls": [], "reasoning": null,
                },
                "logprobs": null, "finish_reason": reason, "stop_reason": stop_reason, "token_ids": token_ids,
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
        "kv_transfer_params": null,
    });
    if plan.style == Style::Chat {
        body["prompt_logprobs"] = Value::Null;
        body["prompt_token_ids"] = json!(plan.return_token_ids.then(|| &plan.prompts[0][..]));
    }
    body
}

/// Silence after which a stream gets a comment; `None`: never.
pub(crate) fn keep_alive(shell: &Shell) -> Option<Duration> {
    let seconds = shell.settings.args.sse_keep_alive_interval;
    (seconds > 0.0).then(|| Duration::from_secs_f64(seconds))
}
