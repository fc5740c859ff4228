//! Which range of ids holds which kind of piece?
//!
//! Each range starts where the one before ends. "Spaced" means that the piece begins with a space. Letters
//! count from 0 (`a`) to 25 (`z`).

use super::words;

/// A single byte of anything.
pub(super) const BYTE: u32 = 0;
/// Space and one ASCII letter: upper case first.
const SPACED_LETTER: u32 = BYTE + 256;
/// Two letters, lower case but for an upper-case first one where `capital`: 26² by (spaced, capital).
const PAIR: u32 = SPACED_LETTER + 52;
const PAIR_LEN: u32 = 26 * 26;
/// Two upper-case letters.
const UPPER_PAIR: u32 = PAIR + 4 * PAIR_LEN;
/// Three letters, as `PAIR`.
const TRIPLE: u32 = UPPER_PAIR + PAIR_LEN;
const TRIPLE_LEN: u32 = 26 * 26 * 26;
/// Four lower-case letters that are two frequent letter pairs: 128² by (spaced).
const QUAD: u32 = TRIPLE + 4 * TRIPLE_LEN;
const QUAD_LEN: u32 = (words::FREQUENT_PAIRS * words::FREQUENT_PAIRS) as u32;
/// A whole frequent word, by (spaced).
const WORD: u32 = QUAD + 2 * QUAD_LEN;
/// Two and three digits.
const DIGITS_2: u32 = WORD + 2 * words::COUNT as u32;
const DIGITS_3: u32 = DIGITS_2 + 100;
/// A run of one whitespace byte, 2 to `MAX_RUN` long, by the order of `RUN_BYTES`.
const RUN: u32 = DIGITS_3 + 1000;
pub(super) const MAX_RUN: u32 = 16;
pub(super) const RUN_BYTES: &[u8] = b" \n\t";
/// Space and one ASCII punctuation mark; two of those marks.
const SPACED_MARK: u32 = RUN + RUN_BYTES.len() as u32 * (MAX_RUN - 1);
const MARK_PAIR: u32 = SPACED_MARK + 32;
/// One character of a script, by `SCRIPTS`.
const CHAR: u32 = MARK_PAIR + 32 * 32;
/// Inclusive ranges of code points with an id each: two-byte UTF-8, kana and CJK marks, CJK ideographs, Hangul.
const SCRIPTS: &[(u32, u32)] = &[
    (0x80, 0x7ff),
    (0x3000, 0x30ff),
    (0x4e00, 0x9fff),
    (0xac00, 0xd7a3),
];
const END: u32 = CHAR + 1920 + 256 + 20_992 + 11_172;

/// Special tokens, at the ids the Qwen2.5 family gives them.
pub(super) const SPECIALS: &[(&str, u32)] = &[
    ("<|endoftext|>", 151_643),
    ("<|im_start|>", 151_644),
    ("<|im_end|>", 151_645),
];
/// End of text, end of a message; the second is what ends a chat answer.
pub(crate) const EOS_IDS: &[u32] = &[151_645, 151_643];
pub(crate) const VOCAB_SIZE: u32 = 151_646;
const _: () = assert!(END <= 151_643);

/// The 32 ASCII punctuation marks in order of their code.
const MARKS: &[u8; 32] = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

pub(crate) fn is_special(id: u32) -> bool {
    SPECIALS.iter().any(|&(_, special)| special == id)
}

pub(super) fn spaced_word(index: usize) -> u32 {
    WORD + (words::COUNT + index) as u32
}

pub(super) fn word(index: usize, spaced: bool) -> u32 {
    if spaced {
        spaced_word(index)
    } else {
        WORD + index as u32
    }
}

pub(super) fn letter(byte: u8, spaced: bool) -> u32 {
    match (spaced, byte.is_ascii_uppercase()) {
        (false, _) => BYTE + u32::from(byte),
        (true, true) => SPACED_LETTER + u32::from(byte - b'A'),
        (true, false) => SPACED_LETTER + 26 + u32::from(byte - b'a'),
    }
}

/// Number of a letter whatever its case.
fn number(letter: u8) -> u32 {
    u32::from(letter | 0x20) - u32::from(b'a')
}

fn shape(first: u8, spaced: bool) -> u32 {
    u32::from(spaced) * 2 + u32::from(first.is_ascii_uppercase())
}

/// Two letters, the second lower case.
pub(super) fn pair(letters: [u8; 2], spaced: bool) -> u32 {
    PAIR + shape(letters[0], spaced) * PAIR_LEN + number(letters[0]) * 26 + number(letters[1])
}

pub(super) fn upper_pair(letters: [u8; 2]) -> u32 {
    UPPER_PAIR + number(letters[0]) * 26 + number(letters[1])
}

/// Three letters, the last two lower case.
pub(super) fn triple(letters: [u8; 3], spaced: bool) -> u32 {
    let [a, b, c] = letters.map(number);
    TRIPLE + shape(letters[0], spaced) * TRIPLE_LEN + (a * 26 + b) * 26 + c
}

/// Four lower-case letters by the ranks of their two pairs.
pub(super) fn quad(first: u8, second: u8, spaced: bool) -> u32 {
    QUAD + u32::from(spaced) * QUAD_LEN
        + u32::from(first) * words::FREQUENT_PAIRS as u32
        + u32::from(second)
}

pub(super) fn digits(digits: &[u8]) -> u32 {
    let value = digits
        .iter()
        .fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    match digits.len() {
        1 => BYTE + u32::from(digits[0]),
        2 => DIGITS_2 + value,
        _ => DIGITS_3 + value,
    }
}

/// `length` (1..=`MAX_RUN`) times one of `RUN_BYTES`.
pub(super) fn run(byte: u8, length: u32) -> u32 {
    if length == 1 {
        return BYTE + u32::from(byte);
    }
    let kind = RUN_BYTES
        .iter()
        .position(|&known| known == byte)
        .unwrap_or(0) as u32;
    RUN + kind * (MAX_RUN - 1) + (length - 2)
}

fn mark_number(byte: u8) -> u32 {
    u32::from(match byte {
        b'!'..=b'/' => byte - b'!',
        b':'..=b'@' => byte - b':' + 15,
        b'['..=b'`' => byte - b'[' + 22,
        _ => byte - b'{' + 28,
    })
}

pub(super) fn spaced_mark(mark: u8) -> u32 {
    SPACED_MARK + mark_number(mark)
}

pub(super) fn mark_pair(first: u8, second: u8) -> u32 {
    MARK_PAIR + mark_number(first) * 32 + mark_number(second)
}

/// The id of a whole character, where its script has ids.
pub(super) fn character(code: u32) -> Option<u32> {
    let mut base = CHAR;
    for &(first, last) in SCRIPTS {
        if (first..=last).contains(&code) {
            return Some(base + code - first);
        }
        base += last - first + 1;
    }
    None
}

/// Appends the bytes of a token; U+FFFD for an id that no text encodes to.
pub(super) fn decode(id: u32, out: &mut Vec<u8>) {
    match id {
        _ if id < SPACED_LETTER => out.push(id as u8),
        _ if id < PAIR => decode_spaced_letter(id - SPACED_LETTER, out),
        _ if id < UPPER_PAIR => decode_letters::<2>(id - PAIR, PAIR_LEN, out),
        _ if id < TRIPLE => {
            let offset = id - UPPER_PAIR;
            out.extend([b'A' + (offset / 26) as u8, b'A' + (offset % 26) as u8]);
        }
        _ if id < QUAD => decode_letters::<3>(id - TRIPLE, TRIPLE_LEN, out),
        _ if id < WORD => decode_quad(id - QUAD, out),
        _ if id < DIGITS_2 => decode_word((id - WORD) as usize, out),
        _ if id < DIGITS_3 => decode_digits(id - DIGITS_2, 10, out),
        _ if id < RUN => decode_digits(id - DIGITS_3, 100, out),
        _ if id < SPACED_MARK => {
            let offset = id - RUN;
            let byte = RUN_BYTES[(offset / (MAX_RUN - 1)) as usize];
            out.extend(std::iter::repeat_n(
                byte,
                (offset % (MAX_RUN - 1)) as usize + 2,
            ));
        }
        _ if id < MARK_PAIR => out.extend([b' ', MARKS[(id - SPACED_MARK) as usize]]),
        _ if id < CHAR => {
            let offset = (id - MARK_PAIR) as usize;
            out.extend([MARKS[offset / 32], MARKS[offset % 32]]);
        }
        _ if id < END => decode_character(id - CHAR, out),
        _ => decode_special(id, out),
    }
}

fn decode_spaced_letter(offset: u32, out: &mut Vec<u8>) {
    let letter = if offset < 26 {
        b'A' + offset as u8
    } else {
        b'a' + (offset - 26) as u8
    };
    out.extend([b' ', letter]);
}

fn decode_letters<const N: usize>(offset: u32, range_len: u32, out: &mut Vec<u8>) {
    let (shape, mut value) = (offset / range_len, offset % range_len);
    let mut letters = [0; N];
    for letter in letters.iter_mut().rev() {
        *letter = b'a' + (value % 26) as u8;
        value /= 26;
    }
    if shape & 1 == 1 {
        letters[0] = letters[0].to_ascii_uppercase();
    }
    if shape & 2 == 2 {
        out.push(b' ');
    }
    out.extend(letters);
}

fn decode_quad(offset: u32, out: &mut Vec<u8>) {
    if offset >= QUAD_LEN {
        out.push(b' ');
    }
    let ranks = (offset % QUAD_LEN) as usize;
    out.extend(words::frequent_pair(ranks / words::FREQUENT_PAIRS));
    out.extend(words::frequent_pair(ranks % words::FREQUENT_PAIRS));
}

fn decode_word(offset: usize, out: &mut Vec<u8>) {
    if offset >= words::COUNT {
        out.push(b' ');
    }
    out.extend(words::word(offset % words::COUNT).as_bytes());
}

fn decode_digits(value: u32, mut unit: u32, out: &mut Vec<u8>) {
    while unit > 0 {
        out.push(b'0' + (value / unit % 10) as u8);
        unit /= 10;
    }
}

fn decode_character(mut offset: u32, out: &mut Vec<u8>) {
    for &(first, last) in SCRIPTS {
        let len = last - first + 1;
        if offset < len {
            let character = char::from_u32(first + offset).unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
            return;
        }
        offset -= len;
    }
}

fn decode_special(id: u32, out: &mut Vec<u8>) {
    let text = SPECIALS
        .iter()
        .find(|&&(_, special)| special == id)
        .map_or("\u{fffd}", |&(text, _)| text);
    out.extend(text.as_bytes());
}
