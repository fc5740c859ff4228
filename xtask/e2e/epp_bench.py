"""What does a picker cost behind Envoy, beside Envoy alone and beside our own gateway?

Three engines that answer at once; the same requests through: one engine directly, Envoy round robin, Envoy with the
picker (whole requests, plain text and TLS; everything streamed), and `prefixgate serve`. Prints, for each prompt size,
the added p50 and p99 over the direct path, and CPU milliseconds per request of proxy and picker or gateway.

Reads PREFIXGATE, ENVOY and ROOT as envoy.py does. `--seconds`, `--rate`, `--sizes`; the order of ways is drawn anew
for each round, and every way gets `--rounds` rounds.
"""

import argparse
import asyncio
import json
import os
import pathlib
import random
import time

import envoy_parts as parts

# Room for the longest prompts.
LARGE = ["--max-model-len", "262144", "--num-gpu-blocks-override", "65536"]

parser = argparse.ArgumentParser()
parser.add_argument("--seconds", type=float, default=10)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--rate", type=float, default=100)
parser.add_argument("--sizes", default="200,16000,400000")
parser.add_argument("--out", help="file for the raw figures, as JSON lines")
arguments = parser.parse_args()


def cpu_s(process):
    text = pathlib.Path(f"/proc/{process.pid}/stat").read_text()
    fields = text.rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def one(port, data, times, failures):
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    except OSError as error:
        failures.append(repr(error))
        return
    began = time.perf_counter()
    try:
        writer.write(data)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        await asyncio.wait_for(reader.readexactly(1), 30)
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            failures.append(head[:200].decode(errors="replace"))
        else:
            times.append(time.perf_counter() - began)
        await reader.read()
    except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
        failures.append(repr(error))
    finally:
        writer.close()


async def load(port, bodies, rate, seconds):
    times, failures, tasks = [], [], []
    start = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(port, bodies[number % len(bodies)], times, failures)))
    await asyncio.gather(*tasks)
    return sorted(times), failures


def requests(size):
    made = []
    for number in range(16):
        text = parts.prompt(number, max(1, size // 6))[:size]
        body = json.dumps({"model": parts.MODEL, "prompt": text, "max_tokens": 1}).encode()
        head = "POST /v1/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\nconnection: close\r\n"
        made.append(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    return made


def quantile(times, of):
    return times[min(int(len(times) * of), len(times) - 1)] * 1000 if times else float("nan")


class Way:
    def __init__(self, name, port, processes):
        self.name, self.port, self.processes = name, port, processes
        self.times, self.failures, self.cpu_s, self.requests = {}, {}, {}, {}


def ways(engines):
    yield Way("direct", engines[0].port, [])
    picker = parts.Picker(engines)
    plain = parts.Picker(engines, "--secure-serving=false")
    without_filter = "          - name: envoy.filters.http.ext_proc\n"
    text = (parts.DEPLOY / "envoy.yaml").read_text()
    begin = text.index(without_filter)
    block = text[begin : text.index("          - name: envoy.filters.http.router")]
    alone = parts.Envoy("envoy.yaml", engines, picker, replace=[(block, "")])
    yield Way("envoy round robin", alone.port, [alone.process])
    whole = parts.Envoy("envoy.yaml", engines, picker)
    yield Way("envoy + picker, whole, TLS", whole.port, [whole.process, picker.process])
    tls = text[text.index("    # The picker makes its certificate") : text.index("    health_checks:")]
    bare = parts.Envoy("envoy.yaml", engines, plain, replace=[(tls, "")])
    yield Way("envoy + picker, whole, plain", bare.port, [bare.process, plain.process])
    streamed = parts.Envoy("envoy-feedback.yaml", engines, picker)
    yield Way("envoy + picker, streamed, TLS", streamed.port, [streamed.process, picker.process])
    port, admin = parts.free_port(), parts.free_port()
    words = [parts.PREFIXGATE, "serve", "--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin}"]
    for engine in engines:
        words += ["--endpoint", engine.url]
    gateway = parts.start("gateway", words)
    parts.wait("gateway", lambda: parts.get(f"http://127.0.0.1:{port}/readyz") is not None)
    yield Way("prefixgate serve", port, [gateway])


def main():
    engines = [parts.Engine(f"engine-{at}", "--time-scale", "0", *LARGE) for at in range(3)]
    every = list(ways(engines))
    sizes = [int(size) for size in arguments.sizes.split(",")]
    out = open(arguments.out, "a") if arguments.out else None
    for round_number in range(arguments.rounds):
        for size in sizes:
            bodies = requests(size)
            for way in random.Random(round_number).sample(every, len(every)):
                asyncio.run(load(way.port, bodies, min(50, arguments.rate), 1))
                before = [cpu_s(process) for process in way.processes]
                times, failures = asyncio.run(load(way.port, bodies, arguments.rate, arguments.seconds))
                cpu = [cpu_s(process) - b for process, b in zip(way.processes, before)]
                way.times.setdefault(size, []).extend(times)
                way.failures[size] = way.failures.get(size, 0) + len(failures)
                way.requests[size] = way.requests.get(size, 0) + len(times) + len(failures)
                way.cpu_s[size] = [a + b for a, b in zip(way.cpu_s.get(size, [0] * len(cpu)), cpu)]
                if out:
                    row = {"round": round_number, "size": size, "way": way.name, "cpu_s": cpu, "failures": failures[:3]}
                    out.write(json.dumps(row | {"ms": [round(t * 1000, 3) for t in times]}) + "\n")
    print(f"{arguments.rate:g} requests/s, {arguments.rounds} x {arguments.seconds:g} s each; latency to the first byte of the body")
    for size in sizes:
        direct = sorted(every[0].times[size])
        print(f"\nprompt of {size} bytes; direct p50 {quantile(direct, 0.5):.2f} ms, p99 {quantile(direct, 0.99):.2f} ms")
        for way in every[1:]:
            times = sorted(way.times[size])
            cost = [1000 * cpu / way.requests[size] for cpu in way.cpu_s[size]]
            print(
                f"  {way.name:32} added p50 {quantile(times, 0.5) - quantile(direct, 0.5):7.2f} ms"
                f"  p99 {quantile(times, 0.99) - quantile(direct, 0.99):7.2f} ms"
                f"  cpu {' + '.join(f'{c:.2f}' for c in cost)} ms/request  failed {way.failures[size]}"
            )


try:
    main()
finally:
    parts.end_all()
