//! Which values of a generation request make no sense, alone or together?

use super::generate::Style;
use super::logprobs::MAX_TOP;
use super::reply::Failure;
use super::request::{Ask, Logprobs};

/// Most choices per prompt, vLLM's default.
const MAX_N: i64 = 16_384;
/// Longest `cache_salt`, characters.
const MAX_SALT_CHARS: usize = 128;

/// Refuses what vLLM refuses.
pub(crate) fn check(ask: &Ask, style: Style, vocab_size: u32) -> Result<(), Failure> {
    check_stream(ask)?;
    check_sampling(ask)?;
    check_ranges(ask)?;
    if let Some(id) = ask
        .stop_token_ids
        .iter()
        .flatten()
        .find(|&&id| id < 0 || id >= i64::from(vocab_size))
    {
        return Err(Failure::invalid(format!(
            "stop_token_ids has {id}; the vocabulary has {vocab_size} tokens"
        ))
        .param("stop_token_ids"));
    }
    if style == Style::Completion
        && ask
            .suffix
            .as_deref()
            .is_some_and(|suffix| !suffix.is_empty())
    {
        return Err(Failure::invalid("suffix is not supported by this model").param("suffix"));
    }
    if style == Style::Chat {
        check_chat(ask)?;
    }
    ask.cache_salt.as_deref().map_or(Ok(()), check_salt)
}

fn check_stream(ask: &Ask) -> Result<(), Failure> {
    let stream = ask.stream.unwrap_or(false);
    let options = ask.stream_options.as_ref().is_some_and(|options| {
        options.include_usage.is_some() || options.continuous_usage_stats.is_some()
    });
    if options && !stream {
        return Err(
            Failure::invalid("Stream options can only be defined when `stream=True`.")
                .param("stream_options"),
        );
    }
    if stream && ask.prompt_logprobs.is_some() {
        return Err(
            Failure::invalid("prompt_logprobs are not available in streams")
                .param("prompt_logprobs"),
        );
    }
    Ok(())
}

fn check_sampling(ask: &Ask) -> Result<(), Failure> {
    let n = ask.n.unwrap_or(1);
    if !(1..=MAX_N).contains(&n) {
        return Err(Failure::invalid(format!(
            "n must be from 1 to {MAX_N}, got {n}."
        )));
    }
    match ask.temperature {
        Some(temperature) if temperature < 0.0 => Err(Failure::invalid(format!(
            "temperature must be non-negative, got {temperature}."
        ))
        .param("temperature")),
        Some(0.0) if n > 1 => Err(Failure::invalid(format!(
            "n must be 1 when using greedy sampling, got {n}."
        ))),
        _ => Ok(()),
    }
}

fn check_ranges(ask: &Ask) -> Result<(), Failure> {
    if let Some(top_p) = ask.top_p.filter(|top_p| !(*top_p > 0.0 && *top_p <= 1.0)) {
        return Err(
            Failure::invalid(format!("top_p must be in (0, 1], got {top_p}.")).param("top_p"),
        );
    }
    for (name, value, from, to) in [
        ("presence_penalty", ask.presence_penalty, -2.0, 2.0),
        ("frequency_penalty", ask.frequency_penalty, -2.0, 2.0),
        ("min_p", ask.min_p, 0.0, 1.0),
    ] {
        if let Some(value) = value.filter(|value| !(from..=to).contains(value)) {
            return Err(Failure::invalid(format!(
                "{name} must be in [{from}, {to}], got {value}."
            )));
        }
    }
    if let Some(penalty) = ask.repetition_penalty.filter(|penalty| *penalty <= 0.0) {
        return Err(Failure::invalid(format!(
            "repetition_penalty must be greater than zero, got {penalty}."
        )));
    }
    match ask.top_k {
        Some(top_k) if top_k < -1 => Err(Failure::invalid(format!(
            "top_k must be 0 or -1 (off), or at least 1, got {top_k}."
        ))),
        _ => Ok(()),
    }
}

fn check_chat(ask: &Ask) -> Result<(), Failure> {
    if ask
        .chat_template
        .as_deref()
        .is_some_and(|template| !template.is_empty())
    {
        return Err(Failure::invalid(
            "Chat template is passed with request, but requests are not trusted with one.",
        ));
    }
    if ask.continue_final_message == Some(true) && ask.add_generation_prompt == Some(true) {
        return Err(Failure::invalid(
            "continue_final_message and add_generation_prompt cannot both be true.",
        ));
    }
    Ok(())
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

/// How many alternatives are wanted at each token; `None`: no log-probabilities at all.
pub(crate) fn logprobs(ask: &Ask, style: Style, vocab_size: u32) -> Result<Option<usize>, Failure> {
    let wanted = match (style, &ask.logprobs) {
        (Style::Completion, Some(Logprobs::Top(top))) => Some((*top, "logprobs")),
        (Style::Chat, Some(Logprobs::Wanted(true) | Logprobs::Top(1))) => {
            Some((ask.top_logprobs.unwrap_or(0), "top_logprobs"))
        }
        (Style::Chat, _) if ask.top_logprobs.is_some_and(|top| top != 0) => {
            return Err(
                Failure::invalid("top_logprobs needs logprobs to be true").param("top_logprobs")
            );
        }
        _ => None,
    };
    match wanted {
        Some((top, name)) => bounded(top, name, "logprobs", vocab_size).map(Some),
        None => Ok(None),
    }
}

/// The same for the tokens of the prompt; an echo with log-probabilities asks for them too.
pub(crate) fn prompt_logprobs(
    ask: &Ask,
    style: Style,
    logprobs: Option<usize>,
    vocab_size: u32,
) -> Result<Option<usize>, Failure> {
    match ask.prompt_logprobs {
        Some(top) => bounded(top, "prompt_logprobs", "prompt_logprobs", vocab_size).map(Some),
        None if style == Style::Completion && ask.echo == Some(true) => Ok(logprobs),
        None => Ok(None),
    }
}

/// A number of tokens to show; -1 asks for the whole vocabulary. `name` is the field, `many` that of the limit.
fn bounded(
    top: i64,
    name: &'static str,
    many: &'static str,
    vocab_size: u32,
) -> Result<usize, Failure> {
    if top < -1 {
        return Err(Failure::invalid(format!("{name} must be -1 or more, got {top}.")).param(name));
    }
    let top = if top == -1 {
        i64::from(vocab_size)
    } else {
        top
    };
    if top > MAX_TOP {
        return Err(Failure::invalid(format!(
            "{many} of {top} tokens are asked for, the most is {MAX_TOP}"
        ))
        .param(many));
    }
    Ok(usize::try_from(top).unwrap_or(0))
}
