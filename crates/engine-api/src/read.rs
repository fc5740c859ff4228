//! How is a value read that may as well be of another kind?

use crate::json::{Cursor, Fault};

/// Calls `member` for each member if an object comes next; passes over anything else.
pub(crate) fn each_member<'a>(
    at: &mut Cursor<'a>,
    mut member: impl FnMut(&mut Cursor<'a>, &str) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if at.peek() != Some(b'{') {
        return at.skip();
    }
    at.object(|at, key| member(at, &key))
}

/// The string next, or nothing for another value.
pub(crate) fn text(at: &mut Cursor<'_>) -> Result<Option<String>, Fault> {
    if at.peek() == Some(b'"') {
        return Ok(Some(at.string()?.into_owned()));
    }
    at.skip()?;
    Ok(None)
}

/// The whole number next, or nothing for another value.
pub(crate) fn number(at: &mut Cursor<'_>) -> Result<Option<u64>, Fault> {
    if at.at_number() {
        return at.unsigned();
    }
    at.skip()?;
    Ok(None)
}
