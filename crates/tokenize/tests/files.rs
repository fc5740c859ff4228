//! Tokenizers from a directory: written here, read back through the public surface.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;
use tokenize::{ChatOptions, TokenStream, Tokenizer};

/// A byte-level vocabulary of single bytes and one special token: small, and able to represent any text.
fn directory(config: &serde_json::Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut vocab = serde_json::Map::new();
    let mut next = 256_u32;
    for byte in 0..=255_u32 {
        let printable = matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let character = if printable {
            byte
        } else {
            next += 1;
            next - 1
        };
        vocab.insert(char::from_u32(character).unwrap().to_string(), byte.into());
    }
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [{"id": 256, "content": "<end>", "single_word": false, "lstrip": false, "rstrip": false,
                          "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    dir
}

#[test]
fn a_directory_gives_tokens_specials_and_a_template() {
    let dir = directory(&json!({
        "eos_token": {"content": "<end>"},
        "chat_template": [
            {"name": "default", "template": "{{ messages[0].content }}{{ eos_token }}"},
            {"name": "tool_use", "template": "tools!"},
        ],
    }));
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    assert_eq!(tokenizer.encode("né").unwrap(), [b'n'.into(), 0xc3, 0xa9]);
    assert_eq!(tokenizer.encode("a<end>").unwrap(), [b'a'.into(), 256]);
    assert_eq!(tokenizer.decode(&[b'a'.into(), 256]), "a<end>");
    assert_eq!(
        (tokenizer.eos_ids(), tokenizer.vocab_size()),
        ([256].as_slice(), 257)
    );
    let (messages, tools) = (json!([{"role": "user", "content": "hi"}]), json!([{}]));
    assert_eq!(
        tokenizer
            .render_chat(&messages, None, &ChatOptions::default())
            .unwrap(),
        "hi<end>"
    );
    assert_eq!(
        tokenizer
            .render_chat(&messages, Some(&tools), &ChatOptions::default())
            .unwrap(),
        "tools!"
    );
}

#[test]
fn a_stream_holds_unfinished_characters_back_and_skips_specials() {
    let dir = directory(&json!({}));
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    let mut stream = TokenStream::after(&tokenizer, &[]);
    let mut pieces = Vec::new();
    for id in tokenizer.encode("a é😀<end>z").unwrap() {
        let mut piece = String::new();
        stream.push(&tokenizer, id, &mut piece);
        pieces.push(piece);
    }
    assert_eq!(pieces, ["a", " ", "", "é", "", "", "", "😀", "", "z"]);
    let none = tokenizer.render_chat(&json!([]), None, &ChatOptions::default());
    assert!(none.unwrap_err().to_string().contains("no chat template"));
}

#[test]
fn a_missing_or_broken_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
    let dir = directory(&json!({"chat_template": "{% if %}"}));
    let error = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("tokenizer_config.json") && error.contains("template"),
        "{error}"
    );
}
