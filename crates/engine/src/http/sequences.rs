//! Which sequences does the model get for a request, and how long may each become?

use std::sync::Arc;

use super::answer::Stops;
use super::generate::Style;
use super::reply::Failure;
use super::request::Ask;
use super::shell::Shell;
use crate::args::TextMode;
use crate::model::{Generation, Lora, Request, Text};

/// Most sequences of one request, over all its prompts and choices.
const MAX_SEQUENCES: u64 = 65_536;
/// Completion tokens where neither client nor route says.
const DEFAULT_COMPLETION_TOKENS: usize = 16;
/// An invented chat answer without a stated limit ends by itself within these many tokens.
const NATURAL_TOKENS: std::ops::Range<u64> = 32..257;

/// One sequence per prompt and choice, in the order of choice indexes.
pub(crate) fn requests(
    shell: &Shell,
    ask: &Ask,
    style: Style,
    prompts: &[Arc<[u32]>],
    stops: &Stops,
    lora: Option<Lora>,
) -> Result<Vec<Request>, Failure> {
    let n = ask.n.unwrap_or(1).max(1) as u64;
    if prompts.len() as u64 * n > MAX_SEQUENCES {
        return Err(Failure::invalid(format!(
            "{} prompts with {n} choices each are more than {MAX_SEQUENCES} sequences",
            prompts.len()
        )));
    }
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
fn stop_tokens(ask: &Ask, eos_ids: &[u32]) -> Arc<[u32]> {
    let eos = if ask.ignore_eos.unwrap_or(false) {
        &[]
    } else {
        eos_ids
    };
    // Ids outside the vocabulary were refused.
    let own = ask.stop_token_ids.iter().flatten();
    let own = own.filter_map(|&id| u32::try_from(id).ok());
    eos.iter().copied().chain(own).collect()
}

/// Tokens to generate at most, and whether the client said so.
fn max_tokens(
    shell: &Shell,
    ask: &Ask,
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
        (Some(tokens), _) if tokens < 1 => return Err(too_few(tokens)),
        (Some(tokens), _) if tokens > limit as i64 => {
            return Err(Failure::invalid(format!(
                "max_tokens={tokens} is more than the model's length, {limit}; ask for fewer output tokens."
            ))
            .param("max_tokens"));
        }
        (Some(tokens), _) => Some(usize::try_from(tokens).unwrap_or(usize::MAX)),
        (None, Style::Completion) => Some(DEFAULT_COMPLETION_TOKENS),
        (None, Style::Chat) => None,
    };
    if prompt_tokens > limit {
        return Err(Failure::invalid(format!(
            "This model's maximum context length is {limit} tokens, and the prompt alone has {prompt_tokens}. Shorten the prompt."
        ))
        .param("input_tokens"));
    }
    // What does not fit behind the prompt is left out without a word, as in vLLM.
    let room = limit - prompt_tokens;
    let most = wanted.map_or(room, |wanted| wanted.min(room));
    if most == 0 {
        return Err(too_few(0));
    }
    let least = ask.min_tokens.unwrap_or(0);
    if least < 0 || least > most as i64 {
        return Err(Failure::invalid(format!(
            "min_tokens must be from 0 to max_tokens, {most}; got {least}."
        )));
    }
    Ok((most, wanted.is_some()))
}

fn too_few(tokens: i64) -> Failure {
    Failure::invalid(format!("max_tokens must be at least 1, got {tokens}.")).param("max_tokens")
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
