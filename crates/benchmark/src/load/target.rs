//! Which server, and under which path?

use url::Url;

/// An OpenAI-compatible address: scheme, host, port and an optional path prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub(crate) tls: bool,
    /// Without brackets, also for IPv6.
    pub(crate) host: String,
    pub(crate) port: u16,
    authority: String,
    /// Empty, or `/a/b` without a trailing slash.
    prefix: String,
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{text}` is not an address this tool can use: {why}; write one like http://127.0.0.1:8000"
)]
pub struct TargetError {
    text: String,
    why: String,
}

impl Target {
    /// Reads `http(s)://host[:port][/prefix]`. A missing scheme means http; a trailing `/v1` is dropped,
    /// because request paths bring their own.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let refuse = |why: String| TargetError {
            text: text.to_owned(),
            why,
        };
        let trimmed = text.trim();
        let full = if trimmed.contains("://") {
            trimmed.to_owned()
        } else {
            format!("http://{trimmed}")
        };
        let url = Url::parse(&full).map_err(|error| refuse(error.to_string()))?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(refuse(format!("unknown scheme `{other}`"))),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| refuse("it names no host".to_owned()))?;
        let port = url
            .port_or_known_default()
            .unwrap_or(if tls { 443 } else { 80 });
        let path = url.path().trim_end_matches('/');
        Ok(Self {
            tls,
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port,
            authority: format!("{host}:{port}"),
            prefix: path.strip_suffix("/v1").unwrap_or(path).to_owned(),
        })
    }

    /// `host:port`, as a Host header carries it.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Prefix and `path` (which starts with a slash) joined.
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// True when the host is this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self
                .host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &str, models_path: &str) {
        let target = Target::parse(text).unwrap();
        assert_eq!(target.to_string(), shown);
        assert_eq!(target.path("/v1/models"), models_path);
    }

    #[test]
    fn addresses_with_and_without_prefix() {
        check(
            "http://127.0.0.1:8000",
            "http://127.0.0.1:8000",
            "/v1/models",
        );
        check("127.0.0.1:8000/", "http://127.0.0.1:8000", "/v1/models");
        check("localhost:8000/v1", "http://localhost:8000", "/v1/models");
        check(
            "http://h/ns/name/",
            "http://h:80/ns/name",
            "/ns/name/v1/models",
        );
        check(
            "https://h/ns/name/v1",
            "https://h:443/ns/name",
            "/ns/name/v1/models",
        );
        check("http://[::1]:8000", "http://[::1]:8000", "/v1/models");
    }

    #[test]
    fn a_bad_address_says_what_and_how() {
        for text in ["ftp://h", "http://", "http://h:99999"] {
            let said = Target::parse(text).unwrap_err().to_string();
            assert!(
                said.contains(text) && said.contains("http://127.0.0.1:8000"),
                "{said}"
            );
        }
    }

    #[test]
    fn loopback_is_recognised() {
        for (text, expected) in [
            ("127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("localhost", true),
            ("10.0.0.1", false),
        ] {
            assert_eq!(
                Target::parse(text).unwrap().is_loopback(),
                expected,
                "{text}"
            );
        }
    }
}
