use serde_json::{Map, Value};

use crate::support::{Answer, Rig, request, rig};

/// Values that a simulated engine invents, or that differ each time. Their type must be vLLM's, and the length of lists.
const INVENTED: [&str; 13] = [
    "id",
    "created",
    "text",
    "content",
    "system_fingerprint",
    "logprob",
    "token_logprobs",
    "tokens",
    "token",
    "bytes",
    "text_offset",
    "message",
    // There, pieces of the vocabulary; here, their text.
    "token_strs",
];

/// Answered otherwise on purpose.
const LEFT_OUT: [(&str, &str); 2] = [
    ("/v1/chat/completions", "tools"), // taken as by a server started with a tool parser
    ("/kv_event_sources", ""),         // this engine publishes nothing
];

struct Case {
    row: Value,
    place: String,
    /// Token ids are the tokenizer's, not the model's.
    exact_ids: bool,
}

/// What vLLM 0.32.0 (CPU, block 32, 256 blocks, 4,096 tokens of a model of random weights, `tests/vectors/tiny` as its
/// tokenizer, two adapters) answered, request by request. Paths of model and adapters were shortened afterwards.
#[tokio::test(start_paused = true)]
async fn answers_have_vllms_shape() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("../vectors/answers.json")).unwrap();
    let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/tiny");
    let rig = rig(&format!(
        "--model /models/tiny --served-model-name tiny --tokenizer {tokenizer} --block-size 32 \
         --num-gpu-blocks-override 256 --max-model-len 4096 --enable-prompt-tokens-details --enable-scale-out \
         --allow-runtime-lora-updating --server-dev-mode --lora-modules first=/adapters/first second=/adapters/second"
    ));
    let (mut compared, mut wrong) = (0, Vec::new());
    for row in rows {
        let (path, body) = (row["path"].as_str().unwrap(), row["body"].to_string());
        if LEFT_OUT
            .iter()
            .any(|(left, part)| path == *left && body.contains(part))
        {
            continue;
        }
        let case = Case {
            place: format!("{path} {}", body.chars().take(300).collect::<String>()),
            exact_ids: path.ends_with("/render") || path == "/tokenize",
            row,
        };
        let answer = ask(&rig, &case.row).await;
        case.compare(&answer, &mut wrong);
        compared += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 100, "{compared} compared");
}

async fn ask(rig: &Rig, row: &Value) -> Answer {
    let headers: &[(&str, &str)] = match row["body"] {
        Value::Null => &[],
        _ => &[("content-type", "application/json")],
    };
    let body = match &row["body"] {
        Value::Null => String::new(),
        body => spelled_out(body).to_string(),
    };
    let (method, path) = (
        row["method"].as_str().unwrap(),
        row["path"].as_str().unwrap(),
    );
    rig.send(request(method, path, headers, body))
        .await
        .unwrap()
}

/// `{"times": 3, "of": 5}` is `[5, 5, 5]`, and of a text, the text three times.
fn spelled_out(body: &Value) -> Value {
    match body {
        Value::Object(map) if map.contains_key("times") => {
            let times = map["times"].as_u64().unwrap() as usize;
            match &map["of"] {
                Value::String(text) => text.repeat(times).into(),
                of => vec![of.clone(); times].into(),
            }
        }
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), spelled_out(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(spelled_out).collect(),
        other => other.clone(),
    }
}

impl Case {
    fn compare(&self, answer: &Answer, wrong: &mut Vec<String>) {
        let kind = answer.headers.get("content-type");
        let kind = kind.map(|kind| kind.to_str().unwrap());
        let status = self.row["status"].as_u64().unwrap();
        if u64::from(answer.status) != status || kind != self.row["content_type"].as_str() {
            let (place, body) = (&self.place, &answer.body);
            wrong.push(format!(
                "{place}: {} {kind:?} instead of {status}: {body}",
                answer.status
            ));
        } else if let Some(text) = self.row.get("text") {
            self.same("", text, &answer.body.as_str().into(), wrong);
        } else if let Some(events) = self.row.get("events") {
            self.same("", events, &answer.events().into(), wrong);
        } else {
            self.same("", &self.row["answer"], &answer.json(), wrong);
        }
    }

    fn same(&self, name: &str, expected: &Value, got: &Value, wrong: &mut Vec<String>) {
        let equal = match (expected, got) {
            // Tokens by name or number: how many of them depends on the model.
            (Value::Object(_), Value::Object(_)) if name.ends_with("_logprobs") => true,
            (Value::Object(expected), Value::Object(got)) => {
                if expected.keys().eq(got.keys()) {
                    for (key, value) in expected {
                        // Which field of a body has the wrong type, our reader does not say.
                        let unread = key == "param" && expected["type"] == "Bad Request";
                        if !unread {
                            self.same(key, value, &got[key], wrong);
                        }
                    }
                }
                expected.keys().eq(got.keys())
            }
            (Value::Array(expected), Value::Array(got)) => {
                let invented = name == "bytes" || name == "token_ids" && !self.exact_ids;
                if !invented {
                    let pairs = expected.iter().zip(got);
                    pairs.for_each(|(expected, got)| self.same(name, expected, got, wrong));
                }
                name == "bytes" || expected.len() == got.len()
            }
            (Value::String(expected), Value::String(got)) if name == "request_id" => {
                let parts = |id: &str| {
                    let mut parts = id.split('-').map(str::to_owned);
                    (parts.next(), parts.nth(1))
                };
                parts(expected) == parts(got)
            }
            _ if INVENTED.contains(&name) && !(self.exact_ids && name == "tokens") => {
                std::mem::discriminant(got) == std::mem::discriminant(expected)
            }
            _ => got == expected,
        };
        if !equal {
            wrong.push(format!(
                "{}: `{name}`: {got} instead of {expected}",
                self.place
            ));
        }
    }
}
