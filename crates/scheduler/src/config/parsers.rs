//! Which paths does a document let through, and who reads their bodies?

/// A body format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parser {
    Openai,
    Anthropic,
    Vllmhttp,
    /// Any path, body unread.
    Passthrough,
}

/// The parsers in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsers(pub Vec<Parser>);

impl Default for Parsers {
    fn default() -> Self {
        Self(vec![
            Parser::Openai,
            Parser::Anthropic,
            Parser::Vllmhttp,
            Parser::Passthrough,
        ])
    }
}

const OPENAI: &[&str] = &[
    "chat/completions",
    "completions",
    "embeddings",
    "responses",
    "conversations",
    "chat/completions/render",
    "completions/render",
    "images/generations",
];
const ANTHROPIC: &[&str] = &["messages", "messages/count_tokens"];
const VLLMHTTP: &[&str] = &["inference/v1/generate"];

impl Parser {
    fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Openai => OPENAI,
            Self::Anthropic => ANTHROPIC,
            Self::Vllmhttp => VLLMHTTP,
            Self::Passthrough => &[],
        }
    }

    /// Length of the longest suffix of `path` that this parser claims.
    fn claim(self, path: &str) -> Option<usize> {
        let ends = |suffix: &&&str| {
            path.strip_suffix(**suffix)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        self.suffixes()
            .iter()
            .filter(ends)
            .map(|suffix| suffix.len())
            .max()
    }
}

impl Parsers {
    /// Who reads `path` (no query): the longest claimed suffix wins. `None` when nobody does and there is no
    /// `passthrough-parser`: then the request is a bad one.
    pub fn claim(&self, path: &str) -> Option<Parser> {
        let mut claims: Vec<(usize, Parser)> = self
            .0
            .iter()
            .filter_map(|parser| Some((parser.claim(path)?, *parser)))
            .collect();
        if claims.is_empty() && self.0.contains(&Parser::Vllmhttp) {
            // The field's vllmhttp-parser hands everything but its own path to the OpenAI one.
            claims.extend(
                Parser::Openai
                    .claim(path)
                    .map(|length| (length, Parser::Openai)),
            );
        }
        let passthrough = self
            .0
            .contains(&Parser::Passthrough)
            .then_some(Parser::Passthrough);
        claims
            .into_iter()
            .max_by_key(|(length, _)| *length)
            .map(|(_, parser)| parser)
            .or(passthrough)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_suffix_claims_a_path() {
        let check = |parsers: &[Parser], path: &str, expected: Option<Parser>| {
            assert_eq!(Parsers(parsers.to_vec()).claim(path), expected, "{path}");
        };
        let all = Parsers::default().0;
        check(&all, "/v1/chat/completions", Some(Parser::Openai));
        check(
            &all,
            "/ns/pool/v1/messages/count_tokens",
            Some(Parser::Anthropic),
        );
        check(&all, "/inference/v1/generate", Some(Parser::Vllmhttp));
        check(&all, "/tokenize", Some(Parser::Passthrough));
        check(&all, "/v1/mycompletions", Some(Parser::Passthrough));
        check(&[Parser::Openai], "/v1/completions", Some(Parser::Openai));
        check(&[Parser::Openai], "/tokenize", None);
        check(&[Parser::Vllmhttp], "/v1/completions", Some(Parser::Openai));
        check(&[Parser::Vllmhttp], "/v1/messages", None);
    }
}
