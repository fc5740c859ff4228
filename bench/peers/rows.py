"""What is measured of a router?

Each function takes a running `Setup` (engines, router, address) and returns plain figures for the report.
"""

import asyncio
import statistics
import time
import urllib.request

import workloads
from client import Client, closed_loop, open_loop

MS = 1000.0


def percentile(values, share):
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def run(ports, work):
    """`work(client)` on an event loop of its own."""

    async def inside():
        client = Client(ports)
        try:
            return await work(client)
        finally:
            client.close()

    return asyncio.run(inside())


def overhead(setup, size_bytes, concurrency, stream, seconds, seed, tokens=8):
    """Latency and processor time at one size and concurrency, closed loop, prompts half new."""
    requests = workloads.fresh(size_bytes, tokens, stream, seed)
    warm = 4 * concurrency if size_bytes < 100_000 else concurrency
    run(setup.ports, lambda client: closed_loop(client, requests, concurrency, limit=warm))
    cpu, begun = setup.cpu_s(), time.perf_counter()
    answers = run(setup.ports, lambda client: closed_loop(client, requests, concurrency, seconds=seconds))
    took, cpu = time.perf_counter() - begun, setup.cpu_s() - cpu
    good = [answer for answer in answers if answer.ok]
    spent = [(answer.ended - answer.sent) * MS for answer in good]
    return {
        "n": len(answers),
        "failed": len(answers) - len(good),
        "p50_ms": percentile(spent, 0.5),
        "p99_ms": percentile(spent, 0.99) if len(spent) >= 100 else None,
        "requests_per_s": len(good) / took,
        "cpu_us_per_request": cpu * 1e6 / max(len(answers), 1),
        "events": sum(answer.events for answer in good),
    }


def per_chunk(setup, seconds, seed):
    """Processor time of one streamed chunk: long streams against short ones, chunks apart in time."""
    short = overhead(setup, 200, 16, True, seconds, seed, tokens=8)
    long = overhead(setup, 200, 16, True, seconds, seed + 1, tokens=200)
    if not short["n"] or not long["n"]:
        return {"cpu_us_per_chunk": None}
    extra_events = long["events"] / long["n"] - short["events"] / short["n"]
    extra_cpu_us = long["cpu_us_per_request"] - short["cpu_us_per_request"]
    return {
        "cpu_us_per_chunk": extra_cpu_us / extra_events if extra_events > 0 else None,
        "events_per_long_stream": long["events"] / long["n"],
        "failed": short["failed"] + long["failed"],
    }


def routing(setup, load, seed):
    """Hit rate at the engines and time to first token under the shared-prefix load, after a warm-up of another seed."""
    shape = {key: load[key] for key in ("groups", "prefix_bytes", "question_bytes", "tokens")}
    warm = workloads.shared_prefix(count=load["warm"], seed=f"warm {seed}", **shape)
    requests = workloads.shared_prefix(count=load["count"], seed=seed, **shape)
    run(setup.ports, lambda client: open_loop(client, warm, load["rate"], seed=f"warm {seed}"))
    hits = setup.engines.total("vllm:prefix_cache_hits_total")
    asked = setup.engines.total("vllm:prefix_cache_queries_total")
    done = setup.engines.total("vllm:request_success_total")
    calls = setup.engines.calls()
    answers = run(setup.ports, lambda client: open_loop(client, requests, load["rate"], seed=seed))
    hits = sum(setup.engines.total("vllm:prefix_cache_hits_total")) - sum(hits)
    asked = sum(setup.engines.total("vllm:prefix_cache_queries_total")) - sum(asked)
    done = [after - before for after, before in zip(setup.engines.total("vllm:request_success_total"), done)]
    after = setup.engines.calls()
    calls = {name: after[name] - calls.get(name, 0.0) for name in after if name not in ("/metrics", "/health")}
    good = [answer for answer in answers if answer.ok]
    ttft = [(answer.first - answer.started) * MS for answer in good if answer.first]
    return {
        "n": len(answers),
        "failed": len(answers) - len(good),
        "hit_rate": hits / asked if asked else None,
        "ttft_p50_ms": percentile(ttft, 0.5),
        "ttft_p99_ms": percentile(ttft, 0.99) if len(ttft) >= 100 else None,
        "ttft_mean_ms": statistics.fmean(ttft) if ttft else None,
        "max_over_mean": max(done) * len(done) / sum(done) if sum(done) else None,
        "calls_per_request": sum(calls.values()) / max(len(answers), 1),
    }


def spread(setup, seed):
    """How eight prompts that share nothing, one after the other, are spread."""
    before = setup.engines.total("vllm:request_success_total")
    requests = workloads.distinct(8, 4000, seed)
    answers = run(setup.ports, lambda client: closed_loop(client, requests, 1))
    after = setup.engines.total("vllm:request_success_total")
    counts = sorted((int(b - a) for a, b in zip(before, after)), reverse=True)
    return {"counts": counts, "failed": sum(not answer.ok for answer in answers)}


def killed(setup, seconds, seed):
    """Failures that clients see when one engine is killed under load, by whether a body byte had come."""
    requests = workloads.fresh(2000, 30, True, seed)

    async def work(client):
        load = asyncio.create_task(closed_loop(client, requests, 32, seconds=seconds))
        await asyncio.sleep(seconds / 3)
        setup.engines.servers[0].kill()
        return await load

    answers = run(setup.ports, work)
    bad = [answer for answer in answers if not answer.ok]
    return {
        "n": len(answers),
        "failed_before_first_byte": sum(answer.first is None or answer.status != 200 for answer in bad),
        "failed_after_first_byte": sum(answer.first is not None and answer.status == 200 for answer in bad),
    }


def is_ready(port):
    """Whether a completion goes through."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions",
        data=workloads.completion("hello", 1, False).split(b"\r\n\r\n", 1)[1],
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status == 200
    except OSError:
        return False
