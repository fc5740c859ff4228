"""How do the raw figures read as a table? Medians over rounds, with the smallest and largest beside them."""

import json
import statistics
import sys


def _dig(found, path):
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _cell(rounds, path, digits):
    values = [value for value in (_dig(found, path) for found in rounds) if value is not None]
    if not values:
        return "-"
    if isinstance(values[0], list):
        return " ".join("/".join(map(str, value)) for value in values)
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def _rows(raw):
    """Title, path, digits; only those that were measured."""
    sizes = ["200 B", "16 KB", "400 KB"]
    some = next((found for rounds in raw["rounds"].values() for found in rounds if "error" not in found), {})
    loads = [key for key in some if key.split(" c=")[0] in sizes]
    for load in loads:
        yield f"CPU µs per request, {load}", (load, "cpu_us_per_request"), 0
    for load in loads:
        yield f"latency p50 ms, {load}", (load, "p50_ms"), 2
    for load in loads:
        yield f"latency p99 ms, {load}", (load, "p99_ms"), 2
    for load in loads:
        yield f"requests/s, {load}", (load, "requests_per_s"), 0
    for load in loads:
        yield f"failed, {load}", (load, "failed"), 0
    yield "CPU µs per streamed chunk", ("chunks", "cpu_us_per_chunk"), 1
    yield "memory idle, MB", ("memory_idle_mb",), 0
    yield "memory after the overhead rows, MB", ("memory_after_mb",), 0
    yield "hit rate at the engines, shared prefixes", ("routing", "hit_rate"), 3
    yield "TTFT p50 ms, shared prefixes (simulated engines)", ("routing", "ttft_p50_ms"), 0
    yield "TTFT p99 ms, shared prefixes (simulated engines)", ("routing", "ttft_p99_ms"), 0
    yield "busiest engine over mean, requests", ("routing", "max_over_mean"), 2
    yield "failed, shared prefixes", ("routing", "failed"), 0
    yield "calls to engines per request", ("routing", "calls_per_request"), 2
    yield "8 distinct prompts in turn, per engine", ("spread", "counts"), 0
    yield "engine killed: failed without a first byte", ("kill", "failed_before_first_byte"), 0
    yield "engine killed: broken after the first byte", ("kill", "failed_after_first_byte"), 0
    yield "engine killed: requests", ("kill", "n"), 0


def table(raw):
    """Markdown."""
    routers = list(raw["rounds"])
    lines = ["| | " + " | ".join(routers) + " |", "| --- |" + " ---: |" * len(routers)]
    for title, path, digits in _rows(raw):
        cells = [_cell(raw["rounds"][router], path, digits) for router in routers]
        if any(cell != "-" for cell in cells):
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    errors = [f"- {router}: {found['error']}" for router in routers for found in raw["rounds"][router] if "error" in found]
    return "\n".join(lines + ([""] + errors if errors else [])) + "\n"


if __name__ == "__main__":
    print(table(json.load(open(sys.argv[1]))))
