//! Into which pieces does a text without special tokens fall?

use super::{layout, words};

/// Appends the tokens of `text`.
pub(super) fn encode(text: &str, ids: &mut Vec<u32>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => word(bytes, at, false, ids),
            b' ' => space(bytes, at, ids),
            b'\n' | b'\t' => {
                let end = run_end(bytes, at);
                whitespace(byte, end - at, ids);
                end
            }
            b'0'..=b'9' => number(bytes, at, ids),
            _ if byte.is_ascii_punctuation() => marks(bytes, at, ids),
            _ if byte.is_ascii() => {
                ids.push(layout::BYTE + u32::from(byte));
                at + 1
            }
            _ => character(text, at, ids),
        };
    }
}

/// A space joins the word or mark that follows it; further ones before it form a run.
fn space(bytes: &[u8], at: usize, ids: &mut Vec<u32>) -> usize {
    let end = run_end(bytes, at);
    match bytes.get(end) {
        Some(next) if next.is_ascii_alphabetic() => {
            whitespace(b' ', end - at - 1, ids);
            word(bytes, end, true, ids)
        }
        Some(&next) if next.is_ascii_punctuation() => {
            whitespace(b' ', end - at - 1, ids);
            ids.push(layout::spaced_mark(next));
            end + 1
        }
        _ => {
            whitespace(b' ', end - at, ids);
            end
        }
    }
}

fn run_end(bytes: &[u8], at: usize) -> usize {
    let byte = bytes[at];
    bytes[at..]
        .iter()
        .position(|&other| other != byte)
        .map_or(bytes.len(), |length| at + length)
}

fn whitespace(byte: u8, mut length: usize, ids: &mut Vec<u32>) {
    let longest = layout::MAX_RUN as usize;
    while length > 0 {
        let piece = length.min(longest);
        ids.push(layout::run(byte, piece as u32));
        length -= piece;
    }
}

/// The letters from `at` on: one token for a frequent word, else the longest pieces first.
fn word(bytes: &[u8], at: usize, mut spaced: bool, ids: &mut Vec<u32>) -> usize {
    let length = bytes[at..]
        .iter()
        .position(|byte| !byte.is_ascii_alphabetic())
        .unwrap_or(bytes.len() - at);
    let mut letters = &bytes[at..at + length];
    if let Some(index) = words::find(letters) {
        ids.push(layout::word(index, spaced));
        return at + length;
    }
    while !letters.is_empty() {
        let (id, taken) = piece(letters, spaced);
        ids.push(id);
        letters = &letters[taken..];
        spaced = false;
    }
    at + length
}

/// The longest piece at the beginning of `letters`, and its letters.
fn piece(letters: &[u8], spaced: bool) -> (u32, usize) {
    let lower = |byte: u8| byte.is_ascii_lowercase();
    if let [a, b, c, d, ..] = *letters
        && let Some((first, second)) = words::quad([a, b, c, d])
    {
        return (layout::quad(first, second, spaced), 4);
    }
    match *letters {
        [a, b, c, ..] if lower(b) && lower(c) => (layout::triple([a, b, c], spaced), 3),
        [a, b, ..] if lower(b) => (layout::pair([a, b], spaced), 2),
        [a, b, ..] if !spaced && !lower(a) => (layout::upper_pair([a, b]), 2),
        [a, ..] => (layout::letter(a, spaced), 1),
        [] => (layout::BYTE, 0),
    }
}

/// Digits in groups of three from the left.
fn number(bytes: &[u8], at: usize, ids: &mut Vec<u32>) -> usize {
    let digits = bytes[at..]
        .iter()
        .take(3)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    ids.push(layout::digits(&bytes[at..at + digits]));
    at + digits
}

fn marks(bytes: &[u8], at: usize, ids: &mut Vec<u32>) -> usize {
    match bytes.get(at + 1) {
        Some(&second) if second.is_ascii_punctuation() => {
            ids.push(layout::mark_pair(bytes[at], second));
            at + 2
        }
        _ => {
            ids.push(layout::BYTE + u32::from(bytes[at]));
            at + 1
        }
    }
}

/// One character beyond ASCII: its own id, or its bytes.
fn character(text: &str, at: usize, ids: &mut Vec<u32>) -> usize {
    let length = text[at..].chars().next().map_or(1, char::len_utf8);
    let code = text[at..].chars().next().map_or(0, u32::from);
    match layout::character(code) {
        Some(id) => ids.push(id),
        None => ids.extend(
            text.as_bytes()[at..at + length]
                .iter()
                .map(|&byte| layout::BYTE + u32::from(byte)),
        ),
    }
    at + length
}
