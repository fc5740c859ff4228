//! Which values do engines take for a number or a truth?
//!
//! Engines read bodies leniently: `"16"`, `16.0` and `true` are whole numbers to them, `1` and `"yes"` are truths. What
//! they take is taken here, and only what none of them takes is an error.

use super::error::Stop;
use crate::json::Cursor;

/// Spellings of true and of false, lower case.
const TRUE: [&str; 6] = ["1", "true", "t", "yes", "y", "on"];
const FALSE: [&str; 6] = ["0", "false", "f", "no", "n", "off"];

/// Reads a truth, or says that `name` must be one.
pub(super) fn boolean(at: &mut Cursor<'_>, name: &'static str) -> Result<bool, Stop> {
    let read = match at.peek() {
        Some(b'"') => spelt(&at.string()?),
        _ if at.at_number() => match at.unsigned()? {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        _ => at.eat_bool(),
    };
    read.ok_or(Stop::wrong(name, "true or false"))
}

fn spelt(word: &str) -> Option<bool> {
    let is = |list: [&str; 6]| list.iter().any(|known| word.eq_ignore_ascii_case(known));
    match (is(TRUE), is(FALSE)) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// Reads a count of tokens, or says that `name` must be one.
pub(super) fn tokens(at: &mut Cursor<'_>, name: &'static str) -> Result<u64, Stop> {
    let count = match at.peek() {
        Some(b'"') => whole(&at.string()?),
        Some(b't' | b'f') => at.eat_bool().map(u64::from),
        _ if at.at_number() => at.unsigned()?,
        _ => None,
    };
    count.ok_or(Stop::wrong(name, "a whole number, zero or more"))
}

/// A number written as a string, with nothing but zeros behind its point.
fn whole(text: &str) -> Option<u64> {
    let text = text.trim();
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    let zeros = !rest.is_empty() && rest.bytes().all(|byte| byte == b'0');
    whole.parse().ok().filter(|_| zeros)
}
