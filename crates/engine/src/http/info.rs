//! What does the engine say about itself?

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::body::Body;
use super::plan::new_id;
use super::reply;
use super::shell::Shell;
use crate::core::CoreError;
use crate::metrics::write_page;
use crate::settings::VLLM_VERSION;

pub(crate) fn version(shell: &Shell) -> Response<Body> {
    let profile = &shell.settings.profile;
    let about = json!({
        "version": VLLM_VERSION, "simulated": true, "server": "prefixgate engine",
        "accelerator": {
            "name": profile.name, "source": profile.source, "measured": profile.measured, "estimated": profile.estimated,
        },
        "time_scale": shell.settings.args.time_scale,
    });
    reply::json(StatusCode::OK, &about)
}

pub(crate) fn load(shell: &Shell) -> Response<Body> {
    reply::json(
        StatusCode::OK,
        &json!({"server_load": shell.open_requests()}),
    )
}

pub(crate) fn models(shell: &Shell) -> Response<Body> {
    let settings = &shell.settings;
    let created = shell.clock.unix_s();
    let card = |id: &str, root: &str, parent: Option<&str>| -> Value {
        json!({
            "id": id, "object": "model", "created": created, "owned_by": "vllm", "root": root, "parent": parent,
            "max_model_len": parent.is_none().then_some(settings.max_model_len()),
            "permission": [{
                "id": format!("modelperm-{}", new_id()), "object": "model_permission",
                "created": created, "allow_create_engine": false, "allow_sampling": true, "allow_logprobs": true,
                "allow_search_indices": false, "allow_view": true, "allow_fine_tuning": false, "organization": "*",
                "group": null, "is_blocking": false,
            }],
        })
    };
    let base = settings
        .served_names
        .iter()
        .map(|name| card(name, &settings.args.model, None));
    let adapters = shell.loras.list();
    let adapters = adapters
        .iter()
        .map(|lora| card(&lora.name, &lora.path, Some(settings.model_name())));
    let data: Vec<Value> = base.chain(adapters).collect();
    reply::json(StatusCode::OK, &json!({"object": "list", "data": data}))
}

/// Drops the prefix cache, unless requests hold blocks of it.
pub(crate) async fn reset_prefix_cache(shell: &Shell) -> Result<Response<Body>, CoreError> {
    let done = shell.core.reset_prefix_cache().await?;
    Ok(reply::json(StatusCode::OK, &json!({ "success": done })))
}

pub(crate) fn metrics(shell: &Shell) -> Response<Body> {
    let (stats, http) = (shell.core.stats.lock(), shell.http.lock());
    let page = write_page(
        &shell.settings,
        shell.loras.list().len(),
        &stats,
        &http,
        shell.clock.started_unix_s(),
    );
    reply::with_type(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        page,
    )
}

/// The figures an answer carries for a load balancer, as `TEXT` or `JSON`; nothing for another format.
pub(crate) fn orca(shell: &Shell, format: &str) -> Option<String> {
    let snapshot = shell.core.stats.lock().snapshot;
    let (waiting, usage) = (snapshot.waiting as f64, snapshot.kv_cache_usage);
    match format {
        "TEXT" => Some(format!(
            "TEXT named_metrics.num_requests_waiting={waiting:?}, named_metrics.kv_cache_usage_perc={usage:?}"
        )),
        "JSON" => {
            let metrics = json!({"named_metrics": {"num_requests_waiting": waiting, "kv_cache_usage_perc": usage}});
            Some(format!("JSON {metrics}"))
        }
        _ => None,
    }
}
