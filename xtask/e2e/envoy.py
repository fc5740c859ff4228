"""Does the endpoint picker work behind a real Envoy, with the configuration that is shipped as an example?

Starts engines, picker and Envoy itself, on ports of its own. Reads PREFIXGATE (binary), ENVOY (binary) and ROOT from
the environment; exits 1 at the first failed check.
"""

import concurrent.futures
import hashlib
import http.client
import http.server
import json
import signal
import threading
import time

import openai

from envoy_parts import (
    DOCUMENTS,
    LOGS,
    MODEL,
    Engine,
    Envoy,
    Picker,
    check,
    completion,
    end_all,
    get,
    passed,
    post,
    prompt,
    stop,
    wait,
)


def affinity(envoy, picker, engines):
    """The same prompt goes where it went; different ones spread."""
    before = {e["name"]: e["picks"] for e in picker.state()["pools"][0]["endpoints"]}
    for number in range(9):
        for _ in range(4):
            status, _, body = completion(envoy, prompt(number))
            check("affinity", status == 200, (status, body))
    endpoints = picker.state()["pools"][0]["endpoints"]
    picks = {e["name"]: e["picks"] - before[e["name"]] for e in endpoints}
    check("every engine takes part", min(picks.values()) > 0, picks)
    hit, seen = 0.0, 0.0
    for engine in engines:
        for line in get(engine.url + "/metrics").decode().splitlines():
            if line.startswith("vllm:prefix_cache_hits_total"):
                hit += float(line.split()[-1])
            if line.startswith("vllm:prefix_cache_queries_total"):
                seen += float(line.split()[-1])
    check("three of four prompts found in cache", hit / seen > 0.6, (hit, seen))


def openai_client(envoy):
    client = openai.OpenAI(base_url=envoy.url + "/v1", api_key="unused", max_retries=0, timeout=60)
    messages = [{"role": "system", "content": prompt(77)}, {"role": "user", "content": "\u00e4 \U0001f98a"}]
    check("models", client.models.list().data[0].id == MODEL, "models")
    answer = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=8)
    check("chat", answer.usage.completion_tokens == 8, answer)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(model=MODEL, messages=messages, max_tokens=8, **options))
    check("chat stream", chunks[-1].usage.completion_tokens == 8, chunks[-1])
    cached = chunks[-1].usage.prompt_tokens_details.cached_tokens
    check("chat stream finds its prompt in cache", cached > 0, chunks[-1])
    answer = client.completions.create(model=MODEL, prompt=prompt(78), max_tokens=4)
    check("completion", answer.usage.completion_tokens == 4, answer)
    chunks = list(client.completions.create(model=MODEL, prompt=prompt(78), max_tokens=4, stream=True))
    check("completion stream", any(c.choices[0].text for c in chunks if c.choices), chunks)


def refusals(envoy):
    status, headers, body = post(envoy.url + "/v1/completions", b'{"model": ')
    check("malformed JSON", status == 400 and json.loads(body)["error"]["message"], (status, body))
    status, _, body = post(envoy.url + "/v1/completions", {"prompt": "x"})
    check("no model", status == 400 and b"model not found in request body" in body, (status, body))
    status, _, body = post(envoy.url + "/v1/completions", {"model": "no/such", "prompt": "x"})
    check("unknown model", status == 404 and b"no/such" in body, (status, body))
    status, _, _ = post(envoy.url + "/reset_prefix_cache", b"")
    check("control path", status == 403, status)


class Recorder(http.server.ThreadingHTTPServer):
    """An endpoint that keeps what it was sent."""

    daemon_threads = True

    def __init__(self):
        self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, body, status=200):
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                if self.path == "/v1/models":
                    return self.answer(json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]}).encode())
                return self.answer(b"" if self.path == "/metrics" else b"{}")

            def do_POST(self):
                if "chunked" in self.headers.get("transfer-encoding", ""):
                    body = b""
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers.get("content-length", 0)))
                self.server.seen.append((dict((k.lower(), v) for k, v in self.headers.items()), body))
                self.answer(b'{"usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}')

        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.name = "recorder"
        threading.Thread(target=self.serve_forever, daemon=True).start()


def bodies(file):
    """What an engine gets is what the client sent, byte by byte; the client's routing headers are not among it."""
    recorders = [Recorder() for _ in range(3)]
    picker = Picker(recorders)
    envoy = Envoy(file, recorders, picker)
    for size in (0, 1, 70_000, 1_048_576, 1_500_001, 5 << 20):
        text = "x\u00e4" * (size // 3) + "x" * (size % 3)
        body = json.dumps({"model": MODEL, "prompt": text, "unknown": [1, {"a": None}]}, ensure_ascii=False).encode()
        stray = {
            "x-gateway-destination-endpoint": "9.9.9.9:9",
            "x-gateway-destination-endpoint-subset": "9.9.9.9:9",
            "x-llm-d-inference-objective": "high",
            "x-slo-ttft-ms": "1",
            "x-data-parallel-rank": "3",
            "x-own": "kept",
        }
        status, _, answer = post(envoy.url + "/v1/completions", body, stray)
        check(f"{file}: body of {len(body)} bytes", status == 200, (status, answer[:200]))
        headers, got = [seen for recorder in recorders for seen in recorder.seen][-1]
        same = hashlib.sha256(got).digest() == hashlib.sha256(body).digest()
        check(f"{file}: {len(body)} bytes identical at the engine", same, (len(got), len(body)))
        for recorder in recorders:
            recorder.seen.clear()
        check("routing headers end here", not ({*stray} - {"x-own", "x-gateway-destination-endpoint"}) & {*headers}, headers)
        destination = headers.get("x-gateway-destination-endpoint", "")
        check("destination with fallbacks", destination.count(",") >= 1 and "9.9.9.9" not in destination, destination)
        check("other headers pass", headers.get("x-own") == "kept", headers)
        check("request id", headers.get("x-request-id"), headers)
    for recorder in recorders:
        recorder.shutdown()
    stop(envoy.process)
    stop(picker.process)


def dead_first(envoy, picker, engines):
    """The endpoint that holds the prompt dies: the request goes down the list, and load follows it."""
    victim_prompt = prompt(5)
    before = {e["name"]: e["picks"] for e in picker.state()["pools"][0]["endpoints"]}
    completion(envoy, victim_prompt)
    after = {e["name"]: e["picks"] for e in picker.state()["pools"][0]["endpoints"]}
    name = next(name for name in after if after[name] > before[name])
    victim = next(engine for engine in engines if name.endswith(f":{engine.port}"))
    stop(victim.process, signal.SIGKILL)
    status, _, body = completion(envoy, victim_prompt)
    check("retry to the fallback when the first endpoint dies", status == 200, (status, body))
    wait("load given back", lambda: picker.active() == 0)
    state = picker.state()
    check("the picker was told who served", state["picker"]["served_elsewhere"] > 0, state["picker"])
    for number in range(20):
        status, _, body = completion(envoy, prompt(100 + number))
        check("requests while an engine is dead", status == 200, (status, body))
    victim.start()
    picker.wait_ready()


def disconnect(envoy, picker):
    """A client that leaves gives its load back."""
    connection = http.client.HTTPConnection(envoy.url.removeprefix("http://"), timeout=30)
    body = {"model": MODEL, "prompt": prompt(31), "max_tokens": 4000, "ignore_eos": True, "stream": True}
    connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    response.read(200)
    check("load is held while a response streams", picker.active() == 1, picker.active())
    connection.close()
    response.close()
    wait("load of a client that left", lambda: picker.active() == 0, 5)
    check("client disconnect releases load", True)


def parallel(envoy, picker, count=500):
    def one(number):
        body = {"model": MODEL, "prompt": prompt(number % 50, 60), "max_tokens": 8, "ignore_eos": True, "stream": True}
        status, _, data = post(envoy.url + "/v1/completions", body, limit_s=120)
        return status == 200 and data.rstrip().endswith(b"data: [DONE]"), (status, data[-200:])

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        results = list(pool.map(one, range(count)))
    bad = [seen for good, seen in results if not good]
    check(f"{count} parallel streams", not bad, bad[:3])
    wait("load given back", lambda: picker.active() == 0)
    check("no load is left behind", picker.active() == 0)


def picker_gone(engines, fail_open):
    """Killed: fail-open serves round robin, fail-close answers an error; back: prefixes count again."""
    picker = Picker(engines)
    changes = [] if fail_open else [("failure_mode_allow: true", "failure_mode_allow: false")]
    envoy = Envoy("envoy.yaml", engines, picker, replace=changes)
    status, _, body = completion(envoy, prompt(1))
    check("before", status == 200, (status, body))
    stop(picker.process, signal.SIGKILL)
    statuses = {completion(envoy, prompt(number))[0] for number in range(12)}
    if fail_open:
        check("fail-open: every request is served without the picker", statuses == {200}, statuses)
    else:
        check("fail-close: every request is an error without the picker", statuses == {503}, statuses)
    picker.start()
    wait("the picker is asked again", lambda: completion(envoy, prompt(2))[0] == 200 and picker.state()["picker"]["streams"] > 0)
    stop(envoy.process)
    stop(picker.process)


def restarted(engines, file, how):
    """The picker ends and comes back while a response streams: no byte of it is lost."""
    picker = Picker(engines, "--drain-timeout", "200ms")
    envoy = Envoy(file, engines, picker)
    tokens = 400
    result = {}

    def stream():
        body = {"model": MODEL, "prompt": prompt(3), "max_tokens": tokens, "ignore_eos": True, "stream": True}
        body["stream_options"] = {"include_usage": True}
        result["answer"] = post(envoy.url + "/v1/completions", body)

    thread = threading.Thread(target=stream)
    thread.start()
    wait("the response streams", lambda: picker.active() == 1)
    time.sleep(0.2)
    code = stop(picker.process, how)
    check("the response still streams", thread.is_alive(), result)
    if how == signal.SIGTERM:
        check("SIGTERM ends the picker well", code == 0, code)
    picker.start()
    thread.join(60)
    status, _, data = result["answer"]
    whole = data.rstrip().endswith(b"data: [DONE]") and f'"completion_tokens":{tokens}'.encode() in data.replace(b" ", b"")
    check(f"{file}: picker ended by {how.name} mid-stream, the response is whole", status == 200 and whole, (status, data[-300:]))
    stop(envoy.process)
    stop(picker.process)


def feedback(engines):
    """With bodies shown: usage and in-band errors are known, and nothing is held up."""
    picker = Picker(engines)
    envoy = Envoy("envoy-feedback.yaml", engines, picker)
    for number in range(3):
        for stream in (False, True):
            status, _, body = completion(envoy, prompt(40 + number), 6, stream=stream)
            check("feedback", status == 200 and (not stream or b"[DONE]" in body), (status, body[-200:]))
    state = wait("usage is known", lambda: (s := picker.state()) and s["pools"][0]["endpoints"] and s)
    check("responses observed", state["picker"]["responses_observed"] == 6, state["picker"])
    reported = sum(e["prediction"]["reported_requests"] for e in state["pools"][0]["endpoints"])
    check("usage reached the index", reported >= 3, state["pools"][0]["endpoints"])
    page = picker.page()
    for name in (
        "llm_d_epp_request_total",
        "inference_objective_request_total",
        "llm_d_epp_request_output_tokens_count",
        "inference_pool_ready_pods",
        "llm_d_epp_ready_endpoints",
        "inference_extension_scheduler_e2e_duration_seconds_bucket",
        "prefixgate_picker_decision_seconds_bucket",
    ):
        check(f"metric {name}", name in page, page[:2000])
    disconnect(envoy, picker)
    stop(envoy.process)
    stop(picker.process)


def stages():
    """A document that splits prefill off: the endpoint that decodes is told through Envoy who prefills."""
    recorders = [Recorder() for _ in range(3)]
    roles = ["prefill", "decode", "decode"]
    listed = [
        {"address": "127.0.0.1", "port": recorder.port, "labels": {"llm-d.ai/role": role}}
        for recorder, role in zip(recorders, roles)
    ]
    endpoints = LOGS / "roles.json"
    endpoints.write_text(json.dumps(listed))
    document = str(DOCUMENTS / "prefill_decode.yaml")
    picker = Picker(recorders, "--endpoint-file", str(endpoints), "--config-file", document)
    envoy = Envoy("envoy.yaml", recorders, picker)
    prefiller = f"127.0.0.1:{recorders[0].port}"
    for tokens, told in ((2000, prefiller), (3, None)):
        body = {"model": MODEL, "prompt": "four" * tokens}
        status, _, answer = post(envoy.url + "/v1/completions", body, {"x-prefiller-host-port": "9.9.9.9:9"})
        check("split by document", status == 200, (status, answer[:200]))
        headers, _ = [seen for recorder in recorders[1:] for seen in recorder.seen][-1]
        seen = headers.get("x-prefiller-host-port")
        check(f"prompt of {tokens} tokens: who prefills", seen == told, (seen, told))
        for recorder in recorders:
            recorder.seen.clear()
    wait("load of both stages given back", lambda: picker.active() == 0)
    page = picker.page()
    for kind in ("prefill-decode", "decode-only"):
        line = f'llm_d_epp_disagg_decision_total{{model_name="{MODEL}",decision_type="{kind}"}} 1'
        check(f"decision {kind} counted", line in page, page[:2000])
    for recorder in recorders:
        recorder.shutdown()
    stop(envoy.process)
    stop(picker.process)


def flow_control(engines):
    """A document that lets requests wait: no endpoint has more than its share, and everyone is served in the end."""
    text = (DOCUMENTS / "flow_control.yaml").read_text()
    detector = "- {type: concurrency-detector, parameters: {maxConcurrency: 1}}\nflowControl:\n"
    text = text.replace("flowControl:\n", detector + "  saturationDetector: {pluginRef: concurrency-detector}\n")
    picker = Picker(engines, "--config-text", text, "--objective", "vip=10")
    envoy = Envoy("envoy.yaml", engines, picker)
    most = 0

    def one(number):
        body = {"model": MODEL, "prompt": prompt(200 + number), "max_tokens": 40, "ignore_eos": True}
        return post(envoy.url + "/v1/completions", body, {"x-llm-d-inference-objective": "vip"})[0]

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        asked = [pool.submit(one, number) for number in range(24)]
        while not all(future.done() for future in asked):
            most = max(most, picker.active())
    statuses = {future.result() for future in asked}
    check("everyone who waited is served", statuses == {200}, statuses)
    check("no more at once than the pool has room for", 0 < most <= len(engines), most)
    wait("load given back", lambda: picker.active() == 0)
    page = picker.page()
    line = 'llm_d_epp_flow_control_requests_total{outcome="Dispatched",inference_pool="default"} 24'
    check("every wait ended in a dispatch", line in page, page[-3000:])
    stop(envoy.process)
    stop(picker.process)


def main():
    engines = [Engine(f"engine-{at}", "--time-scale", "0.2") for at in range(3)]
    picker = Picker(engines)
    envoy = Envoy("envoy.yaml", engines, picker)
    affinity(envoy, picker, engines)
    openai_client(envoy)
    refusals(envoy)
    disconnect(envoy, picker)
    parallel(envoy, picker)
    dead_first(envoy, picker, engines)
    stop(envoy.process)
    check("SIGTERM ends the picker well", stop(picker.process) == 0)
    bodies("envoy.yaml")
    bodies("envoy-feedback.yaml")
    feedback(engines)
    stages()
    flow_control(engines)
    picker_gone(engines, True)
    picker_gone(engines, False)
    slow = [Engine(f"slow-{at}") for at in range(3)]
    restarted(slow, "envoy.yaml", signal.SIGKILL)
    restarted(slow, "envoy.yaml", signal.SIGTERM)
    restarted(slow, "envoy-feedback.yaml", signal.SIGTERM)
    print(f"envoy: {len(passed)} passed, 0 failed")


try:
    main()
finally:
    end_all()
