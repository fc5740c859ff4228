"""What does a client that does it wrong see?

Each case sends bytes over a socket of its own and looks at status and words of the answer; what is printed is the
table of the documentation. A healthy request follows every case: one client's mistake touches no other.

Reads GATEWAY_URL, ADMIN_URL, ENGINE_URLS and PREFIXGATE; exits 1 when an answer is not the expected one.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

GATEWAY = urllib.parse.urlparse(os.environ["GATEWAY_URL"])
PREFIXGATE = os.environ["PREFIXGATE"]
ENGINE = os.environ["ENGINE_URLS"].split(",")[0]
LIMIT_S = 60
JSON = "content-type: application/json\r\n"
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


def model():
    with urllib.request.urlopen(f"{GATEWAY.geturl()}/v1/models", timeout=10) as answer:
        return json.load(answer)["data"][0]["id"]


MODEL = model()


def post(path, body, headers=JSON, length=None):
    """Bytes of a whole request."""
    body = body if isinstance(body, bytes) else body.encode()
    size = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {size}\r\n\r\n".encode() + body


def body(**fields):
    return json.dumps({"model": MODEL, "prompt": "hello", "max_tokens": 5} | fields)


def plain(head, path="/v1/models"):
    return f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}\r\n".encode()


def ask(request, address=(GATEWAY.hostname, GATEWAY.port)):
    """Status and body of the answer; the status is None where the connection was closed without one."""
    with socket.create_connection(address, timeout=LIMIT_S) as connection:
        connection.settimeout(LIMIT_S)
        try:
            connection.sendall(request)
        except OSError:
            # Refused before the last byte: the answer is there all the same.
            pass
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionError:
            pass
    head, _, rest = answer.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head.startswith(b"HTTP/") else None), rest.decode(errors="replace")


# Name, request, expected status, words the answer has.
CASES = [
    ("truncated JSON", post(COMPLETIONS, body()[:-10]), 400, "line 1 column"),
    ("not JSON at all", post(COMPLETIONS, "hello"), 400, "not valid JSON"),
    ("a list instead of an object", post(COMPLETIONS, "[1]"), 400, "object"),
    ("empty body", post(COMPLETIONS, ""), 400, "empty"),
    ("invalid UTF-8", post(COMPLETIONS, b'{"model":"\xff\xfe"}'), 400, "UTF-8"),
    ("messages of the wrong type", post(CHAT, json.dumps({"model": MODEL, "messages": "hello"})), 400, "messages"),
    ("model of the wrong type", post(COMPLETIONS, body(model=7)), 400, "model"),
    ("prompt of the wrong type", post(COMPLETIONS, body(prompt={"a": 1})), 400, "prompt"),
    ("max_tokens of the wrong type", post(COMPLETIONS, body(max_tokens="many")), 400, "max_tokens"),
    ("negative max_tokens", post(COMPLETIONS, body(max_tokens=-1)), 400, "max_tokens"),
    ("token ids out of the vocabulary", post(COMPLETIONS, body(prompt=[1, -5])), 400, ""),
    ("nested a hundred thousand deep", post(COMPLETIONS, '{"model":' + "[" * 100_000), 400, ""),
    ("unknown model", post(COMPLETIONS, body(model="nope")), 404, MODEL),
    ("no model", post(COMPLETIONS, json.dumps({"prompt": "hello", "max_tokens": 1})), 200, ""),
    ("wrong content type", post(COMPLETIONS, body(), "content-type: text/plain\r\n"), 415, "application/json"),
    ("50-MB body, announced", post(COMPLETIONS, b" " * 50_000_000), 413, "33554432"),
    ("50-MB body, in chunks", None, 413, "33554432"),
    ("prompt longer than the model", post(COMPLETIONS, body(prompt="a " * 80_000)), 400, "maximum"),
    ("control path", post("/sleep", ""), 403, "forward_paths"),
    ("control path, spelt otherwise", post("//v1/../sleep", ""), 403, "forward_paths"),
    ("unknown stored response", plain("", "/v1/responses/resp_nope"), 404, "resp_nope"),
    ("unknown path", plain("", "/nowhere"), 404, ""),
    ("upgrade", plain("connection: upgrade\r\nupgrade: websocket\r\n"), 501, "upgrade"),
    ("head of 500 KB", b"GET / HTTP/1.1\r\nx: " + b"a" * 500_000, 431, ""),
    ("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 60, 400, ""),
    ("two lengths that differ", post(COMPLETIONS, body(), JSON + "content-length: 3\r\n"), 400, ""),
]


def chunked():
    piece = b"%x\r\n" % 1_000_000 + b" " * 1_000_000 + b"\r\n"
    head = f"POST {COMPLETIONS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{JSON}transfer-encoding: chunked\r\n\r\n"
    return head.encode() + piece * 50 + b"0\r\n\r\n"


def slow_clients():
    """A gateway with short limits before one engine: a body and a head that stop coming."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "prefixgate.yaml")
        with open(path, "w") as file:
            file.write(
                "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\n"
                "gateway: {body_read_timeout_ms: 300, header_read_timeout_ms: 300}\n"
                f"pools: [{{name: a, endpoints: [{ENGINE}]}}]\n"
            )
        serve = subprocess.Popen([PREFIXGATE, "serve", "--config", path], stderr=subprocess.PIPE, text=True)
        try:
            address = next(found for line in serve.stderr if (found := listening(line)))
            yield "slow client: a body that stops coming", ask(post(COMPLETIONS, body()[:10], length=500), address), 408, "body"
            yield "slow client: a head that stops coming", ask(b"POST /v1/completions HTTP/1.1\r\nhos", address), 408, ""
        finally:
            serve.terminate()
            serve.wait()


def misspelt_config():
    """What `config check` says of a key it does not know: exit code and words."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write("gateway:\n  max_body_byts: 5\npools: [{name: a, endpoints: [http://127.0.0.1:1]}]\n")
        file.flush()
        done = subprocess.run([PREFIXGATE, "config", "check", "--config", file.name], capture_output=True, text=True)
    said = (done.stdout + done.stderr).replace(file.name, "prefixgate.yaml")
    return "configuration with a misspelt key", (done.returncode, said), 1, "max_body_bytes"


def listening(line):
    """Host and port in the log line that tells them."""
    found = re.search(r"gateway on http://127\.0\.0\.1:(\d+)", line)
    return ("127.0.0.1", int(found[1])) if found else None


def cases():
    for name, request, status, words in CASES:
        yield name, ask(request or chunked()), status, words
    yield from slow_clients()
    yield misspelt_config()


def main():
    wrong = 0
    for name, (status, text), expected, words in cases():
        print(f"## {name}\n{status}  {text.strip()[:400]}")
        if status != expected or words not in text:
            print(f"FAIL: expected {expected} with `{words}`")
            wrong += 1
        if ask(post(COMPLETIONS, body()))[0] != 200:
            print("FAIL: a healthy request after it was not answered")
            wrong += 1
    print(f"bad input: {wrong} wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
