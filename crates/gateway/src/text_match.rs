//! Does a path, a header or a query parameter say what a route asks for?

/// Bytes that a compiled pattern may take; one that needs more is refused.
const PATTERN_BYTES: usize = 256 * 1024;

/// What a text has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum TextMatch {
    Exact(String),
    Pattern(Pattern),
}

impl TextMatch {
    pub(crate) fn fits(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text == exact,
            Self::Pattern(pattern) => pattern.fits(text),
        }
    }
}

/// A regular expression that the whole text has to match. Takes time linear in the text's length, whatever it says.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: regex::Regex,
}

impl Pattern {
    /// # Errors
    /// It is no regular expression of the RE2 kind, or too large a one; says where.
    pub fn new(pattern: &str) -> Result<Self, String> {
        regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
            .size_limit(PATTERN_BYTES)
            .build()
            .map(|regex| Self { regex })
            .map_err(|error| error.to_string())
    }

    pub(crate) fn fits(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Characters of the expression.
    pub(crate) fn len(&self) -> usize {
        self.regex.as_str().len()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(
            Pattern::new(pattern).unwrap().fits(text),
            expected,
            "{pattern} {text}"
        );
    }

    #[test]
    fn the_whole_text_has_to_match() {
        check("/v[12]/.*", "/v1/models", true);
        check("/v[12]/.*", "/x/v1/models", false);
        check("a|b", "b", true);
        check("a|b", "ab", false);
        check("", "", true);
        // Catastrophic for a backtracking matcher.
        check("(a+)+$", &format!("{}b", "a".repeat(20_000)), false);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for pattern in ["(", "a{1000}{1000}{1000}", "(?=a)"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }
}
