//! Which values are taken for a number or a truth?
//!
//! vLLM reads bodies with pydantic, which is lenient: `"16"`, `16.0` and `true` are whole numbers to it, `1` and `"yes"`
//! are truths, `"0.5"` is a number. For fields that may be absent or null.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Reads a whole number.
pub(crate) fn int<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    from.deserialize_any(Loose {
        expected: "a valid integer",
        number: whole,
        text: |text| {
            let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
            let zeros = !rest.is_empty() && rest.bytes().all(|byte| byte == b'0');
            whole.parse().ok().filter(|_| zeros)
        },
        integer: Some,
    })
}

/// Reads a number.
pub(crate) fn float<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    from.deserialize_any(Loose {
        expected: "a valid number",
        number: Some,
        text: |text| text.parse().ok(),
        integer: |integer| Some(integer as f64),
    })
}

/// Reads a truth.
pub(crate) fn truth<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    from.deserialize_any(Loose {
        expected: "a valid boolean",
        number: |number| whole(number).and_then(bit),
        text: |text| match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "t" | "yes" | "y" | "on" => Some(true),
            "0" | "false" | "f" | "no" | "n" | "off" => Some(false),
            _ => None,
        },
        integer: bit,
    })
}

/// The whole number that `number` is.
fn whole(number: f64) -> Option<i64> {
    // Below 2^63 a float without a fraction is a whole number of this size.
    (number.fract() == 0.0 && number.abs() < 9.2e18).then_some(number as i64)
}

fn bit(number: i64) -> Option<bool> {
    match number {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// How each kind of value is read; `None` for one that is not taken.
struct Loose<V> {
    expected: &'static str,
    number: fn(f64) -> Option<V>,
    text: fn(&str) -> Option<V>,
    integer: fn(i64) -> Option<V>,
}

fn taken<V, E: Error>(
    value: Option<V>,
    what: impl fmt::Display,
    expected: &str,
) -> Result<Option<V>, E> {
    match value {
        Some(value) => Ok(Some(value)),
        None => Err(E::custom(format!("{what} is not {expected}"))),
    }
}

impl<V> Visitor<'_> for Loose<V> {
    type Value = Option<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<V>, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Option<V>, E> {
        self.visit_i64(i64::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Option<V>, E> {
        taken((self.integer)(value), value, self.expected)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<V>, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            // Too large for a whole number here; a number all the same.
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<V>, E> {
        taken((self.number)(value), value, self.expected)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Option<V>, E> {
        taken((self.text)(value.trim()), "the string", self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Read {
        #[serde(default, deserialize_with = "int")]
        int: Option<i64>,
        #[serde(default, deserialize_with = "float")]
        float: Option<f64>,
        #[serde(default, deserialize_with = "truth")]
        truth: Option<bool>,
    }

    /// What `value` is as each of the three: `-` for null, `x` for an error.
    #[track_caller]
    fn check(value: &str, expected: [&str; 3]) {
        let show =
            |name: &str| match serde_json::from_str::<Read>(&format!("{{\"{name}\":{value}}}")) {
                Err(_) => "x".to_owned(),
                Ok(read) => match (read.int, read.float, read.truth) {
                    (Some(int), ..) => int.to_string(),
                    (_, Some(float), _) => float.to_string(),
                    (.., Some(truth)) => truth.to_string(),
                    _ => "-".to_owned(),
                },
            };
        assert_eq!(["int", "float", "truth"].map(show), expected, "{value}");
    }

    #[test]
    fn values_are_read_as_pydantic_reads_them() {
        check("null", ["-", "-", "-"]);
        check("16", ["16", "16", "x"]);
        check("-1", ["-1", "-1", "x"]);
        check("1.0", ["1", "1", "true"]);
        check("0.5", ["x", "0.5", "x"]);
        check("true", ["1", "1", "true"]);
        check("false", ["0", "0", "false"]);
        check("\"16\"", ["16", "16", "x"]);
        check("\" 16.0 \"", ["16", "16", "x"]);
        check("\"1\"", ["1", "1", "true"]);
        check("\"Yes\"", ["x", "x", "true"]);
        check("\"off\"", ["x", "x", "false"]);
        check("\"many\"", ["x", "x", "x"]);
        check(
            "9223372036854775807",
            ["9223372036854775807", "9223372036854776000", "x"],
        );
        check("9223372036854775808", ["x", "9223372036854776000", "x"]);
        check("[]", ["x", "x", "x"]);
        check("{}", ["x", "x", "x"]);
    }
}
