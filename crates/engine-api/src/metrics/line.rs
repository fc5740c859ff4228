//! What does one line of a Prometheus page say?

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// A line that may hold a sample: no comment, not empty.
#[derive(Clone, Copy)]
pub(super) struct Line<'a>(&'a [u8]);

/// The lines of a page that may hold samples.
pub(super) struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    pub(super) fn of(page: &'a [u8]) -> Self {
        Self { rest: page }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        while !self.rest.is_empty() {
            let end = memchr(b'\n', self.rest).unwrap_or(self.rest.len());
            let (line, rest) = self.rest.split_at(end);
            self.rest = rest.get(1..).unwrap_or_default();
            let line = line.trim_ascii_start();
            if !matches!(line.first(), None | Some(b'#')) {
                return Some(Line(line));
            }
        }
        None
    }
}

impl<'a> Line<'a> {
    pub(super) fn starts_with(&self, prefix: &[u8]) -> bool {
        self.0.starts_with(prefix)
    }

    /// The metric's name without a counter's `_total`, if its length is one that is wanted.
    #[inline]
    pub(super) fn name(&self, wanted: impl Fn(usize) -> bool) -> Option<&'a [u8]> {
        let end = memchr2(b'{', b' ', self.0).or_else(|| memchr(b'\t', self.0))?;
        let name = self.0[..end].trim_ascii_end();
        let name = name.strip_suffix(b"_total").unwrap_or(name);
        wanted(name.len()).then_some(name)
    }
}

/// One sample: labels unparsed, value read.
pub(super) struct Series<'a> {
    labels: &'a [u8],
    pub(super) value: f64,
}

impl<'a> Series<'a> {
    /// Reads the sample on `line`; nothing if it is malformed. A time stamp or exemplar behind the value is
    /// passed over.
    pub(super) fn read(line: Line<'a>, name: &[u8]) -> Option<Self> {
        let mut rest = &line.0[name.len()..];
        rest = rest
            .strip_prefix(b"_total")
            .unwrap_or(rest)
            .trim_ascii_start();
        let mut labels: &[u8] = &[];
        if let Some(inside) = rest.strip_prefix(b"{") {
            let end = closing_brace(inside)?;
            labels = &inside[..end];
            rest = inside[end + 1..].trim_ascii_start();
        }
        let written = rest.split(u8::is_ascii_whitespace).next()?;
        let value = std::str::from_utf8(written).ok()?.parse().ok()?;
        Some(Self { labels, value })
    }

    /// The value of label `name`, unescaped.
    pub(super) fn label(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut rest = self.labels;
        loop {
            let equals = memchr(b'=', rest)?;
            let key = rest[..equals].trim_ascii();
            let quoted = rest[equals + 1..].trim_ascii_start().strip_prefix(b"\"")?;
            let end = closing_quote(quoted)?;
            if key == name.as_bytes() {
                return Some(unescape(&quoted[..end]));
            }
            let after = quoted[end + 1..].trim_ascii_start();
            rest = after.strip_prefix(b",").unwrap_or(after);
        }
    }
}

/// Offset of the brace that closes a label set, not counting those inside quotes.
fn closing_brace(labels: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'}', &labels[at..])?;
        if labels[at] == b'}' {
            return Some(at);
        }
        at += 1 + closing_quote(&labels[at + 1..])? + 1;
    }
}

/// Offset of the quote that ends a label value.
fn closing_quote(value: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', value.get(at..)?)?;
        if value[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

fn unescape(value: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(value);
    if memchr(b'\\', value).is_none() {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => {}
            },
            other => plain.push(other),
        }
    }
    Cow::Owned(plain)
}
