//! How is one field of a body changed without touching a byte of the rest?

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// `body` with the top-level string `field` set to `value`: replaced where it stands (its last occurrence, which
/// is the one that counts), else put first. `None` when the body is no JSON object.
pub(crate) fn set(body: &Bytes, field: &str, value: &str) -> Option<Bytes> {
    let text = std::str::from_utf8(body).ok()?;
    let quoted = serde_json::to_string(value).ok()?;
    let (range, insert) = match find(text, field)? {
        Found::At(range) => (range, quoted),
        Found::Absent { is_empty } => {
            let start = text.find('{')? + 1;
            let comma = if is_empty { "" } else { "," };
            let name = serde_json::to_string(field).ok()?;
            (start..start, format!("{name}:{quoted}{comma}"))
        }
    };
    let mut out = Vec::with_capacity(body.len() + insert.len());
    out.extend_from_slice(&body[..range.start]);
    out.extend_from_slice(insert.as_bytes());
    out.extend_from_slice(&body[range.end..]);
    Some(Bytes::from(out))
}

enum Found {
    /// Where the value stands.
    At(Range<usize>),
    Absent {
        is_empty: bool,
    },
}

fn find(text: &str, field: &str) -> Option<Found> {
    struct Search<'f> {
        field: &'f str,
    }
    impl<'de> Visitor<'de> for Search<'_> {
        type Value = (Option<&'de RawValue>, bool);

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let (mut found, mut is_empty) = (None, true);
            while let Some(Key(key)) = map.next_key()? {
                is_empty = false;
                if key == self.field {
                    found = Some(map.next_value::<&'de RawValue>()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok((found, is_empty))
        }
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let (found, is_empty) = reader.deserialize_map(Search { field }).ok()?;
    Some(match found {
        Some(raw) => {
            let start = raw.get().as_ptr() as usize - text.as_ptr() as usize;
            Found::At(start..start + raw.get().len())
        }
        None => Found::Absent { is_empty },
    })
}

/// A key, borrowed unless it holds escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Text).map(Key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_field_changes() {
        let cases = [
            (r#"{"model":"a","x":1}"#, r#"{"model":"b\"c","x":1}"#),
            (
                r#" { "x" : 1 , "model" : "a" } "#,
                r#" { "x" : 1 , "model" : "b\"c" } "#,
            ),
            (
                r#"{"x":{"model":"a"}}"#,
                r#"{"model":"b\"c","x":{"model":"a"}}"#,
            ),
            (r#"{"mod\u0065l":"a"}"#, r#"{"mod\u0065l":"b\"c"}"#),
            (
                r#"{"model":"a","model":null}"#,
                r#"{"model":"a","model":"b\"c"}"#,
            ),
            ("{}", r#"{"model":"b\"c"}"#),
            ("{ }", r#"{"model":"b\"c" }"#),
        ];
        for (body, expected) in cases {
            let got = set(&Bytes::from(body), "model", "b\"c").unwrap();
            assert_eq!(std::str::from_utf8(&got).unwrap(), expected);
        }
        assert_eq!(set(&Bytes::from("[1]"), "model", "b"), None);
        assert_eq!(set(&Bytes::from("{"), "model", "b"), None);
    }
}
