//! Are remembered tokens the tokens of the whole text, for vocabularies from files too?
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokenize::{KnownTokens, Tokenizer, hub};

/// The pattern of Qwen 2 and its successors.
const GPT4_LIKE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// GPT-2's, which takes runs of line ends apart.
const GPT2_LIKE: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Byte-level pairs with merges over line ends, spaces and letters: what a wrong cut would tear apart.
fn tokenizer(pattern: &str, special: Value) -> Tokenizer {
    let dir = tempfile::tempdir().unwrap();
    let mut vocab = serde_json::Map::new();
    let mut letters = Vec::new();
    let mut next = 256_u32;
    for byte in 0..=255_u32 {
        let printable = matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let code = if printable { byte } else { next };
        next += u32::from(!printable);
        let letter = char::from_u32(code).unwrap().to_string();
        vocab.insert(letter.clone(), byte.into());
        letters.push(letter);
    }
    let pairs = [
        "\n\n", "\n\n\n\n", " a", "ab", "!\n", "  ", "ba", "\n ", " \n", "12",
    ];
    let mut merges = Vec::new();
    for pair in pairs {
        let (left, right) = pair.split_at(pair.len() / 2);
        let spelled = |text: &str| {
            text.bytes()
                .map(|b| letters[b as usize].as_str())
                .collect::<String>()
        };
        let whole = spelled(pair);
        let id = vocab.len() as u32 + 10;
        vocab.insert(whole, id.into());
        merges.push(json!([spelled(left), spelled(right)]));
    }
    let added: Vec<Value> = [
        ("<|im_start|>", 300),
        ("<|im_end|>", 301),
        ("<|im_end|>\u{e9}", 302),
    ]
    .iter()
    .map(|(content, id)| {
        let mut token = json!({"id": id, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true});
        token
            .as_object_mut()
            .unwrap()
            .extend(special.as_object().unwrap().clone());
        token
    })
    .collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": {"type": "NFC"},
        "added_tokens": added,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}]},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [300], "tokens": ["<|im_start|>"]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    });
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    Tokenizer::from_dir(dir.path()).unwrap()
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    let piece = prop_oneof![
        4 => Just("\n".to_owned()),
        3 => Just("\n\n".to_owned()),
        3 => Just(" ".to_owned()),
        3 => "[ab]{1,4}",
        2 => Just("<|im_start|>".to_owned()),
        2 => Just("<|im_end|>".to_owned()),
        1 => Just("<|im_".to_owned()),
        1 => Just("e\u{301}".to_owned()),
        1 => Just("\u{301}".to_owned()),
        1 => Just("\u{e9}".to_owned()),
        1 => Just("\r\n\t".to_owned()),
        1 => Just("!?".to_owned()),
        1 => Just("123".to_owned()),
        1 => Just("ab ".repeat(900)),
        1 => Just("a!\n".repeat(700)),
        1 => any::<String>(),
    ];
    let text = prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat());
    prop::collection::vec(text, 1..4)
}

/// Every text and every beginning of it put before another gives the tokens it gives without memory.
fn same(tokenizer: Tokenizer, texts: &[String]) {
    let known = KnownTokens::new(Arc::new(tokenizer), 1 << 20, 3);
    let mut conversation = String::new();
    for text in texts {
        conversation.push_str(text);
        for add_special in [false, true] {
            for text in [text, &conversation] {
                let whole = known.tokenizer().encode_with(text, add_special).unwrap();
                let twice = [(); 2].map(|()| known.encode(text, add_special).unwrap());
                for got in twice {
                    assert_eq!(got.ids, whole, "of {text:?}");
                    assert_eq!(got.known_bytes + got.new_bytes, text.len());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn built_in(texts in texts()) {
        same(Tokenizer::built_in(), &texts);
    }

    #[test]
    fn lines_first(texts in texts()) {
        same(tokenizer(GPT4_LIKE, json!({})), &texts);
    }

    #[test]
    fn lines_taken_apart(texts in texts()) {
        same(tokenizer(GPT2_LIKE, json!({})), &texts);
    }

    #[test]
    fn tokens_that_look_around(texts in texts()) {
        same(tokenizer(GPT4_LIKE, json!({"lstrip": true, "rstrip": true})), &texts);
    }
}

#[test]
fn a_conversation_from_files_is_known_but_for_its_end() {
    let known = KnownTokens::new(Arc::new(tokenizer(GPT4_LIKE, json!({}))), 4 << 20, 3);
    let mut text = String::new();
    let mut news = Vec::new();
    for turn in 0..20 {
        let said = format!("line {turn} of it\n").repeat(200);
        text.push_str(&format!("<|im_start|>user\n{said}<|im_end|>\n"));
        news.push(known.encode(&text, false).unwrap().new_bytes);
    }
    let turn = text.len() / 20;
    assert!(news.iter().all(|new| *new < 2 * turn), "{news:?}");
}

#[test]
fn the_hubs_cache() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("models--Qwen--Qwen2.5");
    let snapshot = folder.join("snapshots/abc");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(folder.join("refs")).unwrap();
    std::fs::write(folder.join("refs/main"), "abc\n").unwrap();
    let missing = hub::snapshot(cache.path(), "Qwen/Qwen2.5", "main").unwrap_err();
    assert!(missing.to_string().contains("hf download Qwen/Qwen2.5"));
    std::fs::write(snapshot.join("tokenizer.json"), "{}").unwrap();
    for revision in ["main", "abc"] {
        let found = hub::snapshot(cache.path(), "Qwen/Qwen2.5", revision).unwrap();
        assert_eq!(found, snapshot);
    }
    for name in ["", "a/b/c", "../x", "a/..", "Qwen/other"] {
        assert!(hub::snapshot(cache.path(), name, "main").is_err(), "{name}");
    }
}
