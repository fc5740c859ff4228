//! What does a generation request ask the model for, and is that possible?

use std::sync::Arc;

use super::answer::{Choice, Details, Stops, Usage};
use super::generate::{Context, Style};
use super::reply::Failure;
use super::request::{Ask, Prompt};
use super::sequences::requests;
use super::shell::Shell;
use super::values::{check, logprobs, prompt_logprobs};
use crate::model::{Lora, Request};
use tokenize::ChatOptions;

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
    /// Alternatives shown with the log-probability of each token.
    pub(crate) logprobs: Option<usize>,
    /// The same for each token of the prompt.
    pub(crate) prompt_logprobs: Option<usize>,
}

/// Reads and checks the body of a request.
pub(crate) fn plan(context: &Context, style: Style, body: &[u8]) -> Result<Plan, Failure> {
    let shell = &context.shell;
    let mut ask = Ask::read(body)?;
    let (model, lora) = select_model(shell, ask.model.as_deref())?;
    check(&ask, style, shell.settings.tokenizer.vocab_size())?;
    let vocab_size = shell.settings.tokenizer.vocab_size();
    let logprobs = logprobs(&ask, style, vocab_size)?;
    let prompt_logprobs = prompt_logprobs(&ask, style, logprobs, vocab_size)?;
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
    let requests = match prompt_logprobs {
        Some(_) => requests.into_iter().map(without_cache).collect(),
        None => requests,
    };
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
        (None, None) => new_id(),
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
        logprobs,
        prompt_logprobs,
    })
}

/// Log-probabilities of a prompt need all of it computed.
fn without_cache(request: Request) -> Request {
    Request {
        skip_cache_read: true,
        ..request
    }
}

/// Sixteen hexadecimal digits, as vLLM's.
pub(crate) fn new_id() -> String {
    let mut id = uuid::Uuid::new_v4().simple().to_string();
    id.truncate(16);
    id
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
        let completion_tokens = choices.iter().map(|choice| choice.completion_tokens).sum();
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

/// The name answers carry, and the adapter where the name is one's.
fn select_model(shell: &Shell, asked: Option<&str>) -> Result<(String, Option<Lora>), Failure> {
    let settings = &shell.settings;
    let Some(name) = asked.filter(|name| !name.is_empty()) else {
        return Ok((settings.model_name().to_owned(), None));
    };
    if settings.served_names.iter().any(|served| served == name) {
        return Ok((settings.model_name().to_owned(), None));
    }
    if let Some(lora) = shell.loras.find(name) {
        return Ok((name.to_owned(), Some(lora)));
    }
    let loras = shell.loras.list().into_iter();
    let loras = loras.map(|lora| lora.name.to_string());
    let known: Vec<String> = settings.served_names.iter().cloned().chain(loras).collect();
    Err(Failure::unknown_model(name, &known))
}

fn prompt_tokens(shell: &Shell, ask: &Ask, style: Style) -> Result<Vec<Arc<[u32]>>, Failure> {
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
            Some(id) => Err(Failure::invalid(format!(
                "Token id {id} is out of vocabulary"
            ))),
            None => Ok(ids.into()),
        },
    };
    ask.prompts()?.into_iter().map(tokens).collect()
}

/// The prompt text of a conversation.
pub(crate) fn chat_text(shell: &Shell, ask: &Ask) -> Result<String, Failure> {
    let messages = ask
        .messages
        .as_ref()
        .ok_or_else(|| Failure::malformed("`messages` is required"))?;
    if messages.as_array().is_some_and(Vec::is_empty) {
        return Err(Failure::invalid("messages must not be empty"));
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
