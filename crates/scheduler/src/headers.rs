//! Is this a header's name?

use crate::config::ParamError;

/// `name` in lower case.
///
/// # Errors
/// Anything that could not be the name of a header, blamed on `parameter`.
pub(crate) fn header_name(parameter: &'static str, name: &str) -> Result<String, ParamError> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        return Err(ParamError::new(parameter, "must be a header name"));
    }
    Ok(name.to_ascii_lowercase())
}
