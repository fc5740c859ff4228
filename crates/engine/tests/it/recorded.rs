use serde_json::{Map, Value};

use crate::support::{Answer, Rig, request, rig};

/// Values that a simulated engine invents, or that differ each time. Their type must be vLLM's, and the length of lists.
const INVENTED: [&str; 12] = [
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
    let mut compared = 0;
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
        case.compare(&ask(&rig, &case.row).await);
        compared += 1;
    }
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
    #[track_caller]
    fn compare(&self, answer: &Answer) {
        let place = &self.place;
        assert_eq!(
            u64::from(answer.status),
            self.row["status"].as_u64().unwrap(),
            "{place}: {}",
            answer.body
        );
        let kind = answer
            .headers
            .get("content-type")
            .map(|kind| kind.to_str().unwrap());
        assert_eq!(kind, self.row["content_type"].as_str(), "{place}");
        if let Some(text) = self.row.get("text") {
            return assert_eq!(answer.body, text.as_str().unwrap(), "{place}");
        }
        match self.row.get("events") {
            Some(events) => self.same("", events, &answer.events().into()),
            None => self.same("", &self.row["answer"], &answer.json()),
        }
    }

    #[track_caller]
    fn same(&self, name: &str, expected: &Value, got: &Value) {
        let place = || format!("{}: `{name}`: {got} instead of {expected}", self.place);
        match (expected, got) {
            // The most likely tokens by name: how many of them depends on the model.
            (Value::Object(_), Value::Object(_)) if name == "top_logprobs" => {}
            (Value::Object(expected), Value::Object(got)) => {
                let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
                assert_eq!(keys(got), keys(expected), "{}", place());
                for (key, value) in expected {
                    // Which field of a body is no number, our reader does not say.
                    let unread = key == "param" && expected["type"] == "Bad Request";
                    if !unread {
                        self.same(key, value, &got[key]);
                    }
                }
            }
            (Value::Array(expected), Value::Array(got)) => {
                assert_eq!(got.len(), expected.len(), "{}", place());
                let invented = name == "token_ids" && !self.exact_ids;
                if !invented && name != "bytes" {
                    expected
                        .iter()
                        .zip(got)
                        .for_each(|(expected, got)| self.same(name, expected, got));
                }
            }
            _ if name == "request_id" => {
                let prefix =
                    |id: &Value| id.as_str().unwrap().split('-').next().unwrap().to_owned();
                let suffix = |id: &Value| id.as_str().unwrap().split('-').nth(2).map(str::to_owned);
                assert_eq!(
                    (prefix(got), suffix(got)),
                    (prefix(expected), suffix(expected)),
                    "{}",
                    place()
                );
            }
            _ if INVENTED.contains(&name) && !(self.exact_ids && name == "tokens") => {
                assert_eq!(
                    std::mem::discriminant(got),
                    std::mem::discriminant(expected),
                    "{}",
                    place()
                );
            }
            _ => assert_eq!(got, expected, "{}", place()),
        }
    }
}
