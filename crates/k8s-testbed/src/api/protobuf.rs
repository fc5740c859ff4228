//! What does a client write that speaks protobuf?
//!
//! `kubectl` sends built-in kinds so and does not ask first. The few kinds that its own commands make are read; answers
//! are JSON, which every client takes.

use serde_json::{Map, Value, json};

use crate::status::Status;

/// Comes before every object.
const MAGIC: &[u8] = b"k8s\0";

/// How a field's bytes are read.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    /// Kept encoded, as JSON has it.
    Bytes,
    Truth,
    Number,
    Message(&'static [Field]),
    /// From text to this.
    Map(&'static Shape),
    List(&'static Shape),
}

/// Number, name and shape.
type Field = (u64, &'static str, Shape);

const METADATA: &[Field] = &[
    (1, "name", Shape::Text),
    (2, "generateName", Shape::Text),
    (3, "namespace", Shape::Text),
    (5, "uid", Shape::Text),
    (6, "resourceVersion", Shape::Text),
    (11, "labels", Shape::Map(&Shape::Text)),
    (12, "annotations", Shape::Map(&Shape::Text)),
    (14, "finalizers", Shape::List(&Shape::Text)),
];
const NAMESPACE: &[Field] = &[(1, "metadata", Shape::Message(METADATA))];
const SECRET: &[Field] = &[
    (1, "metadata", Shape::Message(METADATA)),
    (2, "data", Shape::Map(&Shape::Bytes)),
    (3, "type", Shape::Text),
    (4, "stringData", Shape::Map(&Shape::Text)),
    (5, "immutable", Shape::Truth),
];
const CONFIG_MAP: &[Field] = &[
    (1, "metadata", Shape::Message(METADATA)),
    (2, "data", Shape::Map(&Shape::Text)),
    (3, "binaryData", Shape::Map(&Shape::Bytes)),
    (4, "immutable", Shape::Truth),
];
const RESOURCE: &[Field] = &[
    (1, "namespace", Shape::Text),
    (2, "verb", Shape::Text),
    (3, "group", Shape::Text),
    (4, "version", Shape::Text),
    (5, "resource", Shape::Text),
    (6, "subresource", Shape::Text),
    (7, "name", Shape::Text),
];
const NO_RESOURCE: &[Field] = &[(1, "path", Shape::Text), (2, "verb", Shape::Text)];
const REVIEW_SPEC: &[Field] = &[
    (1, "resourceAttributes", Shape::Message(RESOURCE)),
    (2, "nonResourceAttributes", Shape::Message(NO_RESOURCE)),
];
const REVIEW: &[Field] = &[
    (1, "metadata", Shape::Message(METADATA)),
    (2, "spec", Shape::Message(REVIEW_SPEC)),
];
const PRECONDITIONS: &[Field] = &[(1, "uid", Shape::Text), (2, "resourceVersion", Shape::Text)];
const DELETE_OPTIONS: &[Field] = &[
    (1, "gracePeriodSeconds", Shape::Number),
    (2, "preconditions", Shape::Message(PRECONDITIONS)),
    (3, "orphanDependents", Shape::Truth),
    (4, "propagationPolicy", Shape::Text),
    (5, "dryRun", Shape::List(&Shape::Text)),
];
const ENVELOPE: &[Field] = &[(1, "typeMeta", Shape::Message(TYPE))];
const TYPE: &[Field] = &[(1, "apiVersion", Shape::Text), (2, "kind", Shape::Text)];

/// The object, where `body` holds one as protobuf.
///
/// # Errors
/// It is cut off, or of a kind that is not read here.
pub(crate) fn object(body: &[u8]) -> Result<Option<Value>, Status> {
    let Some(envelope) = body.strip_prefix(MAGIC) else {
        return Ok(None);
    };
    let broken = || Status::bad_request("the body is no protobuf of a Kubernetes object");
    let raw = raw(envelope).ok_or_else(broken)?;
    let envelope = message(envelope, ENVELOPE).ok_or_else(broken)?;
    let kind = envelope["typeMeta"]["kind"].as_str().unwrap_or_default();
    let fields = match kind {
        "Namespace" | "ServiceAccount" => NAMESPACE,
        "Secret" => SECRET,
        "ConfigMap" => CONFIG_MAP,
        "SelfSubjectAccessReview" | "SelfSubjectRulesReview" => REVIEW,
        "DeleteOptions" => DELETE_OPTIONS,
        other => {
            return Err(Status::media_type(format!(
                "{other} is not read as protobuf here: send it as application/json"
            )));
        }
    };
    let mut object = message(raw, fields).ok_or_else(broken)?;
    object["kind"] = json!(kind);
    object["apiVersion"] = envelope["typeMeta"]["apiVersion"].clone();
    Ok(Some(object))
}

/// Bytes of the object in its envelope.
fn raw(mut envelope: &[u8]) -> Option<&[u8]> {
    while !envelope.is_empty() {
        let (number, value) = next(&mut envelope)?;
        if let (2, Wire::Bytes(bytes)) = (number, value) {
            return Some(bytes);
        }
    }
    Some(&[])
}

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The next field's number and value.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let tag = varint(bytes)?;
    let value = match tag & 7 {
        0 => Wire::Number(varint(bytes)?),
        1 => Wire::Bytes(take(bytes, 8)?),
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Wire::Bytes(take(bytes, length)?)
        }
        5 => Wire::Bytes(take(bytes, 4)?),
        _ => return None,
    };
    Some((tag >> 3, value))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for at in 0..10 {
        let byte = *take(bytes, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn message(mut bytes: &[u8], fields: &[Field]) -> Option<Value> {
    let mut object = Map::new();
    while !bytes.is_empty() {
        let (number, wire) = next(&mut bytes)?;
        let Some((_, name, shape)) = fields.iter().find(|(known, ..)| *known == number) else {
            continue;
        };
        add(&mut object, name, *shape, wire)?;
    }
    Some(Value::Object(object))
}

fn add(object: &mut Map<String, Value>, name: &str, shape: Shape, wire: Wire<'_>) -> Option<()> {
    match shape {
        Shape::List(of) => {
            let list = object.entry(name).or_insert_with(|| json!([]));
            list.as_array_mut()?.push(value(*of, wire)?);
        }
        Shape::Map(to) => {
            let Wire::Bytes(mut entry) = wire else {
                return None;
            };
            let map = object.entry(name).or_insert_with(|| json!({}));
            let (mut key, mut held) = (String::new(), Value::Null);
            while !entry.is_empty() {
                match next(&mut entry)? {
                    (1, Wire::Bytes(bytes)) => key = String::from_utf8(bytes.to_vec()).ok()?,
                    (2, wire) => held = value(*to, wire)?,
                    _ => {}
                }
            }
            map.as_object_mut()?.insert(key, held);
        }
        plain => {
            let read = value(plain, wire)?;
            // Go writes out what was left empty.
            if read != "" && read != json!({}) {
                object.insert(name.to_owned(), read);
            }
        }
    }
    Some(())
}

fn value(shape: Shape, wire: Wire<'_>) -> Option<Value> {
    Some(match (shape, wire) {
        (Shape::Text, Wire::Bytes(bytes)) => json!(std::str::from_utf8(bytes).ok()?),
        (Shape::Bytes, Wire::Bytes(bytes)) => json!(crate::sim::base64(bytes)),
        (Shape::Truth, Wire::Number(number)) => json!(number != 0),
        (Shape::Number, Wire::Number(number)) => json!(number.cast_signed()),
        (Shape::Message(fields), Wire::Bytes(bytes)) => message(bytes, fields)?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        field.extend(bytes);
        field
    }

    fn body(kind: &str, object: &[u8]) -> Vec<u8> {
        let kinds = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [MAGIC, &field(1, &kinds), &field(2, object)].concat()
    }

    #[test]
    fn what_kubectl_makes_is_read() {
        let label = [field(1, b"a"), field(2, b"b")].concat();
        let metadata = [field(1, b"m"), field(3, b""), field(11, &label)].concat();
        let entry = [field(1, b"k"), field(2, b"\x00\xff")].concat();
        let secret = [field(1, &metadata), field(2, &entry), field(3, b"Opaque")].concat();
        let expected = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "m", "labels": {"a": "b"}},
            "data": {"k": "AP8="},
        });
        assert_eq!(object(&body("Secret", &secret)), Ok(Some(expected)));
        assert_eq!(object(b"{}"), Ok(None));
    }

    #[test]
    fn what_is_not_read_is_refused() {
        let whole = body("Secret", &field(1, &field(1, b"m")));
        for end in MAGIC.len() + 1..whole.len() {
            // Cut between two fields it is shorter, else broken; never more than was sent.
            let _ = object(&whole[..end]);
        }
        assert_eq!(object(&whole[..whole.len() - 1]).unwrap_err().code, 400);
        assert_eq!(object(&body("Pod", b"")).unwrap_err().code, 415);
    }
}
