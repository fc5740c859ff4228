//! Which API does a path belong to?

/// What a request path asks for, as far as routing cares; the longest known suffix decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// `…/completions`
    Completions,
    /// `…/chat/completions`
    Chat,
    /// `…/messages`, Anthropic
    Messages,
    /// `…/responses`
    Responses,
    /// `/generate` of SGLang and `…/inference/v1/generate` of vLLM: text or tokens in
    Generate,
    /// `…/embeddings` and other routes with a model name but no reusable prefix
    Embeddings,
    /// anything else: forwarded without looking inside
    Other,
}

/// Known suffixes; of those that fit, the longest decides.
const SUFFIXES: &[(&str, Route)] = &[
    ("/completions", Route::Completions),
    ("/chat/completions", Route::Chat),
    ("/messages", Route::Messages),
    ("/responses", Route::Responses),
    ("/inference/v1/generate", Route::Generate),
    ("/embeddings", Route::Embeddings),
    ("/embed", Route::Embeddings),
    ("/pooling", Route::Embeddings),
    ("/classify", Route::Embeddings),
    ("/score", Route::Embeddings),
    ("/rerank", Route::Embeddings),
    ("/generative_scoring", Route::Embeddings),
    ("/tokenize", Route::Embeddings),
    ("/detokenize", Route::Embeddings),
    ("/images/generations", Route::Embeddings),
    ("/audio/speech", Route::Embeddings),
    ("/chat/completions/batch", Route::Embeddings),
    ("/chat/completions/render", Route::Embeddings),
    ("/completions/render", Route::Embeddings),
    ("/messages/render", Route::Embeddings),
    ("/responses/render", Route::Embeddings),
    ("/messages/count_tokens", Route::Embeddings),
];

impl Route {
    /// Classifies a request path; a query string after `?` is not looked at.
    pub fn of(path: &str) -> Self {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        // Below other paths it is another engine's route, with another body.
        if path == "/generate" {
            return Self::Generate;
        }
        SUFFIXES
            .iter()
            .filter(|(suffix, _)| path.ends_with(suffix))
            .max_by_key(|(suffix, _)| suffix.len())
            .map_or(Self::Other, |(_, route)| *route)
    }
}
