//! Where in the hub's cache are a model's files?
//!
//! The layout that Hugging Face's libraries share: `models--{owner}--{name}/refs/{revision}` names a commit, whose files
//! are in `snapshots/{commit}`. Only read here; nothing is fetched.

use std::path::{Path, PathBuf};

/// Why a model is not there.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("`{0}` is not a model's name; expected OWNER/NAME")]
    Name(String),
    #[error(
        "{model} is not in the hub's cache {cache}; fetch it there with `hf download {model}`, or give its directory"
    )]
    Missing { model: String, cache: PathBuf },
}

/// The directory of `model`'s files at `revision` (a branch such as `main`, or a commit).
///
/// # Errors
/// It is not in `cache`, or the name is none.
pub fn snapshot(cache: &Path, model: &str, revision: &str) -> Result<PathBuf, HubError> {
    let plain = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0', '/'])
    };
    let parts: Vec<&str> = model.split('/').collect();
    if parts.len() > 2 || !parts.iter().all(|part| plain(part)) || !plain(revision) {
        return Err(HubError::Name(model.to_owned()));
    }
    let folder = cache.join(format!("models--{}", parts.join("--")));
    let named = std::fs::read_to_string(folder.join("refs").join(revision)).ok();
    let commit = named.as_deref().map_or(revision, str::trim);
    let snapshot = folder.join("snapshots").join(commit);
    match plain(commit) && snapshot.join("tokenizer.json").exists() {
        true => Ok(snapshot),
        false => Err(HubError::Missing {
            model: model.to_owned(),
            cache: cache.to_owned(),
        }),
    }
}
