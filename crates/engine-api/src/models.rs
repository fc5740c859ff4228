//! Which models does an endpoint serve?

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

/// Reads a `/v1/models` answer.
pub fn parse(_body: &[u8]) -> Result<Vec<ModelCard>, ModelsError> {
    Ok(Vec::new())
}
