"""Asks a vLLM and writes down what it answers: crates/engine/tests/vectors/answers.json.

    python record_answers.py URL OUT MODEL_DIR ADAPTER_DIR

The server: `--served-model-name tiny --block-size 32 --num-gpu-blocks-override 256 --max-model-len 4096 --enable-lora
--enable-prompt-tokens-details --enable-scale-out`, adapters `first` and `second`, runtime loading and dev mode on.
"""
import json, sys, urllib.request, urllib.error
url, out, model, adapters = sys.argv[1:5]
C, H, T, D = "/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize"
CR, HR = C + "/render", H + "/render"
hi = [{"role": "user", "content": "hello"}]
g = {"temperature": 0}
asks = [
 (C, {"prompt": "hello world", "max_tokens": 3, "ignore_eos": True}),
 (C, {"prompt": "hello world", "max_tokens": 3, "ignore_eos": True, "logprobs": 2, **g}),
 (C, {"prompt": "hello world", "max_tokens": 2, "ignore_eos": True, "logprobs": 0, **g}),
 (C, {"prompt": "hello world", "max_tokens": 1, "ignore_eos": True, "logprobs": 1, "echo": True, **g}),
 (C, {"prompt": ["hello", "x"], "max_tokens": 2, "ignore_eos": True, "n": 2, "seed": 1}),
 (C, {"prompt": "hello", "max_tokens": 0, "echo": True}),
 (C, {"prompt": "hello", "max_tokens": 2, "ignore_eos": True, "return_token_ids": True}),
 (C, {"prompt": "hello", "max_tokens": 2, "ignore_eos": True, "stream": True}),
 (C, {"prompt": "hello", "max_tokens": 2, "ignore_eos": True, "stream": True, "logprobs": 1, "stream_options": {"include_usage": True}, **g}),
 (C, {"prompt": "hello", "max_tokens": 2, "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}),
 (C, {"prompt": "hello", "max_tokens": 2, "ignore_eos": True, "stream": True, "return_token_ids": True}),
 (C, {"prompt": "hello", "max_tokens": 1, "ignore_eos": True, "stream": True, "echo": True}),
 (C, {"prompt": "hello", "max_tokens": 1, "priority": 5, "model": "first"}),
 (C, {"prompt": "a", "stream_options": {}, "max_tokens": 1}),
 (H, {"messages": hi, "max_tokens": 2, "ignore_eos": True}),
 (H, {"messages": hi, "max_tokens": 2, "ignore_eos": True, "logprobs": True, "top_logprobs": 2, **g}),
 (H, {"messages": hi, "max_tokens": 1, "ignore_eos": True, "logprobs": True, **g}),
 (H, {"messages": hi, "max_tokens": 2, "ignore_eos": True, "return_token_ids": True}),
 (H, {"messages": hi, "max_tokens": 1, "max_completion_tokens": 3, "ignore_eos": True}),
 (H, {"messages": hi, "max_tokens": 2, "ignore_eos": True, "stream": True}),
 (H, {"messages": hi, "max_tokens": 2, "ignore_eos": True, "stream": True, "logprobs": True, "top_logprobs": 1, "stream_options": {"include_usage": True}, **g}),
 (H, {"messages": hi, "max_tokens": 2, "ignore_eos": True, "stream": True, "return_token_ids": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}),
 (H, {"messages": hi, "max_tokens": 1, "ignore_eos": True, "n": 2, "seed": 3, "stream": True}),
 (T, {"prompt": "hello world"}),
 (T, {"prompt": "hello world größe 😀", "return_token_strs": True}),
 (T, {"messages": hi}),
 (T, {"messages": hi, "add_generation_prompt": False}),
 (T, {"messages": hi + [{"role": "assistant", "content": "lazy dog"}], "add_generation_prompt": False, "continue_final_message": True}),
 (T, {"messages": hi, "return_token_strs": True, "model": "tiny"}),
 (D, {"tokens": [259, 78, 270, 372]}),
 (D, {"tokens": []}),
 (CR, {"prompt": "hello world"}),
 (CR, {"prompt": ["hello world", "x"], "max_tokens": 3, "temperature": 0.5}),
 (CR, {"prompt": [5, 6, 7], "model": "tiny"}),
 (CR, {"prompt": [[5, 6, 7]], "model": "tiny", "n": 2, "seed": 7, "min_tokens": 1, "ignore_eos": True, "top_k": 5, "logprobs": 2, "stop": ["x", "y"], "stop_token_ids": [9], "stream": True, "stream_options": {"include_usage": True}, "include_stop_str_in_output": True, "frequency_penalty": 0.5, "presence_penalty": 0.25, "repetition_penalty": 1.5, "min_p": 0.25, "top_p": 0.5}),
 (CR, {"prompt": "hello", "cache_salt": "abc", "priority": 3, "prompt_logprobs": 1}),
 (HR, {"messages": hi, "max_tokens": 2}),
 (HR, {"messages": hi, "stream": True, "cache_salt": "abc", "priority": 3}),
 (HR, {"messages": hi, "model": "first", "logprobs": True, "top_logprobs": 3, "mm_payload": "none", "ignore_eos": True}),
 (HR, {"messages": hi + [{"role": "assistant", "content": "b"}], "continue_final_message": True, "add_generation_prompt": False}),
 (HR, {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]}),
 (HR, {"messages": [{"role": "user", "content": "größe 😀\n\n  <|im_end|> x"}, {"role": "assistant", "content": "ok"}, {"role": "user", "content": "x" * 300}]}),
]
bad = [
 {"prompt": "a", "max_tokens": 0}, {"prompt": "a", "max_tokens": -1}, {"prompt": "a", "n": 0}, {"prompt": "a", "logprobs": 30}, {"prompt": "a", "logprobs": -2},
 {"prompt": "a", "temperature": -1}, {"prompt": "a", "top_p": 0}, {"prompt": "a", "min_tokens": -1}, {"prompt": "a", "min_tokens": 5, "max_tokens": 2},
 {"prompt": "a", "stop": ""}, {"prompt": "a", "stop": ["x", ""]}, {"prompt": [2000]}, {"prompt": []}, {"prompt": ""}, {}, {"prompt": "a", "cache_salt": ""}, {"prompt": "a", "cache_salt": "a/b"},
 {"prompt": "a", "stream_options": {"include_usage": True}}, {"prompt": "a", "model": "x"}, {"prompt": "a", "max_tokens": 99999}, {"prompt": "a", "priority": "x"},
 {"prompt": "a", "temperature": 0, "n": 2}, {"prompt": "a", "max_tokens": "x"}, {"prompt": [5] * 4096}, {"prompt": [5] * 5000}, {"prompt": [5] * 4090, "max_tokens": 10},
 {"prompt": "a", "prompt_logprobs": 1, "stream": True}, {"prompt": "a", "frequency_penalty": 3}, {"prompt": "a", "presence_penalty": -3}, {"prompt": "a", "suffix": "x"}, {"prompt": "a", "stop_token_ids": [-1]}, {"prompt": "a", "stop_token_ids": [5000]},
 {"prompt": "a", "top_k": -2}, {"prompt": "a", "min_p": 2}, {"prompt": "a", "n": 20000},
]
asks += [(C, b) for b in bad]
asks += [(H, b) for b in [
 {"messages": []}, {}, {"messages": hi, "logprobs": False, "top_logprobs": 2}, {"messages": hi, "logprobs": True, "top_logprobs": 30}, {"messages": hi, "max_completion_tokens": 0},
 {"messages": hi, "add_generation_prompt": True, "continue_final_message": True}, {"messages": hi, "chat_template": "x"}, {"messages": [{"role": "user", "content": "x" * 20000}]},
 {"messages": hi, "tools": [{"type": "function", "function": {"name": "f"}}]}, {"messages": hi, "logprobs": True, "top_logprobs": -1}, {"messages": hi, "stream_options": {"include_usage": True}},
]]
L, U = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
asks += [(L, {"lora_name": "first", "lora_path": adapters + "/first"}), (L, {"lora_name": "third", "lora_path": adapters + "/third"}), (C, {"prompt": "hello", "max_tokens": 1, "model": "third"}),
 (L, {"lora_name": "third", "lora_path": adapters + "/third", "load_inplace": True}), (L, {"lora_name": "fourth"}), (L, {"lora_name": "", "lora_path": ""}), (L, {"lora_name": "tiny", "lora_path": adapters + "/third"}),
 (U, {"lora_name": "third"}), (C, {"prompt": "hello", "max_tokens": 1, "model": "third"}), (U, {"lora_name": "third"}), (U, {}), (U, {"lora_name": ""}),
 ("/reset_prefix_cache", None), ("/sleep?level=1", None), ("GET /is_sleeping", None), ("/wake_up", None), ("GET /is_sleeping", None), ("GET /v1/models", None), ("GET /kv_event_sources", None), ("GET /reset_prefix_cache", None), ("GET /nothing", None)]
seen = []
for path, body in asks:
    method, where = path.split(" ") if " " in path else ("POST", path)
    data = None if method == "GET" else (b"" if body is None else json.dumps(body).encode())
    req = urllib.request.Request(url + where, data, {"content-type": "application/json"} if body is not None else {}, method=method)
    try:
        with urllib.request.urlopen(req, timeout=60) as a: status, text, kind = a.status, a.read().decode(), a.headers.get("content-type")
    except urllib.error.HTTPError as e: status, text, kind = e.code, e.read().decode(), e.headers.get("content-type")
    row = {"method": method, "path": where, "body": body, "status": status, "content_type": kind}
    if kind and kind.startswith("text/event-stream"):
        row["events"] = [x if x == "[DONE]" else json.loads(x) for x in (e.removeprefix("data: ") for e in text.split("\n\n") if e)]
    elif kind == "application/json": row["answer"] = json.loads(text)
    else: row["text"] = text
    seen.append(row)
def short(value):
    """Long repetitions by their count; the test spells them out."""
    if isinstance(value, (list, str)) and len(value) > 400 and len(set(map(str, value))) == 1: return {"times": len(value), "of": value[0]}
    if isinstance(value, list): return [short(item) for item in value]
    if isinstance(value, dict): return {key: short(item) for key, item in value.items()}
    return value
def line(row):
    text = json.dumps({**row, "body": short(row["body"])}, ensure_ascii=False, separators=(",", ":"))
    return text.replace(model, "/models/tiny").replace(adapters, "/adapters")
with open(out, "w", encoding="utf-8") as file:
    file.write("[\n" + ",\n".join(map(line, seen)) + "\n]\n")
print(len(seen))
