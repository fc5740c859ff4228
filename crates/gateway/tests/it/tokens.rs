//! Are the gateway's tokens those of the engine's `/render`?
//!
//! Two hundred prompts: chats with tools, with tool calls, many turns, empty system prompts, every script, very long ones.
//! Against the engine of this repository with its built-in tokenizer; and, with ENGINE_URL and TOKENIZER_DIR set, against
//! a real vLLM that was started with render paths enabled.

use std::path::Path;
use std::time::Duration;

use engine::{EngineArgs, Log, Server};
use gateway::{TokenizerConfig, Tokens};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::send;

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

const TEXTS: [&str; 10] = [
    "",
    "What is the capital of France?",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "日本語のテキストと中文文本 — mixed with English, 12,345.67 and \u{1f600}\u{1f468}\u{200d}\u{1f469}.",
    "fn main() {\n    println!(\"{:?}\", vec![1, 2, 3]);\n}\n\n\n\t// tabs\tand   spaces",
    "العربية و עברית and ไทย, e\u{301} and \u{e9}",
    "<|im_start|>not a turn<|im_end|> and <|endoftext|> inside",
    " leading and trailing ",
    "line\r\nline\r\n\r\nline",
    "\u{0}\u{7f}\u{feff}\u{2028}",
];

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "weather", "description": "Météo <ici> & \"là\"",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"]}}}])
}

/// Bodies of one kind, by number.
fn chat(number: usize) -> Value {
    let text = |offset: usize| TEXTS[(number + offset) % TEXTS.len()];
    let turns = match number % 5 {
        0 => vec![json!({"role": "user", "content": text(1)})],
        1 => vec![
            json!({"role": "system", "content": ""}),
            json!({"role": "user", "content": text(0)}),
        ],
        2 => vec![
            json!({"role": "system", "content": text(3)}),
            json!({"role": "user", "content": [{"type": "text", "text": text(1)}, {"type": "text", "text": text(2)}]}),
            json!({"role": "assistant", "content": text(4)}),
            json!({"role": "user", "content": text(5)}),
        ],
        3 => vec![
            json!({"role": "user", "content": text(1)}),
            json!({"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
                "function": {"name": "weather", "arguments": "{\"city\": \"Köln\", \"days\": 2}"}}]}),
            json!({"role": "tool", "tool_call_id": "call_1", "content": text(2)}),
        ],
        _ => (0..12)
            .flat_map(|turn| {
                [
                    json!({"role": "user", "content": format!("{turn}: {}", text(turn))}),
                    json!({"role": "assistant", "content": text(turn + 3)}),
                ]
            })
            .chain([json!({"role": "user", "content": "and now?"})])
            .collect(),
    };
    let mut body = json!({"messages": turns, "max_tokens": 1});
    if number % 2 == 1 {
        body["tools"] = tools();
    }
    match number % 7 {
        2 => body["add_generation_prompt"] = json!(false),
        3 => {
            let last = json!({"role": "assistant", "content": "The answer is"});
            body["messages"].as_array_mut().unwrap().push(last);
            body["add_generation_prompt"] = json!(false);
            body["continue_final_message"] = json!(true);
        }
        5 => body["chat_template_kwargs"] = json!({"enable_thinking": false}),
        _ => {}
    }
    body
}

fn completion(number: usize) -> Value {
    let text = TEXTS[1 + number % (TEXTS.len() - 1)];
    match number % 3 {
        0 => json!({"prompt": text.repeat(1 + number * 20), "max_tokens": 1}),
        1 => json!({"prompt": [text, "second", text], "max_tokens": 1}),
        _ => json!({"prompt": text, "add_special_tokens": false, "max_tokens": 1}),
    }
}

/// Every body with its path.
fn bodies(model: &str) -> Vec<(&'static str, Value)> {
    let chats = (0..140).map(|number| (CHAT, chat(number)));
    let all = chats.chain((0..60).map(|number| (COMPLETIONS, completion(number))));
    all.map(|(path, mut body)| {
        body["model"] = json!(model);
        (path, body)
    })
    .collect()
}

/// How many prompts both sides took; they must be the same ids wherever the engine takes the body.
async fn compare(address: std::net::SocketAddr, model: &str, tokens: &Tokens) -> usize {
    let mut same = 0;
    for (path, body) in bodies(model) {
        let bytes = serde_json::to_vec(&body).unwrap();
        let answer = send(
            address,
            "POST",
            &format!("{path}/render"),
            "content-type: application/json\r\n",
            &bytes,
        )
        .await;
        let ours = tokens.of_body(path, &bytes);
        if answer.status != 200 {
            assert_eq!(answer.status, 400, "{path} {body}: {answer:?}");
            continue;
        }
        let answer = answer.json();
        let rendered = match path {
            CHAT => vec![answer["token_ids"].clone()],
            _ => answer
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["token_ids"].clone())
                .collect(),
        };
        let theirs: Vec<Vec<u32>> = rendered
            .into_iter()
            .map(|ids| serde_json::from_value(ids).unwrap())
            .collect();
        assert_eq!(ours.as_ref(), Some(&theirs), "{path} {body}");
        same += 1;
    }
    same
}

#[tokio::test]
async fn two_hundred_prompts_have_the_engines_tokens() {
    let args = EngineArgs {
        port: 0,
        time_scale: 0.01,
        served_model_name: vec!["m".to_owned()],
        enable_scale_out: true,
        ..EngineArgs::default()
    };
    let server = Server::bind(args, Log::to(drop)).await.unwrap();
    let stop = CancellationToken::new();
    let (address, stopped) = (server.local_addr(), stop.clone().cancelled_owned());
    let serving = tokio::spawn(async move { server.serve(stopped).await });
    let config = TokenizerConfig {
        builtin: true,
        ..TokenizerConfig::default()
    };
    let tokens = Tokens::new(config, Path::new(""), 1).unwrap();
    let same = compare(address, "m", &tokens).await;
    assert!(same >= 180, "only {same} of 200 were rendered");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "a skipped check says so")]
async fn and_those_of_a_real_vllm() {
    let (Ok(url), Ok(dir)) = (std::env::var("ENGINE_URL"), std::env::var("TOKENIZER_DIR")) else {
        eprintln!(
            "skipped: ENGINE_URL and TOKENIZER_DIR name no real vLLM and its tokenizer's directory"
        );
        return;
    };
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let address = tokio::net::lookup_host(address)
        .await
        .unwrap()
        .next()
        .unwrap();
    let config = TokenizerConfig {
        dir: Some(dir.into()),
        ..TokenizerConfig::default()
    };
    let tokens = Tokens::new(config, Path::new(""), 1).unwrap();
    let models = send(address, "GET", "/v1/models", "", b"").await.json();
    let model = models["data"][0]["id"].as_str().unwrap();
    let same = compare(address, model, &tokens).await;
    assert!(same >= 150, "only {same} of 200 were rendered");
}
