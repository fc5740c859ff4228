//! Which models does an endpoint serve?

use crate::json::{Cursor, Fault};
use crate::read::{number, text};

/// Cards that one list may hold.
pub const MAX_MODELS: usize = 65_536;

/// One entry of `/v1/models`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCard {
    pub id: String,
    /// Base model, for a LoRA adapter.
    pub parent: Option<String>,
    pub max_model_len: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
#[error("the model list is not of the form {{\"data\":[{{\"id\":…}}]}}: {0}")]
pub struct ModelsError(pub String);

impl From<Fault> for ModelsError {
    fn from(fault: Fault) -> Self {
        Self(match fault {
            Fault::Syntax { at, what } => format!("{what} at offset {at}"),
            Fault::TooDeep => "nested too deep".to_owned(),
        })
    }
}

/// Reads a `/v1/models` answer; members it does not know are passed over.
///
/// # Errors
/// [`ModelsError`] if the body is no JSON object with a list `data` of objects with a string `id` each.
pub fn parse(body: &[u8]) -> Result<Vec<ModelCard>, ModelsError> {
    let not_utf8 = |_| ModelsError("not UTF-8".to_owned());
    let mut at = Cursor::new(simdutf8::basic::from_utf8(body).map_err(not_utf8)?);
    let mut cards = None;
    at.object(|at, key| {
        if key != "data" {
            return Ok(at.skip()?);
        }
        let mut list = Vec::new();
        at.array(|at| {
            if list.len() == MAX_MODELS {
                return Err(ModelsError(format!("more than {MAX_MODELS} models")));
            }
            list.push(card(at)?);
            Ok(())
        })?;
        cards = Some(list);
        Ok::<(), ModelsError>(())
    })?;
    at.end()?;
    cards.ok_or_else(|| ModelsError("no `data`".to_owned()))
}

fn card(at: &mut Cursor<'_>) -> Result<ModelCard, ModelsError> {
    let (mut id, mut parent, mut max_model_len) = (None, None, None);
    at.object(|at, key| {
        match &*key {
            "id" => id = text(at)?,
            "parent" => parent = text(at)?,
            "max_model_len" => max_model_len = number(at)?,
            _ => at.skip()?,
        }
        Ok::<(), Fault>(())
    })?;
    let id = id.ok_or_else(|| ModelsError("a model without an `id`".to_owned()))?;
    Ok(ModelCard {
        id,
        parent,
        max_model_len,
    })
}
