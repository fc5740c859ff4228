//! How are a data plane's headers and metadata read?

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::service::ext_proc::v3 as ext;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::error::Refusal;
use crate::headers;
use crate::inbound::Inbound;
use crate::pick::Among;

/// Namespace of the candidate restriction, and its key.
const SUBSET_NAMESPACE: &str = "envoy.lb.subset_hint";
const SUBSET_KEY: &str = "x-gateway-destination-endpoint-subset";
/// Namespace of destination and feedback.
pub(super) const LB_NAMESPACE: &str = "envoy.lb";
const SERVED_KEY: &str = "x-gateway-destination-endpoint-served";
/// Namespace of attributes that the data plane was told to send along.
const ATTRIBUTES: &str = "envoy.filters.http.ext_proc";
const SERVED_ATTRIBUTE: &str = "upstream.address";

/// Paths told elsewhere than in `:path`, in the order in which they are believed.
static OTHER_PATHS: [&str; 2] = ["x-original-path", "x-forwarded-path"];
/// Where no path is told at all.
const ASSUMED_PATH: &str = "/v1/completions";

/// The value of a header, whichever of its two fields holds it.
fn value(header: &core::HeaderValue) -> &[u8] {
    if header.raw_value.is_empty() {
        header.value.as_bytes()
    } else {
        &header.raw_value
    }
}

/// Pseudo-headers and headers; names in lower case, whatever is no header left out.
struct Read {
    method: Method,
    path: Option<String>,
    status: Option<u16>,
    headers: HeaderMap,
}

fn read(message: Option<&core::HeaderMap>) -> Read {
    let mut read = Read {
        method: Method::POST,
        path: None,
        status: None,
        headers: HeaderMap::new(),
    };
    for header in message.iter().flat_map(|message| &message.headers) {
        let bytes = value(header);
        let text = || std::str::from_utf8(bytes).unwrap_or_default();
        if let Some(pseudo) = header.key.strip_prefix(':') {
            match pseudo {
                "method" => read.method = text().parse().unwrap_or(Method::POST),
                "path" => read.path = Some(text().to_owned()),
                "status" => read.status = text().parse().ok(),
                "authority" => {
                    if let Ok(host) = HeaderValue::from_bytes(bytes) {
                        read.headers.insert(http::header::HOST, host);
                    }
                }
                _ => {}
            }
            continue;
        }
        let name = HeaderName::from_bytes(header.key.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(bytes)) {
            read.headers.append(name, value);
        }
    }
    read
}

/// The request that `message` begins.
///
/// # Errors
/// [`Refusal::NotFound`] for a path that is none.
pub(super) fn inbound(message: &ext::HttpHeaders) -> Result<Inbound, Refusal> {
    let Read {
        method,
        path,
        mut headers,
        ..
    } = read(message.headers.as_ref());
    let told = |name: &&str| {
        let value = headers.get(*name)?.to_str().ok()?;
        value.starts_with('/').then(|| value.to_owned())
    };
    let path = path
        .filter(|path| !path.is_empty())
        .or_else(|| OTHER_PATHS.iter().find_map(told))
        .unwrap_or_else(|| ASSUMED_PATH.to_owned());
    let uri: Uri = path.parse().map_err(|_| Refusal::NotFound)?;
    headers::unite_spellings(&mut headers);
    Ok(Inbound {
        request_id: headers::request_id(&headers),
        method,
        uri,
        headers,
        // The data plane writes `x-forwarded-for` itself.
        client: None,
        prefix_bytes: 0,
    })
}

/// What a response begins with.
pub(super) struct ResponseStart {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

pub(super) fn response(message: &ext::HttpHeaders) -> ResponseStart {
    let Read {
        status, headers, ..
    } = read(message.headers.as_ref());
    let spelt_out = || headers.get("status")?.to_str().ok()?.parse().ok();
    let status = status.or_else(spelt_out).unwrap_or(200);
    ResponseStart {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::OK),
        headers,
    }
}

fn field<'a>(metadata: Option<&'a core::Metadata>, namespace: &str, key: &str) -> Option<&'a Kind> {
    let fields = &metadata?.filter_metadata.get(namespace)?.fields;
    fields.get(key)?.kind.as_ref()
}

/// The restriction that came with the request; a list or a comma-separated text. Present but empty leaves nobody.
pub(super) fn subset(metadata: Option<&core::Metadata>) -> Among {
    let listed = |text: &str| -> Vec<String> {
        let parts = text.split(',').map(str::trim);
        parts
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    match field(metadata, SUBSET_NAMESPACE, SUBSET_KEY) {
        None | Some(Kind::NullValue(_)) => Among::All,
        Some(Kind::StringValue(text)) => Among::Listed(listed(text)),
        Some(Kind::ListValue(list)) => {
            let texts = list.values.iter().filter_map(text);
            Among::Listed(texts.flat_map(listed).collect())
        }
        Some(_) => Among::Listed(Vec::new()),
    }
}

fn text(value: &Value) -> Option<&str> {
    match &value.kind {
        Some(Kind::StringValue(text)) => Some(text),
        _ => None,
    }
}

/// `ip:port` that served, as metadata says or else the `upstream.address` attribute; `None` where neither is sent.
pub(super) fn served(message: &ext::ProcessingRequest) -> Option<&str> {
    match field(message.metadata_context.as_ref(), LB_NAMESPACE, SERVED_KEY) {
        Some(Kind::StringValue(text)) if !text.is_empty() => Some(text),
        _ => {
            let attributes: Option<&Struct> = message.attributes.get(ATTRIBUTES);
            let told = attributes?.fields.get(SERVED_ATTRIBUTE)?;
            text(told).filter(|text| !text.is_empty())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::google::protobuf::ListValue;

    fn metadata(kind: Kind) -> core::Metadata {
        let fields = [(SUBSET_KEY.to_owned(), Value { kind: Some(kind) })];
        let hint = Struct {
            fields: fields.into(),
        };
        core::Metadata {
            filter_metadata: [(SUBSET_NAMESPACE.to_owned(), hint)].into(),
            ..core::Metadata::default()
        }
    }

    #[test]
    fn subset_hints() {
        let string = |text: &str| Kind::StringValue(text.to_owned());
        let list = |texts: &[Kind]| {
            Kind::ListValue(ListValue {
                values: texts
                    .iter()
                    .map(|kind| Value {
                        kind: Some(kind.clone()),
                    })
                    .collect(),
            })
        };
        let two = Among::Listed(vec!["1.2.3.4:5".to_owned(), "6.7.8.9".to_owned()]);
        let none = Among::Listed(Vec::new());
        for (kind, expected) in [
            (string("1.2.3.4:5, 6.7.8.9"), &two),
            (list(&[string("1.2.3.4:5"), string("6.7.8.9")]), &two),
            (
                list(&[
                    string("1.2.3.4:5"),
                    Kind::NumberValue(1.0),
                    string("6.7.8.9"),
                ]),
                &two,
            ),
            (string(""), &none),
            (list(&[]), &none),
            (Kind::BoolValue(true), &none),
        ] {
            assert_eq!(&subset(Some(&metadata(kind.clone()))), expected, "{kind:?}");
        }
        assert_eq!(subset(None), Among::All);
        assert_eq!(subset(Some(&core::Metadata::default())), Among::All);
    }

    fn message(pairs: &[(&str, &str, &[u8])]) -> ext::HttpHeaders {
        let headers = pairs.iter().map(|(key, value, raw)| core::HeaderValue {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            raw_value: raw.to_vec(),
        });
        ext::HttpHeaders {
            headers: Some(core::HeaderMap {
                headers: headers.collect(),
            }),
            ..ext::HttpHeaders::default()
        }
    }

    #[test]
    fn raw_values_win_and_names_are_lower_case() {
        let read = inbound(&message(&[
            (":method", "", b"GET"),
            (":path", "/v1/models?x=1", b""),
            (":authority", "a.example", b""),
            ("X-Mixed", "plain", b"raw"),
            ("x-slo-ttft-ms", "100", b""),
            ("bad name", "dropped", b""),
        ]))
        .unwrap_or_else(|refusal| panic!("{refusal}"));
        assert_eq!(read.method, Method::GET);
        assert_eq!(read.path_and_query(), "/v1/models?x=1");
        assert_eq!(read.headers["x-mixed"], "raw");
        assert_eq!(read.headers["x-llm-d-slo-ttft-ms"], "100");
        assert_eq!(read.headers.len(), 4);
    }

    #[test]
    fn a_path_told_elsewhere() {
        for (pairs, expected) in [
            (vec![], ASSUMED_PATH),
            (vec![("x-original-path", "/v1/a", &b""[..])], "/v1/a"),
            (
                vec![
                    ("x-forwarded-path", "/v1/b", &b""[..]),
                    ("x-original-path", "/v1/a", b""),
                ],
                "/v1/a",
            ),
        ] {
            let read = inbound(&message(&pairs)).unwrap_or_else(|refusal| panic!("{refusal}"));
            assert_eq!(read.path(), expected);
        }
    }
}
