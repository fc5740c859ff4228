"""KV events of the built engine as libzmq sees them, in both roles, with replay; compared with hashes computed here.

PREFIXGATE is the binary. Exits with 1 and says what differed.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import msgpack
import zmq

BLOCK = 16
WAIT_MS = 20_000
END = b"\xff" * 8
STORED = [
    "type", "block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium", "lora_name",
    "extra_keys", "group_idx", "kv_cache_spec_kind",
]


def cbor_head(major, value):
    if value < 24:
        return bytes([major << 5 | value])
    for extra, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << 8 * width:
            return bytes([major << 5 | extra]) + value.to_bytes(width, "big")
    raise ValueError(value)


def cbor(value):
    """The little of canonical CBOR that a block needs."""
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return cbor_head(0, value)
    if isinstance(value, bytes):
        return cbor_head(2, len(value)) + value
    if isinstance(value, str):
        return cbor_head(3, len(value.encode())) + value.encode()
    return cbor_head(4, len(value)) + b"".join(cbor(item) for item in value)


def digest(value):
    return hashlib.sha256(cbor(value)).digest()


def chain(tokens, salt=None, seed="vllm-none-hash"):
    """Names of the full blocks of a prompt."""
    parent, names = digest(seed), []
    for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
        extra = [["cache_salt", salt]] if salt and start == 0 else None
        parent = digest([parent, tokens[start : start + BLOCK], extra])
        names.append(parent)
    return names


def low64(name):
    return int.from_bytes(name[-8:], "big")


def same(got, expected, what):
    if got != expected:
        raise SystemExit(f"kv-events: {what}: {got!r} instead of {expected!r}")


class Engine:
    """An engine on a free port with this KV-events configuration."""

    def __init__(self, events, *flags, env=None):
        config = json.dumps({"enable_kv_cache_events": True, **events})
        command = [os.environ["PREFIXGATE"], "engine", "--port", "0", "--time-scale", "0", "--kv-events-config", config]
        self.process = subprocess.Popen(
            command + list(flags), stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
        )
        for line in self.process.stdout:
            if "http://" in line:
                self.url = "http://" + line.split("http://")[1].split()[0]
                break
        else:
            raise SystemExit("kv-events: the engine did not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)

    def post(self, path, body):
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def ask(self, tokens, max_tokens=1, **more):
        return self.post(
            "/v1/completions", {"prompt": tokens, "max_tokens": max_tokens, "ignore_eos": True, **more}
        )

    def sources(self):
        with urllib.request.urlopen(self.url + "/kv_event_sources", timeout=20) as answer:
            return json.load(answer)


class Reader:
    """A SUB socket; checks the frames of each message."""

    def __init__(self, context, topic=b""):
        self.socket, self.topic = context.socket(zmq.SUB), topic
        self.socket.setsockopt(zmq.SUBSCRIBE, topic)
        self.last = None

    def poll(self, wait_ms=WAIT_MS):
        """`(sequence, payload)` of the next message, or None."""
        if not self.socket.poll(wait_ms):
            return None
        frames = self.socket.recv_multipart()
        same(len(frames), 3, "frames of a message")
        same(frames[0], self.topic, "topic")
        same(len(frames[1]), 8, "bytes of a sequence")
        sequence = int.from_bytes(frames[1], "big")
        if self.last is not None:
            same(sequence, self.last + 1, "sequence")
        self.last = sequence
        return sequence, frames[2]

    def events(self, rank=0):
        message = self.poll()
        if message is None:
            raise SystemExit("kv-events: no message came")
        sent, events, got_rank = msgpack.unpackb(message[1], strict_map_key=False)
        if not abs(time.time() - sent) < 60:
            raise SystemExit(f"kv-events: time stamp {sent}")
        same(got_rank, rank, "rank")
        return events


def joined(engine, reader):
    """Asks until the subscription has reached the engine, then reads what is left."""
    for number in range(200):
        engine.ask([7 + number] * BLOCK)
        if reader.poll(100) is not None:
            while reader.poll(300) is not None:
                pass
            return
    raise SystemExit("kv-events: a subscriber never got a message")


def stored(event):
    same(list(event), STORED, "fields of BlockStored")
    fixed = {name: event[name] for name in ("type", "block_size", "medium", "group_idx", "kv_cache_spec_kind")}
    expected = {
        "type": "BlockStored", "block_size": BLOCK, "medium": "GPU", "group_idx": 0,
        "kv_cache_spec_kind": "full_attention",
    }
    same(fixed, expected, "fixed fields")
    same(len(event["token_ids"]), BLOCK * len(event["block_hashes"]), "token ids")
    same(len(event["extra_keys"]), len(event["block_hashes"]), "extra keys")
    return event


def replay(context, endpoint, first):
    """All batches that the engine still has from `first` on."""
    dealer = context.socket(zmq.DEALER)
    dealer.connect(endpoint)
    dealer.send_multipart([b"", first.to_bytes(8, "big")])
    batches = []
    while True:
        if not dealer.poll(WAIT_MS):
            raise SystemExit("kv-events: a replay did not end")
        empty, topic, sequence, payload = dealer.recv_multipart()
        same(empty, b"", "first frame of a replay")
        if sequence == END:
            same((topic, payload), (b"", b""), "end of a replay")
            dealer.close(0)
            return batches
        batches.append((int.from_bytes(sequence, "big"), topic, payload))


def bound(context):
    """We connect to the engine: stored, decode-filled, salted, replayed, cleared."""
    with Engine(
        {"endpoint": "tcp://*:0", "replay_endpoint": "tcp://127.0.0.1:0", "topic": "kv@here@m"},
        env={"VLLM_SERVER_DEV_MODE": "1"},
    ) as engine:
        source = engine.sources()["0"]
        same(source["topic"], "kv@here@m", "topic of the source")
        reader = Reader(context, b"kv@here@m")
        reader.socket.connect(source["endpoint"])
        joined(engine, reader)
        start = reader.last

        tokens = list(range(1000, 1000 + 5 * BLOCK + 3))
        engine.ask(tokens)
        (event,) = reader.events()
        names = chain(tokens)
        same(stored(event)["block_hashes"], [low64(name) for name in names], "hashes")
        same(event["token_ids"], tokens[: 5 * BLOCK], "token ids")
        same((event["parent_block_hash"], event["lora_id"], event["lora_name"]), (None, None, None), "nothing before")
        same(event["extra_keys"], [None] * 5, "extra keys")

        engine.ask(tokens + [5] * (2 * BLOCK - 3))
        (event,) = reader.events()
        same(stored(event)["parent_block_hash"], low64(names[-1]), "parent")
        same(len(event["block_hashes"]), 2, "blocks that were not there")

        engine.ask([3] * BLOCK, max_tokens=2 * BLOCK + 1)
        (prompt,) = reader.events()
        decoded = [reader.events()[0] for _ in range(2)]
        same([len(stored(event)["block_hashes"]) for event in decoded], [1, 1], "blocks filled while decoding")
        same(decoded[0]["parent_block_hash"], prompt["block_hashes"][-1], "parent of a decoded block")

        engine.ask(tokens, cache_salt="salt")
        (event,) = reader.events()
        same(stored(event)["block_hashes"], [low64(name) for name in chain(tokens, "salt")], "salted hashes")
        same(event["extra_keys"], [["salt"]] + [None] * 4, "salt in the first block")

        same(engine.post("/reset_prefix_cache", {}), {"success": True}, "reset")
        engine.ask([9] * BLOCK)
        same([event["type"] for event in reader.events()], ["AllBlocksCleared", "BlockStored"], "clear")

        again = replay(context, source["replay_endpoint"], start + 1)
        same([sequence for sequence, _, _ in again], list(range(start + 1, reader.last + 1)), "replayed sequences")
        same({topic for _, topic, _ in again}, {b"kv@here@m"}, "topic of a replay")
        first = msgpack.unpackb(again[0][2])
        same(first[1][0]["block_hashes"], [low64(name) for name in names], "a replayed batch")
        same(replay(context, source["replay_endpoint"], 1 << 40), [], "nothing to replay")
        same([sequence for sequence, _, _ in replay(context, source["replay_endpoint"], 0)][0], 0, "from the first")


def connected(context):
    """The engine connects to us, finds us again after we were gone, and its rank moves the port."""
    reader = Reader(context)
    port = reader.socket.bind_to_random_port("tcp://127.0.0.1")
    with Engine({"endpoint": f"tcp://127.0.0.1:{port - 1}"}, "--data-parallel-rank", "1") as engine:
        same(list(engine.sources()), ["1"], "rank of the source")
        same(engine.sources()["1"]["endpoint"], f"tcp://127.0.0.1:{port}", "endpoint of the rank")
        joined(engine, reader)
        tokens = list(range(2000, 2000 + BLOCK))
        engine.ask(tokens)
        same(reader.events(rank=1)[0]["block_hashes"], [low64(chain(tokens)[0])], "hash")
        before = reader.last
        reader.socket.close(0)
        reader = Reader(context)
        for _ in range(100):
            with contextlib.suppress(zmq.ZMQError):
                reader.socket.bind(f"tcp://127.0.0.1:{port}")
                break
            time.sleep(0.05)
        joined(engine, reader)
        if not reader.last > before:
            raise SystemExit("kv-events: the sequence went back although the engine did not restart")


def forms(context):
    """A Unix socket, positional events, whole digests, a seed of one's own."""
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/events"
        env = {"PYTHONHASHSEED": "42", "VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES": "0"}
        with Engine({"endpoint": endpoint}, "--kv-events-encoding", "array", env=env) as engine:
            reader = Reader(context)
            reader.socket.connect(endpoint)
            joined(engine, reader)
            tokens = list(range(300, 300 + 2 * BLOCK))
            engine.ask(tokens)
            names = chain(tokens, seed="42")
            expected = ["BlockStored", names, None, tokens, BLOCK, None, "GPU", None, [None, None], 0, "full_attention"]
            same(reader.events(), [expected], "positional event")


def evicted(context):
    """Blocks that make room are told, and the set of what is told never exceeds the pool."""
    with Engine({"endpoint": "tcp://*:0"}, "--num-gpu-blocks-override", "33", "--max-model-len", "512") as engine:
        reader = Reader(context)
        reader.socket.connect(engine.sources()["0"]["endpoint"])
        joined(engine, reader)
        held, removed = {}, 0
        for number in range(40):
            engine.ask([number] * (6 * BLOCK))
            while (message := reader.poll(1000 if number == 39 else 0)) is not None:
                for event in msgpack.unpackb(message[1])[1]:
                    for name in event["block_hashes"]:
                        if event["type"] == "BlockRemoved":
                            same(list(event), ["type", "block_hashes", "medium", "group_idx"], "fields of BlockRemoved")
                            held.pop(name, None)
                            removed += 1
                        else:
                            held[name] = True
                if not len(held) <= 32:
                    raise SystemExit(f"kv-events: {len(held)} blocks held by a pool of 32")
        if not removed >= 30 * 6:
            raise SystemExit(f"kv-events: only {removed} blocks removed")


def slow(context):
    """Somebody who subscribes and never reads holds up nobody."""
    with Engine({"endpoint": "tcp://*:0", "buffer_steps": 10}) as engine:
        endpoint = engine.sources()["0"]["endpoint"]
        lazy = context.socket(zmq.SUB)
        lazy.set_hwm(1)
        lazy.setsockopt(zmq.RCVBUF, 4096)
        lazy.setsockopt(zmq.SUBSCRIBE, b"")
        lazy.connect(endpoint)
        reader = Reader(context)
        reader.socket.connect(endpoint)
        joined(engine, reader)
        start = time.monotonic()
        for number in range(300):
            engine.ask([number % 1000] * (64 * BLOCK - number))
        took = time.monotonic() - start
        seen = 0
        while reader.poll(1000) is not None:
            seen += 1
        if not (seen >= 250 and took < 60):
            raise SystemExit(f"kv-events: {seen} batches, 300 requests in {took:.1f} s")
        lazy.close(0)


def main():
    context = zmq.Context()
    for check in (bound, connected, forms, evicted, slow):
        start = time.monotonic()
        check(context)
        print(f"{check.__name__}: {check.__doc__.splitlines()[0]} {time.monotonic() - start:.1f} s", flush=True)


main()
