//! Whose events does a topic announce?

/// `kv@<endpoint>@<model>`, the topic by which engines that share one subscriber tell who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic<'a> {
    /// Pod name, address or `host:port`.
    pub endpoint: &'a str,
    pub model: &'a str,
}

impl<'a> Topic<'a> {
    /// Reads a topic of that form; `None` for any other, the empty one included.
    pub fn parse(topic: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(topic).ok()?;
        let (endpoint, model) = text.strip_prefix("kv@")?.split_once('@')?;
        (!endpoint.is_empty()).then_some(Self { endpoint, model })
    }
}
