//! Which endpoint does a URL name?

use std::collections::BTreeMap;

use fleet::EndpointSpec;
use url::Url;

use crate::PoolError;

/// Reads `http://host:port[/base]` or `https://…`; a bare `host:port` is taken as `http`. The port defaults to the
/// scheme's, a trailing slash goes, and so does a trailing `/v1`: request paths carry it already.
///
/// # Errors
/// [`PoolError::Url`] saying what is wrong with it.
pub fn endpoint_from_url(url: &str) -> Result<EndpointSpec, PoolError> {
    read(url.trim()).map_err(|reason| PoolError::Url {
        url: redacted(url),
        reason,
    })
}

fn read(text: &str) -> Result<EndpointSpec, String> {
    if text.is_empty() {
        return Err("is empty; give a URL such as http://127.0.0.1:8101".to_owned());
    }
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let url = Url::parse(&with_scheme).map_err(|error| format!("not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "scheme `{}` is not supported; use http or https",
            url.scheme()
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds credentials; name the key's variable in `api_key_env`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end after the path: no `?` and no `#`".to_owned());
    }
    let host = url.host_str().ok_or("has no host")?;
    let port = url.port_or_known_default().ok_or("has no port")?;
    if port == 0 {
        return Err("port 0 cannot be connected to".to_owned());
    }
    let path = url.path().trim_end_matches('/');
    let base = path.strip_suffix("/v1").unwrap_or(path);
    let address = format!("{host}:{port}");
    Ok(EndpointSpec {
        name: format!("{address}{base}").into(),
        url: format!("{}://{address}{base}", url.scheme()).into(),
        address: address.into(),
        rank: None,
        labels: BTreeMap::new(),
    })
}

/// The text for a message, without the secret it may hold between `//` and `@`.
fn redacted(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => {
            format!("{}…{}", &text[..scheme + 3], &text[at..])
        }
        (None, Some(at)) => format!("…{}", &text[at..]),
        _ => text.to_owned(),
    }
}
