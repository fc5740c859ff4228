//! Which models does a listing name?

use engine_api::error_body;
use engine_api::models::{ModelCard, parse};

fn card(id: &str, parent: Option<&str>, max_model_len: Option<u64>) -> ModelCard {
    ModelCard {
        id: id.to_owned(),
        parent: parent.map(str::to_owned),
        max_model_len,
    }
}

#[test]
fn cards_are_read_and_the_rest_passed_over() {
    let body = br#"{"object":"list","data":[{"id":"base","object":"model","created":1,"root":"/m","parent":null,
        "max_model_len":4096,"permission":[{"id":"p","group":null}]},{"id":"lora","parent":"base"},
        {"id":"odd","parent":5,"max_model_len":"x"}],"extra":{"data":[]}}"#;
    let expected = [
        card("base", None, Some(4096)),
        card("lora", Some("base"), None),
        card("odd", None, None),
    ];
    assert_eq!(parse(body).expect("a list"), expected);
    assert_eq!(parse(br#"{"data":[]}"#).expect("a list"), []);
}

#[test]
fn other_answers_are_refused() {
    for body in [
        &b""[..],
        b"\xff",
        b"[]",
        b"{}",
        b"{\"data\":{}}",
        b"{\"data\":[1]}",
        b"{\"data\":[{}]}",
        b"{\"data\":[{\"id\":5}]}",
        b"{\"data\":[]",
        b"{\"data\":[]} x",
        b"<html>",
    ] {
        assert!(parse(body).is_err(), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn errors_are_written_as_clients_expect() {
    let expected =
        r#"{"error":{"message":"no \"x\"","type":"NotFoundError","param":"model","code":404}}"#;
    assert_eq!(
        error_body::write("no \"x\"", "NotFoundError", Some("model"), 404),
        expected.as_bytes()
    );
    let expected = r#"{"error":{"message":"m","type":"t","param":null,"code":500}}"#;
    assert_eq!(error_body::write("m", "t", None, 500), expected.as_bytes());
}
