"""Engines, picker and Envoy as processes, for checks and measurements of one before the other.

Reads PREFIXGATE (binary), ENVOY (binary) and ROOT from the environment.
"""

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

PREFIXGATE = os.environ["PREFIXGATE"]
ENVOY = os.environ["ENVOY"]
DEPLOY = pathlib.Path(os.environ["ROOT"]) / "deploy" / "envoy"
DOCUMENTS = pathlib.Path(os.environ["ROOT"]) / "crates" / "scheduler" / "tests" / "documents" / "llm_d"
LOGS = pathlib.Path(tempfile.mkdtemp(prefix="e2e-envoy-"))
MODEL = "e2e/model"
WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu".split()

started = []
passed = []


def fail(name, seen):
    print(f"envoy: {name}: failed, saw {seen!r}; logs in {LOGS}", file=sys.stderr)
    sys.exit(1)


def check(name, good, seen=None):
    if not good:
        fail(name, seen)
    passed.append(name)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(name, words):
    log = open(LOGS / f"{name}.log", "ab")
    process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    started.append(process)
    return process


def stop(process, how=signal.SIGTERM, limit_s=15):
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            fail(f"end after {how}", process.args)
    return process.returncode


def wait(name, condition, limit_s=20):
    begun = time.monotonic()
    while time.monotonic() - begun < limit_s:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            value = condition()
            if value:
                return value
        time.sleep(0.02)
    fail(f"waiting for {name}", "nothing")


def get(url, limit_s=10):
    with urllib.request.urlopen(url, timeout=limit_s) as response:
        return response.read()


def get_json(url):
    return json.loads(get(url))


class Engine:
    def __init__(self, name, *flags):
        self.name = name
        self.port = free_port()
        self.flags = flags
        self.start()

    def start(self):
        words = [PREFIXGATE, "engine", "--model", MODEL, "--port", str(self.port), "--host", "127.0.0.1"]
        words += ["--enable-prompt-tokens-details", *self.flags]
        self.process = start(self.name, words)
        self.url = f"http://127.0.0.1:{self.port}"
        wait(self.name, lambda: get(self.url + "/health") is not None, 30)


class Picker:
    def __init__(self, engines, *flags):
        self.engines = engines
        self.flags = flags
        self.grpc, self.health, self.metrics = free_port(), free_port(), free_port()
        self.start()

    def start(self):
        words = [PREFIXGATE, "epp", "--listen-address", "127.0.0.1", "--seed", "1"]
        words += ["--grpc-port", str(self.grpc), "--grpc-health-port", str(self.health)]
        words += ["--metrics-port", str(self.metrics), "--max-endpoints", "3", *self.flags]
        if "--drain-timeout" not in self.flags:
            words += ["--drain-timeout", "0s"]
        for engine in self.engines if "--endpoint-file" not in self.flags else []:
            words += ["--endpoint", engine.url]
        self.process = start("picker", words)
        self.wait_ready()

    def wait_ready(self):
        def ready():
            endpoints = self.state()["pools"][0]["endpoints"]
            return all(endpoint["health"] == "ready" for endpoint in endpoints)

        wait("picker", ready)

    def state(self):
        return get_json(f"http://127.0.0.1:{self.metrics}/admin/state")

    def active(self):
        return sum(e["active_requests"] for e in self.state()["pools"][0]["endpoints"])

    def page(self):
        return get(f"http://127.0.0.1:{self.metrics}/metrics").decode()


class Envoy:
    """Envoy with a shipped file, its ports replaced by free ones."""

    def __init__(self, file, engines, picker, **changes):
        text = (DEPLOY / file).read_text()
        self.port, self.admin = free_port(), free_port()
        known = {"8080": self.port, "9901": self.admin, "9002": picker.grpc}
        known |= {str(8101 + at): engine.port for at, engine in enumerate(engines)}
        for shipped, ours in known.items():
            check(f"{file} names port {shipped}", f"port_value: {shipped}" in text, shipped)
            text = text.replace(f"port_value: {shipped}}}", f"port_value: #{ours}}}")
        text = text.replace("port_value: #", "port_value: ")
        for before, after in changes.get("replace", []):
            check(f"{file} has `{before}`", before in text, before)
            text = text.replace(before, after)
        path = LOGS / f"{self.port}-{file}"
        path.write_text(text)
        words = [ENVOY, "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
        self.process = start("envoy", words)
        self.url = f"http://127.0.0.1:{self.port}"
        wait("envoy", lambda: get(f"http://127.0.0.1:{self.admin}/ready") is not None)
        healthy = "cluster.picker.membership_healthy: 1"
        wait("envoy's picker", lambda: healthy in get(f"http://127.0.0.1:{self.admin}/stats?filter=picker").decode())


def post(url, body, headers=None, limit_s=60):
    """Status, headers and body of a POST; whatever the status."""
    host = url.removeprefix("http://").split("/")[0]
    connection = http.client.HTTPConnection(host, timeout=limit_s)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        path = "/" + url.removeprefix("http://").split("/", 1)[1]
        connection.request("POST", path, data, {"content-type": "application/json", **(headers or {})})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def completion(envoy, prompt, tokens=2, headers=None, **more):
    body = {"model": MODEL, "prompt": prompt, "max_tokens": tokens, "ignore_eos": True, **more}
    return post(envoy.url + "/v1/completions", body, headers)


def prompt(number, words=400):
    return f"{number} " + " ".join(WORDS[(number * 7 + at * (1 + number % 5)) % len(WORDS)] for at in range(words))


def end_all():
    for process in started:
        with contextlib.suppress(OSError):
            process.kill()
            process.wait()
