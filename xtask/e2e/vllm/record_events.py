"""Asks a vLLM one request after another and writes down its KV events: a run of
crates/engine/tests/vectors/kv_events.json.

    python record_events.py URL OUT main|small|lora

`main`: 256 blocks of 32 tokens, length 4096. `small` and `lora`: 20 blocks, length 512, adapters `first` and `second`.
All with `--prefix-caching-hash-algo sha256_cbor` and dev mode. Needs msgspec and pyzmq.
"""
import json, sys, time, urllib.request
import msgspec, zmq
url, out, what = sys.argv[1:4]
def post(path, body):
    req = urllib.request.Request(url + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(req, timeout=60) as a: return json.load(a)
def get(path):
    with urllib.request.urlopen(url + path, timeout=60) as a: return a.read()
src = json.loads(get("/kv_event_sources"))["0"]
ctx = zmq.Context(); sub = ctx.socket(zmq.SUB); sub.setsockopt(zmq.SUBSCRIBE, b"")
sub.connect(src["endpoint"].replace("*", "127.0.0.1"))
run = lambda a, n: [100 + (a * 37 + i * 13) % 850 for i in range(n)]
scen = {
 "main": [
  dict(name="three full blocks and a rest", prompt=run(1, 100)),
  dict(name="the same again", prompt=run(1, 100)),
  dict(name="one block more after a shared beginning", prompt=run(1, 100) + run(2, 30)),
  dict(name="blocks filled while decoding", prompt=run(3, 40), max_tokens=60),
  dict(name="salted", prompt=run(1, 100), salt="tenant-a"),
  dict(name="salted, other characters", prompt=run(1, 70), salt="größe µ"),
  dict(name="salted, shared beginning", prompt=run(1, 100) + run(5, 33), salt="tenant-a"),
  dict(name="salted, decoding over a block", prompt=run(6, 60), salt="tenant-b", max_tokens=6),
  dict(name="prompt log-probabilities do not read the cache", prompt=run(1, 100), prompt_logprobs=1),
  dict(name="two steps of prefill", prompt=run(7, 2100)),
  dict(name="after a reset", prompt=run(8, 33), reset=True),
  dict(name="exactly two blocks", prompt=run(9, 64)),
  dict(name="exactly two blocks again", prompt=run(9, 64)),
  dict(name="less than a block", prompt=run(10, 31), max_tokens=1),
 ],
 "small": [dict(name=f"prompt {i} of those that do not all fit", prompt=run(20 + i % 5, 150 + 7 * (i % 3)), max_tokens=8) for i in range(12)]
   + [dict(name="one that is still there in part", prompt=run(20 + 11 % 5, 150), max_tokens=40)],
 "lora": [
  dict(name="base", prompt=run(30, 64)),
  dict(name="adapter", prompt=run(30, 70), model="first"),
  dict(name="other adapter", prompt=run(30, 70), model="second"),
  dict(name="adapter, salted", prompt=run(30, 100), model="first", salt="tenant-a"),
  dict(name="adapter, decoding", prompt=run(31, 40), model="second", max_tokens=30),
 ],
}[what]
def drain(ms):
    got = []
    while sub.poll(ms): got.append(sub.recv_multipart()); ms = 300
    return got
# let the subscription arrive
for i in range(50):
    post("/v1/completions", {"prompt": run(500 + i, 40), "max_tokens": 1})
    if drain(200): break
urllib.request.urlopen(urllib.request.Request(url + "/reset_prefix_cache", b"", method="POST"))
post("/v1/completions", {"prompt": run(999, 33), "max_tokens": 1}); drain(500)
urllib.request.urlopen(urllib.request.Request(url + "/reset_prefix_cache", b"", method="POST"))
rounds = []
for s in scen:
    if s.get("reset"): urllib.request.urlopen(urllib.request.Request(url + "/reset_prefix_cache", b"", method="POST"))
    body = {"prompt": s["prompt"], "max_tokens": s.get("max_tokens", 1), "ignore_eos": True, "temperature": 0, "return_token_ids": True}
    if "salt" in s: body["cache_salt"] = s["salt"]
    if "model" in s: body["model"] = s["model"]
    if "prompt_logprobs" in s: body["prompt_logprobs"] = s["prompt_logprobs"]
    a = post("/v1/completions", body)
    got = drain(700)
    seqs = [int.from_bytes(f[1], "big") for f in got]
    rounds.append({**{k: s[k] for k in ("name", "salt", "model", "reset") if k in s}, "skip_cache_read": "prompt_logprobs" in s,
        "prompt": s["prompt"], "output": a["choices"][0]["token_ids"], "cached": a["usage"]["prompt_tokens_details"]["cached_tokens"],
        "payloads": [f[2].hex() for f in got]})
    print(s["name"], a["usage"]["prompt_tokens_details"], seqs, [[(e["type"], len(e.get("block_hashes", []))) for e in msgspec.msgpack.decode(f[2])[1]] for f in got])
rounds[0]["reset"] = True
with open(out, "w", encoding="utf-8") as file:
    file.write("[\n" + ",\n".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) for r in rounds) + "\n]\n")
