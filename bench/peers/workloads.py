"""What is asked?

Requests are made before the clock runs. Prompts are words from a fixed list, so that every tokenizer takes about as
long; a seed fixes all of them.
"""

import json
import random

MODEL = "Qwen/Qwen2.5-3B-Instruct"
WORDS = (
    "time year people way day man thing woman life child world school state family student group country problem hand "
    "part place case week company system program question work government number night point home water room mother"
).split()


def text(rng, size_bytes):
    """Words of about `size_bytes` together."""
    words, size = [], 0
    while size < size_bytes:
        word = rng.choice(WORDS)
        words.append(word)
        size += len(word) + 1
    return " ".join(words)[:size_bytes]


def wire(body, path="/v1/completions"):
    """A whole HTTP/1.1 request."""
    payload = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
    return head.encode() + payload


def completion(prompt, tokens, stream):
    body = {"model": MODEL, "prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "temperature": 0, "stream": stream}
    return wire(body)


def fresh(size_bytes, tokens, stream, seed):
    """Endless requests whose first half is one of 16 texts and whose second half nobody has seen."""
    rng = random.Random(seed)
    half = max(size_bytes // 2, 1)
    mark = "#" * 12
    templates = [completion(text(rng, half) + mark + text(rng, size_bytes - half), tokens, stream) for _ in range(16)]
    parts = [template.split(mark.encode()) for template in templates]
    number = seed * 10**7
    while True:
        number += 1
        before, after = parts[number % len(parts)]
        yield None, before + b"%012d" % number + after


def shared_prefix(groups, prefix_bytes, question_bytes, count, tokens, seed):
    """`count` streamed requests over `groups` common prefixes, shuffled; prefixes depend on the group alone."""
    prefixes = [text(random.Random(f"group {group}"), prefix_bytes) for group in range(groups)]
    rng = random.Random(f"questions {seed}")
    order = [number % groups for number in range(count)]
    rng.shuffle(order)
    return [(group, completion(prefixes[group] + " " + text(rng, question_bytes), tokens, True)) for group in order]


def distinct(count, size_bytes, seed):
    rng = random.Random(f"distinct {seed}")
    return [(number, completion(text(rng, size_bytes), 4, False)) for number in range(count)]
