//! How are adapters loaded and unloaded while the engine runs?

use http::{Response, StatusCode};
use serde::Deserialize;

use super::body::Body;
use super::reply::{self, Failure};
use super::request::parse;
use super::shell::Shell;

#[derive(Deserialize)]
struct Load {
    lora_name: String,
    lora_path: String,
    #[serde(default)]
    load_inplace: bool,
}

#[derive(Deserialize)]
struct Unload {
    lora_name: String,
}

pub(crate) fn load(shell: &Shell, body: &[u8]) -> Result<Response<Body>, Failure> {
    let ask: Load = parse(body)?;
    let (name, path) = (&ask.lora_name, &ask.lora_path);
    if name.is_empty() || path.is_empty() {
        return Err(Failure::user_input(
            "Both 'lora_name' and 'lora_path' must be provided.",
        ));
    }
    if shell
        .settings
        .served_names
        .iter()
        .any(|served| served == name)
    {
        return Err(Failure::user_input(format!(
            "The lora adapter '{name}' conflicts with a served base model."
        )));
    }
    shell
        .loras
        .load(name, path, ask.load_inplace)
        .map_err(|error| Failure::user_input(error.to_string()))?;
    Ok(reply::bare(
        StatusCode::OK,
        format!("Success: LoRA adapter '{name}' added successfully."),
    ))
}

pub(crate) fn unload(shell: &Shell, body: &[u8]) -> Result<Response<Body>, Failure> {
    let name = parse::<Unload>(body)?.lora_name;
    if name.is_empty() {
        return Err(Failure::user_input(
            "'lora_name' needs to be provided to unload a LoRA adapter.",
        ));
    }
    if !shell.loras.unload(&name) {
        return Err(Failure::not_found(format!(
            "The lora adapter '{name}' cannot be found."
        )));
    }
    Ok(reply::bare(
        StatusCode::OK,
        format!("Success: LoRA adapter '{name}' removed successfully."),
    ))
}
