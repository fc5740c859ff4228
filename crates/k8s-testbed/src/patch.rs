//! What does a JSON patch or a merge patch make of an object?

use serde_json::{Value, json};

use crate::object::as_map;
use crate::status::Status;

/// RFC 7386.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    let map = as_map(target);
    for (key, value) in patch {
        match value {
            Value::Null => {
                map.remove(key);
            }
            Value::Object(_) => merge(map.entry(key).or_insert_with(|| json!({})), value),
            value => {
                map.insert(key.clone(), value.clone());
            }
        }
    }
}

/// RFC 6902.
///
/// # Errors
/// 422 for an operation that cannot be done, 400 for what is no patch.
pub(crate) fn json(target: &mut Value, patch: &Value) -> Result<(), Status> {
    let operations = patch
        .as_array()
        .ok_or_else(|| Status::bad_request("a JSON patch is a list of operations"))?;
    operations
        .iter()
        .try_for_each(|operation| one(target, operation))
}

fn one(target: &mut Value, operation: &Value) -> Result<(), Status> {
    let path = operation["path"].as_str().unwrap_or_default();
    let from = operation["from"].as_str().unwrap_or_default();
    let value = operation["value"].clone();
    match operation["op"].as_str().unwrap_or_default() {
        "add" => add(target, path, value),
        "remove" => remove(target, path).map(drop),
        "replace" => {
            *find(target, path)? = value;
            Ok(())
        }
        "move" => {
            let value = remove(target, from)?;
            add(target, path, value)
        }
        "copy" => {
            let value = find(target, from)?.clone();
            add(target, path, value)
        }
        "test" if *find(target, path)? == value => Ok(()),
        "test" => Err(refused(format!("testing value {path} failed"))),
        other => Err(Status::bad_request(format!(
            "unexpected kind of operation: {other:?}"
        ))),
    }
}

fn refused(message: String) -> Status {
    Status::invalid(
        "",
        "",
        format!("the server rejected our request due to an error in our request: {message}"),
    )
}

fn find<'a>(target: &'a mut Value, path: &str) -> Result<&'a mut Value, Status> {
    target
        .pointer_mut(path)
        .ok_or_else(|| refused(format!("missing path: {path}")))
}

/// The place that holds `path`'s last part, and that part.
fn parent<'a>(target: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), Status> {
    let (above, last) = path
        .rsplit_once('/')
        .ok_or_else(|| refused(format!("no such path: {path}")))?;
    let last = last.replace("~1", "/").replace("~0", "~");
    Ok((find(target, above)?, last))
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), Status> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    let (parent, last) = parent(target, path)?;
    match parent {
        Value::Object(map) => {
            map.insert(last, value);
        }
        Value::Array(list) if last == "-" => list.push(value),
        Value::Array(list) => match last.parse::<usize>() {
            Ok(at) if at <= list.len() => list.insert(at, value),
            _ => return Err(refused(format!("no such place in a list: {path}"))),
        },
        _ => return Err(refused(format!("nothing can be added at {path}"))),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str) -> Result<Value, Status> {
    let (parent, last) = parent(target, path)?;
    let removed = match parent {
        Value::Object(map) => map.shift_remove(&last),
        Value::Array(list) => last
            .parse()
            .ok()
            .filter(|at| *at < list.len())
            .map(|at: usize| list.remove(at)),
        _ => None,
    };
    removed.ok_or_else(|| refused(format!("missing path: {path}")))
}
