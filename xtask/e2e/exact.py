"""Is what the gateway predicts from KV-cache events what engines reuse, and what does a user see when events fail?

`hits`: conversations under eviction, against a running `up` (GATEWAY_URL, ADMIN_URL): the predicted cached tokens of
each answer against the engine's own. Prints one JSON line.

`failures`: libzmq publishers in both roles, written here, that stop, come back, skip, send garbage and other block sizes;
after each step the state that `/admin/state` and `/metrics` show, within 5 s. PREFIXGATE is the binary.
"""

import contextlib
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

VISIBLE_WITHIN_S = 5.0


def get(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read()


def post(url, body):
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        return response.headers, json.loads(response.read())


def endpoints(admin):
    return json.loads(get(admin + "/admin/state"))["pools"][0]["endpoints"]


# --- hits ---------------------------------------------------------------------------------------------------------

def sentence(rng, words):
    names = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau".split()
    return " ".join(f"{rng.choice(names)}{rng.randrange(100)}" for _ in range(words)) + "."


def converse(seed, turns, out, lock):
    rng = random.Random(seed)
    # A few system prompts are shared, as in life.
    system = sentence(random.Random(seed % 4), 120)
    messages = [{"role": "system", "content": system}]
    gateway = urllib.parse.urlparse(os.environ["GATEWAY_URL"])
    connection = http.client.HTTPConnection(gateway.hostname, gateway.port, timeout=120)
    for _ in range(turns):
        messages.append({"role": "user", "content": sentence(rng, rng.randint(20, 160))})
        body = {"model": MODEL, "messages": messages, "max_tokens": rng.randint(4, 24), "ignore_eos": True}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise SystemExit(f"hits: {response.status}: {answer}")
        usage = answer["usage"]
        row = {
            "prompt": usage["prompt_tokens"],
            "actual": usage["prompt_tokens_details"]["cached_tokens"],
            "predicted": int(response.getheader("x-prefixgate-cached-tokens", "0")),
            "endpoint": response.getheader("x-prefixgate-endpoint"),
        }
        with lock:
            out.append(row)
        messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})
    connection.close()


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else None


def hits(conversations, at_once, turns):
    rows, lock = [], threading.Lock()
    gate = threading.Semaphore(at_once)

    def one(seed):
        with gate:
            converse(seed, turns, rows, lock)

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(conversations)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(rows) != conversations * turns:
        raise SystemExit(f"hits: {len(rows)} answers of {conversations * turns}")
    could = [row for row in rows if row["predicted"] or row["actual"]]
    errors = [row["predicted"] - row["actual"] for row in could]
    absolute = [abs(error) for error in errors]
    states = [endpoint["kv"] for endpoint in endpoints(os.environ["ADMIN_URL"])]
    stored = sum(kv["stored_blocks"] for kv in states)
    removed = sum(kv["removed_blocks"] for kv in states)
    print(json.dumps({
        "modes": sorted({kv["mode"] for kv in states}),
        "requests": len(rows),
        "could_hit": len(could),
        "equal": sum(error == 0 for error in errors),
        "equal_ratio": round(sum(error == 0 for error in errors) / max(1, len(could)), 5),
        "over": sum(error > 0 for error in errors),
        "under": sum(error < 0 for error in errors),
        "absolute_error_p50_p90_p99_max": [percentile(absolute, share) for share in (0.5, 0.9, 0.99, 1)],
        "hit_ratio": round(sum(row["actual"] for row in rows) / sum(row["prompt"] for row in rows), 4),
        "stored_blocks": stored,
        "removed_blocks": removed,
        "eviction_churn": round(removed / stored, 4) if stored else None,
        "orphan_blocks": sum(kv["orphan_blocks"] for kv in states),
        "worst_lag_ms": max((kv["worst_lag_ms"] or 0 for kv in states), default=0),
    }))


# --- failures -----------------------------------------------------------------------------------------------------

def stored(first, blocks=1, size=16, parent=None):
    return {
        "type": "BlockStored", "block_hashes": list(range(first, first + blocks)), "parent_block_hash": parent,
        "token_ids": [first * 1000 + token for token in range(blocks * size)], "block_size": size, "lora_id": None,
        "medium": "GPU",
    }


class Publisher:
    """libzmq's PUB, and its ROUTER for replays, with what a user may break."""

    def __init__(self, context, endpoint, binds=True, replay=None, topic=b""):
        import zmq

        self.context, self.topic, self.sent = context, topic, []
        self.socket = context.socket(zmq.PUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        bind(self.socket, endpoint) if binds else self.socket.connect(endpoint)
        self.router = None
        if replay:
            self.router = context.socket(zmq.ROUTER)
            self.router.setsockopt(zmq.LINGER, 0)
            bind(self.router, replay)
            self.asked = []
            self.running = True
            self.thread = threading.Thread(target=self.answer, daemon=True)
            self.thread.start()

    def answer(self):
        while self.running:
            if not self.router.poll(50):
                continue
            identity, _, start = self.router.recv_multipart()
            start = int.from_bytes(start, "big")
            self.asked.append(start)
            for sequence, payload in list(self.sent):
                if sequence >= start:
                    number = sequence.to_bytes(8, "big")
                    self.router.send_multipart([identity, b"", self.topic, number, payload])
            self.router.send_multipart([identity, b"", b"", b"\xff" * 8, b""])

    def publish(self, sequence, *events, payload=None, live=True):
        import msgpack

        if payload is None:
            payload = msgpack.packb([time.time(), list(events), 0])
        self.sent.append((sequence, payload))
        if live:
            self.socket.send_multipart([self.topic, sequence.to_bytes(8, "big"), payload])

    def close(self):
        if self.router:
            self.running = False
            self.thread.join()
            self.router.close()
        self.socket.close()


def free_port():
    """One that no client's connection is given meanwhile: those come from 32768 on."""
    import socket

    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def bind(socket, endpoint):
    """What a closed socket of before still holds comes free in a moment."""
    import zmq

    for _ in range(100):
        try:
            return socket.bind(endpoint)
        except zmq.ZMQError:
            time.sleep(0.05)
    raise SystemExit(f"exact: {endpoint} stays in use")


@contextlib.contextmanager
def process(*words):
    child = subprocess.Popen([os.environ["PREFIXGATE"], *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(child.stderr), daemon=True)
    reader.start()
    try:
        yield lines
    finally:
        child.terminate()
        child.wait(20)
        reader.join(5)


ROWS = []


def expect(situation, admin, endpoint, mode, cause="", words="", blocks=None, meanwhile=None):
    """Waits until admin state, and then metrics, show the endpoint in that mode for that cause; notes how long it took."""
    begun = time.monotonic()
    while True:
        kv = next(e["kv"] for e in endpoints(admin) if e["name"] == endpoint)
        reason = kv["reason"] or ""
        if kv["mode"] == mode and words in reason and cause in (None, kv["cause"] or "") and blocks in (None, kv["gpu_blocks"]):
            break
        if time.monotonic() - begun > VISIBLE_WITHIN_S:
            raise SystemExit(f"exact: {situation}: expected {mode} ({cause}: {words}, {blocks} blocks), found: {kv}")
        if meanwhile:
            meanwhile()
        time.sleep(0.05)
    took = time.monotonic() - begun
    series = [line for line in get(admin + "/metrics").decode().splitlines() if "_kv_state{" in line and f'"{endpoint}"' in line]
    if len(series) != 1 or f'mode="{mode}"' not in series[0] or f'cause="{kv["cause"] or ""}"' not in series[0]:
        raise SystemExit(f"exact: {situation}: metrics say {series}, not {mode} for {cause!r}")
    ROWS.append((situation, mode, kv["cause"] or "", reason, kv["gpu_blocks"], took))
    print(f"exact: {situation}: {mode} in {took:.1f} s, {kv['gpu_blocks']} blocks  {reason}")


def table(ports):
    """Every situation and what was seen, as it stands in docs/benchmarks."""
    names = {str(port): name for name, port in ports.items()}
    lines = ["| situation | mode | cause | reason, as shown | blocks known | shown after |", "| --- | --- | --- | --- | --- | --- |"]
    for situation, mode, cause, reason, blocks, took in ROWS:
        for port, name in names.items():
            reason = reason.replace(port, f"<{name}>")
        lines.append(f"| {situation} | {mode} | {cause} | {reason} | {blocks} | {took:.1f} s |")
    return "\n".join(lines) + "\n"


def failures():
    import zmq

    context = zmq.Context()
    ports = {name: free_port() for name in ("engine", "gateway", "admin", "events", "replay", "bound", "gateway2", "admin2", "off")}
    engine, off = f"127.0.0.1:{ports['engine']}", f"127.0.0.1:{ports['off']}"
    events, replay = (f"tcp://127.0.0.1:{ports[name]}" for name in ("events", "replay"))
    admin = f"http://127.0.0.1:{ports['admin']}"
    config = f"""
listen: 127.0.0.1:{ports['gateway']}
admin_listen: 127.0.0.1:{ports['admin']}
pools:
- name: pool
  endpoints: ["http://{engine}", "http://{off}"]
  tokenizer: {{builtin: true}}
  kv_events:
    enabled: true
    sources:
      "{engine}": {{endpoint: "{events}"}}
"""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for name in ("engine", "off"):
            stack.enter_context(process("engine", "--port", str(ports[name]), "--model", "m", "--time-scale", "0.05"))

        def serve(text, name):
            path = os.path.join(folder, name)
            with open(path, "w") as file:
                file.write(text)
            lines = stack.enter_context(process("serve", "--config", path))
            return lines

        lines = serve(config, "one.yaml")
        wait_up(admin)
        # Events configured, but off at the engine; nobody where they should come from.
        expect("events configured, off at the engine", admin, off, "stale", "no_source", "publishes no events")
        expect("events configured, nobody listens there", admin, engine, "stale", "not_connected", "connection refused")
        # A publisher appears: connected, nothing known; then from its first message on.
        publisher = Publisher(context, events)
        expect("publisher appears, says nothing yet", admin, engine, "stale", "waiting", "nothing was published yet")
        time.sleep(0.3)
        publisher.publish(0, stored(1))
        expect("its first message, number 0", admin, engine, "exact", blocks=1)
        publisher.publish(1, stored(2, parent=1), {"type": "Unheard", "x": [1, {}]})
        expect("a further event of a kind not known", admin, engine, "exact", blocks=2)
        explained(admin, engine, "exact")
        # A gap that nothing can fill: its entries go, and it is told which were lost.
        publisher.publish(5, stored(9))
        expect("gap without a replay endpoint", admin, engine, "stale", "gap", "batches 2 to 4 were lost")
        explained(admin, engine, "stale", "batches 2 to 4 were lost")
        publisher.publish(0, stored(1))
        expect("a new process: number 0 again", admin, engine, "exact", blocks=1)
        # Garbage; and the engine forgetting everything, after which nothing is missing.
        publisher.publish(1, payload=b"\xc1 garbage")
        expect("garbage bytes", admin, engine, "stale", "garbage", "batch 1 cannot be read")
        publisher.publish(2, {"type": "AllBlocksCleared"})
        publisher.publish(3, stored(4))
        expect("after it, the engine clears its cache", admin, engine, "exact", blocks=1)
        publisher.socket.send_multipart([b"only one frame"])
        expect("a message of one frame", admin, engine, "stale", "garbage", "1 frames")
        publisher.publish(0, stored(1))
        expect("a new process: number 0 again", admin, engine, "exact", blocks=1)
        # Blocks that are not the engine's.
        publisher.publish(1, stored(70, size=32))
        expect("blocks of a wrong size", admin, engine, "stale", "block_size", "blocks of 32 tokens")
        publisher.publish(2, stored(71))
        expect("blocks of the right size again", admin, engine, "exact")
        # An engine that works, past us, and tells nothing.
        number = iter(range(10_000))

        def work():
            prompt = f"{next(number)} " + sentence(random.Random(next(number)), 300)
            post(f"http://{engine}/v1/completions", {"model": "m", "prompt": prompt, "max_tokens": 1})

        expect("the engine works, its events do not come", admin, engine, "stale", "silent", "published nothing", meanwhile=work)
        # Killed, and started again.
        publisher.close()
        expect("publisher killed", admin, engine, "stale", "disconnected", "127.0.0.1")
        publisher = Publisher(context, events)
        time.sleep(1.5)
        publisher.publish(0, stored(1, blocks=3))
        expect("publisher started again", admin, engine, "exact", blocks=3)
        publisher.close()
        told = [line for line in lines if "KV-cache events" in line]
        assert 10 <= len(told) <= 40, f"{len(told)} lines for about 20 changes: {told}"

        # With a replay a gap is filled, an interruption forgiven, a late start made up for.
        admin2 = f"http://127.0.0.1:{ports['admin2']}"
        publisher = Publisher(context, events, replay=replay)
        for sequence in range(3):
            publisher.publish(sequence, stored(10 + sequence))
        second = config.replace(str(ports["gateway"]), str(ports["gateway2"])).replace(str(ports["admin"]), str(ports["admin2"]))
        second = second.replace(f'{{endpoint: "{events}"}}', f'{{endpoint: "{events}", replay_endpoint: "{replay}"}}')
        second += f'    bind: "tcp://127.0.0.1:{ports["bound"]}"\n'
        serve(second, "two.yaml")
        wait_up(admin2)
        expect("late start, with a replay endpoint", admin2, engine, "exact", blocks=3)
        time.sleep(0.6)
        publisher.publish(3, stored(13), live=False)
        publisher.publish(4, stored(14))
        expect("gap, with a replay endpoint", admin2, engine, "exact", blocks=5)
        publisher.close()
        expect("publisher killed", admin2, engine, "stale", words="127.0.0.1", cause=None)
        sent = publisher.sent
        publisher = Publisher(context, events, replay=replay)
        publisher.sent = sent + []
        publisher.publish(5, stored(15), live=False)
        expect("it is back, with a replay endpoint", admin2, engine, "exact", blocks=6)
        publisher.close()
        expect("publisher killed", admin2, engine, "stale", words="127.0.0.1", cause=None)
        # Another process with a longer history than what is known of the old one.
        publisher = Publisher(context, events, replay=replay)
        for sequence in range(9):
            publisher.publish(sequence, stored(30 + sequence), live=False)
        expect("another process, with a replay endpoint", admin2, engine, "exact", blocks=9)
        publisher.close()

        # Engines that connect to us: told apart by topic.
        expect("we listen, the engine has not come", admin2, off, "stale", "not_connected", "has not connected")
        publisher = Publisher(context, f"tcp://127.0.0.1:{ports['bound']}", binds=False, topic=f"kv@{off}@m".encode())
        time.sleep(1.0)
        publisher.publish(0, stored(1, blocks=2))
        expect("we listen, the engine connects", admin2, off, "exact", blocks=2)
        publisher.close()
        expect("its connection ends", admin2, off, "stale", cause=None)
    if "STATES" in os.environ:
        with open(os.environ["STATES"], "w") as file:
            file.write(table(ports))
    context.destroy(0)
    print("exact: failures passed")


def explained(admin, endpoint, mode, words=""):
    """`prefixgate explain` says it too."""
    command = [os.environ["PREFIXGATE"], "explain", "--admin", admin, "--prompt", "what rests on what"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=30)
    row = [line for line in output.stdout.splitlines() if endpoint in line and f" {mode}" in line and words in line]
    if output.returncode or not row:
        raise SystemExit(f"exact: explain does not say {mode} ({words}) of {endpoint}: {output.stdout}{output.stderr}")


def wait_up(admin):
    begun = time.monotonic()
    while time.monotonic() - begun < 20:
        with contextlib.suppress(OSError):
            if all(endpoint["health"] == "ready" for endpoint in endpoints(admin)):
                return
        time.sleep(0.05)
    raise SystemExit("exact: not ready in 20 s")


if sys.argv[1] == "hits":
    MODEL = json.loads(get(os.environ["GATEWAY_URL"] + "/v1/models"))["data"][0]["id"]
    hits(*(int(word) for word in sys.argv[2:5]))
else:
    failures()
