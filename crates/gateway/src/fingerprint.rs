//! What of a request does scheduling need to know?

use engine_api::openai::{Content, Part, Prompt, RequestView, streams};
use fleet::Request;
use http::HeaderMap;
use kv_index::exact::TokenChain;
use kv_index::{BLOCK_BYTES, Chain, ChainHasher, Namespace, Slot};

use crate::headers;
use crate::route::Pool;
use crate::tokens::Prompts;

/// Prompts of one body that are hashed at most; further ones count as uncached.
const MAX_HASHED_PROMPTS: usize = 64;

/// A request as the fleet will see it, whichever endpoint it goes to.
#[derive(Default)]
pub(crate) struct Fingerprint {
    /// As engines know it; empty for "any".
    pub(crate) model: String,
    chains: Vec<Chain>,
    token_chains: Vec<TokenChain>,
    prompt_tokens: Option<u32>,
    max_tokens: Option<u32>,
    stream: bool,
    /// Headers that plugins read, lower case.
    headers: Vec<(String, String)>,
    pub(crate) explain: bool,
    /// Of the request's objective.
    pub(crate) priority: i32,
    media: bool,
}

impl Fingerprint {
    /// Of a parsed body, or of one that nobody looks into. `cache_salt` is the operator's, in place of the body's.
    pub(crate) fn of(
        view: Option<&RequestView<'_>>,
        pool: &Pool,
        cache_salt: Option<&str>,
        headers: &HeaderMap,
        prompts: &Prompts,
    ) -> Self {
        let headers = plugin_headers(pool, headers);
        let Some(view) = view else {
            return Self {
                headers,
                ..Self::default()
            };
        };
        let asked = view.model.as_deref().unwrap_or_default();
        let model = pool.engine_model(asked).to_owned();
        let salt = cache_salt.or(view.cache_salt.as_deref());
        Self {
            chains: chains(view, pool, &model, salt),
            token_chains: prompts.chains(pool, || adapter(pool, &model), salt),
            model,
            prompt_tokens: counted_tokens(&view.prompt),
            max_tokens: view
                .max_tokens
                .map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX)),
            stream: view.stream,
            headers,
            explain: false,
            priority: 0,
            media: pool.fleet().profile().reads_media() && holds_media(&view.prompt),
        }
    }

    /// Calls `with` with the request, endpoints in `exclude` left out.
    pub(crate) fn with_request<T>(
        &self,
        exclude: &[Slot],
        with: impl FnOnce(&Request<'_>) -> T,
    ) -> T {
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        with(&Request {
            model: &self.model,
            chains: &self.chains,
            token_chains: &self.token_chains,
            prompt_tokens: self.prompt_tokens,
            max_tokens: self.max_tokens,
            stream: self.stream,
            headers: &headers,
            exclude,
            explain: self.explain,
            priority: self.priority,
            media: self.media,
        })
    }
}

fn chains(view: &RequestView<'_>, pool: &Pool, model: &str, salt: Option<&str>) -> Vec<Chain> {
    if !pool.route.prefix_routing {
        return Vec::new();
    }
    let fleet_view = pool.fleet().view();
    // Without a name the engine takes its base model; the same prompt by that name shares its blocks.
    let model = match model.is_empty() {
        true => fleet_view.models().next().unwrap_or_default(),
        false => model,
    };
    let namespace = Namespace {
        model,
        lora: None,
        cache_salt: salt,
    };
    if !pool.fleet().profile().reads_prefix() {
        return lengths(&view.prompt);
    }
    hash(&view.prompt, pool, namespace)
}

/// `model`, where it is an adapter's name: engines keep its blocks apart from their base model's.
fn adapter<'m>(pool: &Pool, model: &'m str) -> Option<&'m str> {
    let view = pool.fleet().view();
    let mut cards = view
        .endpoints
        .iter()
        .filter_map(|endpoint| endpoint.models.as_ref())
        .flat_map(|cards| cards.iter());
    cards
        .any(|card| card.id == model && card.parent.is_some())
        .then_some(model)
}

/// One chain per prompt, in order. Hashing runs at memory speed, so even the largest body stays well under a
/// scheduler tick of the runtime.
fn hash(prompt: &Prompt<'_>, pool: &Pool, namespace: Namespace<'_>) -> Vec<Chain> {
    let count = prompt.count().min(MAX_HASHED_PROMPTS);
    let seed = pool.fleet().hash_seed();
    let room = stream_bytes(prompt);
    let mut hashers: Vec<ChainHasher> = (0..count)
        .map(|_| {
            ChainHasher::with_capacity_bytes(seed, namespace, room / count.max(1) + BLOCK_BYTES)
        })
        .collect();
    streams(prompt, |number, bytes| {
        if let Some(hasher) = hashers.get_mut(number) {
            hasher.update(bytes);
        }
    });
    hashers.into_iter().map(ChainHasher::finish).collect()
}

/// How long each prompt is, for a profile that reads nothing else of it.
fn lengths(prompt: &Prompt<'_>) -> Vec<Chain> {
    let mut bytes = vec![0; prompt.count().min(MAX_HASHED_PROMPTS)];
    streams(prompt, |number, piece| {
        if let Some(bytes) = bytes.get_mut(number) {
            *bytes += piece.len() as u64;
        }
    });
    bytes.into_iter().map(Chain::unhashed).collect()
}

/// About how long the canonical stream will be, where that is known without walking it.
fn stream_bytes(prompt: &Prompt<'_>) -> usize {
    match prompt {
        Prompt::Text(text) => text.len(),
        Prompt::Texts(texts) => texts.iter().map(|text| text.len()).sum(),
        Prompt::Tokens(ids) => ids.len() * 4,
        Prompt::TokenLists(lists) => lists.iter().map(|ids| ids.len() * 4).sum(),
        Prompt::Chat(_) | Prompt::None => 0,
    }
}

/// Exact prompt length, where the body holds token ids.
fn counted_tokens(prompt: &Prompt<'_>) -> Option<u32> {
    let tokens = match prompt {
        Prompt::Tokens(ids) => ids.len(),
        Prompt::TokenLists(lists) => lists.iter().map(Vec::len).sum(),
        _ => return None,
    };
    Some(u32::try_from(tokens).unwrap_or(u32::MAX))
}

/// Kinds of parts that are encoded before a prompt is computed.
const MEDIA: [&str; 5] = [
    "\"image_url\"",
    "\"video_url\"",
    "\"input_audio\"",
    "\"input_image\"",
    "\"image\"",
];

/// Whether a conversation holds a picture, a sound or a film.
fn holds_media(prompt: &Prompt<'_>) -> bool {
    let Prompt::Chat(chat) = prompt else {
        return false;
    };
    let is_media = |part: &Part<'_>| match part {
        Part::Raw(raw) => MEDIA.iter().any(|kind| raw.get().contains(kind)),
        Part::Text(_) => false,
    };
    chat.messages.iter().any(|message| match &message.content {
        Content::Parts(parts) => parts.iter().any(is_media),
        _ => false,
    })
}

fn plugin_headers(pool: &Pool, headers: &HeaderMap) -> Vec<(String, String)> {
    let profile = pool.fleet().profile();
    let wanted = profile.headers().iter();
    wanted
        .filter_map(|name| {
            let value = headers::spelt(headers, name)?;
            Some((name.clone(), value.to_owned()))
        })
        .collect()
}
