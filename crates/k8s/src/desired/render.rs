//! What do the `{{ … }}` in shared templates stand for?
//!
//! Configs written for KServe are Go templates. The expressions they are written with are understood: fields of the
//! service and of the controller's settings, `ChildName`, and pipes through `quote` or `toString`. Anything else in
//! double braces that is not one of them stays as it is (chat templates are full of braces), unless it begins as one.

use serde_json::Value;

use super::Settings;
use super::names::child;
use crate::types::LlmInferenceService;

/// Renders every string in `spec`.
///
/// # Errors
/// An expression begins as a template expression but names something that does not exist; quotes it.
pub(crate) fn render(
    spec: &mut Value,
    service: &LlmInferenceService,
    settings: &Settings,
) -> Result<(), String> {
    match spec {
        Value::String(text) if text.contains("{{") => {
            *text = render_text(text, service, settings)?;
        }
        Value::Array(items) => {
            for item in items {
                render(item, service, settings)?;
            }
        }
        Value::Object(fields) => {
            for value in fields.values_mut() {
                render(value, service, settings)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn render_text(
    text: &str,
    service: &LlmInferenceService,
    settings: &Settings,
) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let (before, after) = rest.split_at(start);
        out.push_str(before);
        let Some(end) = after.find("}}") else {
            out.push_str(after);
            return Ok(out);
        };
        let expression = after[2..end].trim_matches('-').trim();
        if is_template(expression) {
            out.push_str(&evaluate(expression, service, settings)?);
        } else {
            out.push_str(&after[..end + 2]);
        }
        rest = &after[end + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

fn is_template(expression: &str) -> bool {
    expression.starts_with("ChildName ")
        || expression
            .strip_prefix('.')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}

fn evaluate(
    expression: &str,
    service: &LlmInferenceService,
    settings: &Settings,
) -> Result<String, String> {
    let mut parts = expression.split('|').map(str::trim);
    let first = parts.next().unwrap_or_default();
    let mut value = match first.strip_prefix("ChildName ") {
        Some(arguments) => {
            let (parent, suffix) = arguments
                .trim()
                .split_once(char::is_whitespace)
                .ok_or_else(|| {
                    format!("{{{{ {expression} }}}}: ChildName needs a name and a suffix")
                })?;
            child(
                &field(parent, service, settings)?,
                suffix.trim().trim_matches(['`', '"']),
            )
        }
        None => field(first, service, settings)?,
    };
    for function in parts {
        match function {
            "quote" => value = format!("\"{value}\""),
            "toString" => {}
            other => {
                return Err(format!(
                    "{{{{ {expression} }}}}: there is no function {other}"
                ));
            }
        }
    }
    Ok(value)
}

fn field(path: &str, service: &LlmInferenceService, settings: &Settings) -> Result<String, String> {
    let metadata = &service.metadata;
    let name = || metadata.name.clone().unwrap_or_default();
    let found = match path {
        ".Name" | ".ObjectMeta.Name" => Some(name()),
        ".Namespace" | ".ObjectMeta.Namespace" => {
            Some(metadata.namespace.clone().unwrap_or_default())
        }
        ".GlobalConfig.SystemNamespace" => Some(settings.system_namespace.clone()),
        ".GlobalConfig.IngressGatewayName" => Some(settings.default_gateway.name.clone()),
        ".GlobalConfig.IngressGatewayNamespace" => settings.default_gateway.namespace.clone(),
        ".GlobalConfig.EnableTLS" => Some("false".to_owned()),
        ".GlobalConfig.ModelBasedRoutingHeaderName" => Some(super::route::MODEL_HEADER.to_owned()),
        ".GlobalConfig.InferencePoolNamespacedName" => Some(format!(
            "{}/{}",
            metadata.namespace.as_deref().unwrap_or_default(),
            super::names::pool(&name())
        )),
        ".Spec.Model.Name" => service.spec["model"]["name"]
            .as_str()
            .map(str::to_owned)
            .or_else(|| Some(name())),
        ".Spec.Model.URI" => service.spec["model"]["uri"].as_str().map(str::to_owned),
        _ => path
            .strip_prefix(".ObjectMeta.Labels.")
            .and_then(|label| metadata.labels.as_ref()?.get(label).cloned()),
    };
    found.ok_or_else(|| format!("{{{{ {path} }}}}: there is no such field"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let service = LlmInferenceService {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                name: Some("qwen".to_owned()),
                namespace: Some("team".to_owned()),
                ..Default::default()
            },
            spec: json!({"model": {"uri": "hf://a/b"}}),
            ..Default::default()
        };
        let mut value = json!({"args": [text]});
        let got = render(&mut value, &service, &Settings::default());
        match expected {
            Ok(expected) => assert_eq!((got, value["args"][0].as_str()), (Ok(()), Some(expected))),
            Err(part) => assert!(got.unwrap_err().contains(part)),
        }
    }

    #[test]
    fn expressions_of_shared_templates() {
        check("{{ .ObjectMeta.Name }}.{{.Namespace}}", Ok("qwen.team"));
        check(
            "{{ ChildName .ObjectMeta.Name `-epp-service` }}",
            Ok("qwen-epp-service"),
        );
        check("{{- .Spec.Model.Name | quote -}}", Ok("\"qwen\""));
        check(
            "{{ .GlobalConfig.InferencePoolNamespacedName }}",
            Ok("team/qwen-inference-pool"),
        );
        check(
            "{% for m in messages %}{{ m['content'] }}",
            Ok("{% for m in messages %}{{ m['content'] }}"),
        );
        check("{{ .Spec.Nothing }}", Err("no such field"));
        check("{{ .Name | upper }}", Err("no function upper"));
        check("open {{ .Name", Ok("open {{ .Name"));
    }
}
