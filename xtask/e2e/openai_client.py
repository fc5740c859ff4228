"""Does OpenAI's own client work unchanged, through the gateway, by path, and against one engine?

Reads GATEWAY_URL, POOL_PATH and ENGINE_URLS from the environment; exits 1 at the first failed check.
"""

import json
import os
import sys
import urllib.request

import openai

GATEWAY = os.environ["GATEWAY_URL"]
PATH = os.environ["POOL_PATH"]
ENGINE = os.environ["ENGINE_URLS"].split(",")[0]
PROMPT = "The quick brown fox jumps over the lazy dog. " * 40
MESSAGES = [
    {"role": "system", "content": PROMPT},
    {"role": "user", "content": "What does the fox do? Answer in one line. \u00e4\u00f6\u00fc \U0001f98a"},
]

done = 0


def check(name, good, seen):
    global done
    if not good:
        sys.exit(f"client: {name}: failed, saw {seen!r}")
    done += 1


def chat(client, model, where):
    answer = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=8)
    check(f"{where} chat", answer.choices[0].message.content and answer.usage.completion_tokens == 8, answer)
    check(f"{where} chat finish", answer.choices[0].finish_reason == "length", answer)
    stream = client.chat.completions.create(
        model=model, messages=MESSAGES, max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    usage = chunks[-1].usage
    check(f"{where} chat stream", text and usage and usage.completion_tokens == 8, (text, usage))
    cached = usage.prompt_tokens_details.cached_tokens
    check(f"{where} cached tokens of a repeated prompt", cached and cached > 0, usage)


def completion(client, model, where):
    answer = client.completions.create(model=model, prompt=PROMPT, max_tokens=4)
    check(f"{where} completion", answer.usage.completion_tokens == 4, answer)
    several = client.completions.create(model=model, prompt=["one", "two", "three"], max_tokens=2)
    check(f"{where} prompt list", [c.index for c in several.choices] == [0, 1, 2], several)
    ids = client.completions.create(model=model, prompt=[1, 2, 3, 4, 5], max_tokens=2)
    check(f"{where} token ids", ids.usage.prompt_tokens == 5, ids)
    stream = client.completions.create(model=model, prompt=PROMPT, max_tokens=4, stream=True)
    check(f"{where} completion stream", any(c.choices[0].text for c in stream if c.choices), "no text")


def errors(client, where):
    try:
        client.chat.completions.create(model="no/such-model", messages=MESSAGES)
        check(f"{where} unknown model", False, "an answer")
    except openai.NotFoundError as error:
        check(f"{where} unknown model", "no/such-model" in str(error), str(error))


def raw(url, body=None):
    """The line a person would type with curl."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.status, dict(response.headers), response.read()


def main():
    for where, base in (("gateway", GATEWAY), ("by path", GATEWAY + PATH), ("engine", ENGINE)):
        client = openai.OpenAI(base_url=base + "/v1", api_key="unused", max_retries=0, timeout=30)
        model = client.models.list().data[0].id
        chat(client, model, where)
        completion(client, model, where)
        errors(client, where)
    status, headers, body = raw(
        f"{GATEWAY}{PATH}/v1/completions", {"model": model, "prompt": "Hello", "max_tokens": 2}
    )
    check("curl by path", status == 200 and json.loads(body)["choices"], body)
    check("endpoint header", "x-prefixgate-endpoint" in {name.lower() for name in headers}, headers)
    status, _, _ = raw(f"{GATEWAY}{PATH}/health")
    check("health by path", status == 200, status)
    print(f"client: {done} passed, 0 failed (openai {openai.__version__})")


main()
