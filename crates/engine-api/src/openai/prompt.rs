//! What stands in `prompt`?

use super::Prompt;
use super::error::Stop;
use super::fields::string;
use super::messages::Budget;
use crate::json::Cursor;

const EXPECTED: &str = "a string, a list of strings, a list of token ids or a list of such lists";
const TOKENS: &str = "token ids: whole numbers between 0 and 4294967295";

/// Reads the `prompt` of a completion; the first element decides what a list holds.
pub(super) fn read<'a>(at: &mut Cursor<'a>) -> Result<Prompt<'a>, Stop> {
    match at.peek() {
        Some(b'"') => Ok(Prompt::Text(at.string()?)),
        Some(b'[') => {
            let start = at.pos();
            at.eat(b'[');
            let first = at.peek();
            at.rewind(start);
            match first {
                Some(b'"' | b']') => texts(at).map(Prompt::Texts),
                Some(b'[') => token_lists(at).map(Prompt::TokenLists),
                Some(b'-' | b'0'..=b'9') => token_list(at).map(Prompt::Tokens),
                _ => Err(wrong()),
            }
        }
        _ => Err(wrong()),
    }
}

fn wrong() -> Stop {
    Stop::wrong("prompt", EXPECTED)
}

fn texts<'a>(at: &mut Cursor<'a>) -> Result<Vec<std::borrow::Cow<'a, str>>, Stop> {
    let mut texts = Vec::new();
    let mut budget = Budget::new("prompt");
    at.array(|at| {
        budget.take()?;
        texts.push(string(at, "prompt").map_err(|stop| prompt_type(stop, EXPECTED))?);
        Ok::<(), Stop>(())
    })?;
    Ok(texts)
}

fn prompt_type(stop: Stop, expected: &'static str) -> Stop {
    match stop {
        Stop::Type(_) => Stop::wrong("prompt", expected),
        fault => fault,
    }
}

fn token_lists(at: &mut Cursor<'_>) -> Result<Vec<Vec<u32>>, Stop> {
    let mut lists = Vec::new();
    let mut budget = Budget::new("prompt");
    at.array(|at| {
        budget.take()?;
        if at.peek() != Some(b'[') {
            return Err(wrong());
        }
        lists.push(token_list(at)?);
        Ok(())
    })?;
    Ok(lists)
}

fn token_list(at: &mut Cursor<'_>) -> Result<Vec<u32>, Stop> {
    let mut ids = Vec::new();
    at.array(|at| {
        at.plain_token_ids(&mut ids);
        if !at.at_number() {
            return Err(Stop::wrong("prompt", EXPECTED));
        }
        ids.push(at.token_id()?.ok_or(Stop::wrong("prompt", TOKENS))?);
        Ok(())
    })?;
    Ok(ids)
}
