use proptest::prelude::*;

use super::*;

fn pieces(text: &str) -> Vec<String> {
    BuiltIn
        .encode(text)
        .iter()
        .map(|&id| BuiltIn.decode(&[id]))
        .collect()
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(pieces(text), expected);
}

#[test]
fn words_take_their_space_along() {
    check("should we wait", &["should", " we", " wait"]);
    check("The cat", &["The", " cat"]);
    check("a  b", &["a", " ", " b"]);
    check("end. Start", &["end", ".", " Sta", "rt"]);
}

#[test]
fn numbers_marks_runs_and_scripts_are_pieces() {
    check("20251", &["202", "51"]);
    check("f(x);", &["f", "(", "x", ");"]);
    check("a\n\n    b", &["a", "\n\n", "   ", " b"]);
    check("né", &["n", "é"]);
    check("日本", &["日", "本"]);
}

#[test]
fn special_tokens_are_one_id_anywhere() {
    check(
        "x<|im_end|>\n<|im_start|>y",
        &["x", "<|im_end|>", "\n", "<|im_start|>", "y"],
    );
    check("<|none|>", &["<|", "none", "|>"]);
}

#[test]
fn english_has_about_four_bytes_a_token() {
    let text = include_str!("english.txt");
    let bytes_per_token = text.len() as f64 / BuiltIn.encode(text).len() as f64;
    assert!((3.6..4.6).contains(&bytes_per_token), "{bytes_per_token}");
}

#[test]
fn every_id_below_the_vocabulary_decodes_and_encodes_back() {
    for id in 256..VOCAB_SIZE {
        let text = BuiltIn.decode(&[id]);
        if !text.contains('\u{fffd}') {
            assert_eq!(BuiltIn.decode(&BuiltIn.encode(&text)), text);
        }
    }
    assert_eq!(BuiltIn.decode(&[VOCAB_SIZE, u32::MAX]), "\u{fffd}\u{fffd}");
}

/// Texts that meet every rule often: words, spaces, marks, scripts, specials.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[a-zA-Z]{1,9}",
        "[ \t\n\r]{1,20}",
        "[!-/:-@\\[-`{-~]{1,4}",
        "[0-9]{1,7}",
        "\\PC{0,4}",
        Just("<|im_start|>".to_owned()),
        Just("<|".to_owned()),
        (0..words::COUNT).prop_map(|index| words::word(index).to_owned()),
    ];
    prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn decode_inverts_encode(text in prop_oneof![text(), any::<String>()]) {
        let ids = BuiltIn.encode(&text);
        prop_assert!(ids.iter().all(|&id| id < VOCAB_SIZE));
        prop_assert_eq!(BuiltIn.decode(&ids), text);
    }

    #[test]
    fn tokens_before_whitespace_do_not_depend_on_what_follows(a in text(), b in text(), space in "[ \n\t]{1,3}") {
        let a = a.trim_end();
        let whole = BuiltIn.encode(&format!("{a}{space}{b}"));
        prop_assert!(whole.starts_with(&BuiltIn.encode(a)));
    }

    #[test]
    fn any_ids_decode(ids in prop::collection::vec(any::<u32>(), 0..32)) {
        BuiltIn.decode(&ids);
    }
}
