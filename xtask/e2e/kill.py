"""Is any request lost that had no first byte when its replica was killed?

For each seed: 50 concurrent requests, streamed and not, long prompts among them so that some wait at the engines;
one engine is killed with SIGKILL at a random moment. A request without a first body byte must succeed elsewhere; a
stream that had one must end with an in-band error, a whole body with a broken transfer; the replica must come back
by itself. Ids are followed at the engines, so that a request is known to have been where it died.

Reads GATEWAY_URL, ADMIN_URL, ENGINE_URLS and UP_PID; exits 1 if any request failed that must not.
"""

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

GATEWAY = urllib.parse.urlparse(os.environ["GATEWAY_URL"])
ADMIN = os.environ["ADMIN_URL"]
ENGINES = os.environ["ENGINE_URLS"].split(",")
REQUESTS = 50
WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu".split()


def get(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)


def one(rng_seed, number, results):
    rng = random.Random(rng_seed * 1000 + number)
    stream = number % 2 == 0
    words = 6000 if number % 5 == 0 else rng.randint(20, 800)
    prompt = " ".join(rng.choice(WORDS) for _ in range(words))
    body = {"model": MODEL, "prompt": prompt, "max_tokens": rng.randint(20, 120), "stream": stream, "ignore_eos": True}
    if stream:
        body["stream_options"] = {"include_usage": True}
    ident = f"kill-{rng_seed}-{number}"
    result = {"id": ident, "stream": stream, "bytes": 0, "ok": False, "error": None}
    results[number] = result
    connection = http.client.HTTPConnection(GATEWAY.hostname, GATEWAY.port, timeout=60)
    payload = b""
    try:
        headers = {"content-type": "application/json", "x-request-id": ident}
        connection.request("POST", "/v1/completions", json.dumps(body), headers)
        response = connection.getresponse()
        result["status"] = response.status
        while True:
            piece = response.read1(65536)
            if not piece:
                break
            payload += piece
            result["bytes"] = len(payload)
        text = payload.decode()
        if response.status != 200:
            result["error"] = f"status {response.status}: {text[:200]}"
        elif stream:
            in_band = '"error"' in text
            result["in_band"] = in_band
            whole = text.rstrip().endswith("data: [DONE]") and '"usage"' in text and '"abort"' not in text
            result["ok"] = not in_band and whole
            if not result["ok"] and not in_band:
                result["error"] = "the stream ended silently: " + text[-200:]
        else:
            result["ok"] = json.loads(text)["usage"]["completion_tokens"] == body["max_tokens"]
    except (OSError, http.client.HTTPException, ValueError) as error:
        result["error"] = f"{type(error).__name__}: {error}"
        result["bytes"] = len(payload)
    finally:
        connection.close()


def pid_of(engine):
    port = urllib.parse.urlparse(engine).port
    get(engine + "/version")
    listing = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    for line in listing.splitlines():
        if f"--port {port}" in line and " engine " in line:
            return int(line.split()[0])
    sys.exit(f"kill: no process for {engine}")


def wait_all_ready(limit_s=20):
    start = time.monotonic()
    while time.monotonic() - start < limit_s:
        endpoints = get(ADMIN + "/admin/state")["pools"][0]["endpoints"]
        if all(endpoint["health"] == "ready" for endpoint in endpoints):
            return time.monotonic() - start
        time.sleep(0.02)
    sys.exit(f"kill: not every replica came back in {limit_s} s: {[e['health'] for e in endpoints]}")


def wait_restarted(engine, before, limit_s=40):
    """The old process ends when its last request does; the new one takes over by itself."""
    start = time.monotonic()
    while time.monotonic() - start < limit_s:
        try:
            if pid_of(engine) != before:
                break
        except (OSError, SystemExit):
            pass
        time.sleep(0.02)
    else:
        sys.exit(f"kill: {engine} did not end in {limit_s} s after SIGTERM")
    return wait_all_ready()


def run(seed):
    rng = random.Random(seed)
    results = {}
    threads = [threading.Thread(target=one, args=(seed, number, results)) for number in range(REQUESTS)]
    for thread in threads:
        thread.start()
    time.sleep(rng.uniform(0.05, 0.6))
    victim = rng.choice(ENGINES)
    seen = get(victim + "/admin/requests")["requests"]
    there = {r["x_request_id"]: r["state"] for r in seen if (r["x_request_id"] or "").startswith(f"kill-{seed}-")}
    os.kill(pid_of(victim), signal.SIGKILL)
    for thread in threads:
        thread.join(120)
        if thread.is_alive():
            sys.exit(f"kill: seed {seed}: a request hung")
    back_s = wait_all_ready()
    lost, broken, moved = [], 0, 0
    for result in results.values():
        # In-flight at the victim, by the victim's own account, and answered all the same.
        moved += result["ok"] and there.get(result["id"]) in ("received", "first_token")
        if result["ok"]:
            continue
        if result["bytes"] == 0:
            lost.append(result)
        elif result["stream"] and not result.get("in_band"):
            lost.append(result)
        else:
            broken += 1
    print(
        f"kill: seed {seed}: {REQUESTS} requests, {len(there)} had reached the victim, {moved} in flight there were answered "
        f"elsewhere or in time, {broken} had a first byte and ended with an error, {len(lost)} lost; back in {back_s:.2f} s"
    )
    return lost


def last_replica():
    """All replicas killed at once: answers are errors, none hangs, and service comes back by itself."""
    for pid in [pid_of(engine) for engine in ENGINES]:
        os.kill(pid, signal.SIGKILL)
    results = {}
    one(999, 1, results)
    result = results[1]
    if result["ok"] or result.get("status") in (502, 503):
        print(f"kill: every replica killed: answered {result.get('status')}; back in {wait_all_ready():.2f} s")
    else:
        sys.exit(f"kill: every replica killed: {result}")
    one(999, 2, results)
    if not results[2]["ok"]:
        sys.exit(f"kill: after all came back: {results[2]}")


def rolling():
    """Each engine asked to end in turn under load, and started again: none fails, with or without a first byte."""
    failed = []
    for turn, engine in enumerate(ENGINES):
        results = {}
        threads = [threading.Thread(target=one, args=(500 + turn, number, results)) for number in range(30)]
        for thread in threads:
            thread.start()
        before = pid_of(engine)
        os.kill(before, signal.SIGTERM)
        for thread in threads:
            thread.join(120)
        wait_restarted(engine, before)
        failed += [r for r in results.values() if not r["ok"]]
    print(f"kill: engines restarted one by one: {len(failed)} failed of {30 * len(ENGINES)}")
    return failed


parser = argparse.ArgumentParser()
parser.add_argument("--seeds", type=int, default=20)
arguments = parser.parse_args()
MODEL = get(f"{os.environ['GATEWAY_URL']}/v1/models")["data"][0]["id"]
wait_all_ready()
failures = [failure for seed in range(arguments.seeds) for failure in run(seed)]
failures += rolling()
last_replica()
for failure in failures:
    print("kill: LOST", failure)
print(f"kill: {arguments.seeds + 2} passed, 0 failed" if not failures else f"kill: {len(failures)} lost")
sys.exit(1 if failures else 0)
