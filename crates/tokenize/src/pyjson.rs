//! How does Python write JSON? Chat templates were trained on its spacing, not on ours.

use serde_json::Value;

/// `json.dumps(value, ensure_ascii=False)`, with `indent` spaces a level where given.
pub(crate) fn dumps(value: &Value, indent: Option<usize>) -> String {
    let mut out = String::new();
    write(value, indent, 0, &mut out);
    out
}

fn write(value: &Value, indent: Option<usize>, level: usize, out: &mut String) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(index, indent, level + 1, out);
                write(item, indent, level + 1, out);
            }
            close(']', indent, level, out);
        }
        Value::Object(members) if !members.is_empty() => {
            out.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                separate(index, indent, level + 1, out);
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push_str(": ");
                write(member, indent, level + 1, out);
            }
            close('}', indent, level, out);
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn separate(index: usize, indent: Option<usize>, level: usize, out: &mut String) {
    if index > 0 {
        out.push(',');
    }
    match indent {
        Some(width) => new_line(width * level, out),
        None if index > 0 => out.push(' '),
        None => {}
    }
}

fn close(bracket: char, indent: Option<usize>, level: usize, out: &mut String) {
    if let Some(width) = indent {
        new_line(width * level, out);
    }
    out.push(bracket);
}

fn new_line(spaces: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', spaces));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacing_is_pythons() {
        let value = serde_json::json!({"a": [1, 2.5, null], "b": {}, "c": "é<"});
        assert_eq!(
            dumps(&value, None),
            r#"{"a": [1, 2.5, null], "b": {}, "c": "é<"}"#
        );
        assert_eq!(
            dumps(&serde_json::json!({"a": [1]}), Some(2)),
            "{\n  \"a\": [\n    1\n  ]\n}"
        );
    }
}
