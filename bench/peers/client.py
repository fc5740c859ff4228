"""One HTTP client for every router: raw sockets on one event loop, so that it costs each of them the same."""

import asyncio
import random
import time


class Answer:
    """What one request came to. Times are seconds; `started` is when it was meant to be sent."""

    __slots__ = ("started", "sent", "first", "ended", "status", "events", "error", "bytes", "tag")

    def __init__(self, started, tag=None):
        self.started, self.sent, self.first, self.ended = started, None, None, None
        self.status, self.events, self.error, self.bytes, self.tag = 0, 0, None, 0, tag

    @property
    def ok(self):
        return self.status == 200 and self.error is None


class Connection(asyncio.Protocol):
    """A keep-alive connection that carries one request at a time."""

    def __init__(self):
        self.transport, self.answer, self.waiter = None, None, None
        self.alive = False

    def connection_made(self, transport):
        self.transport, self.alive = transport, True

    def begin(self, answer, request):
        self.answer, self.head, self.left, self.tail = answer, b"", None, b""
        self.waiter = asyncio.get_running_loop().create_future()
        answer.sent = time.perf_counter()
        self.transport.write(request)
        return self.waiter

    def data_received(self, data):
        answer = self.answer
        if answer is None:
            return
        if self.head is not None:
            self.head += data
            at = self.head.find(b"\r\n\r\n")
            if at < 0:
                return
            head, data, self.head = self.head[:at].lower(), self.head[at + 4 :], None
            answer.status = int(head[9:12])
            if answer.status == 100:
                self.head = data
                return
            self.chunked = b"transfer-encoding: chunked" in head
            length = head.find(b"content-length:")
            self.left = int(head[length + 15 :].split(b"\r\n", 1)[0]) if length >= 0 else None
            self.closing = b"connection: close" in head
            if not data and self.left != 0:
                return
        if data and answer.first is None:
            answer.first = time.perf_counter()
        answer.bytes += len(data)
        answer.events += data.count(b"data: ")
        if b'"error"' in data and b"data: " in data:
            answer.error = "in-band error"
        self.tail = (self.tail + data)[-64:]
        if self.left is not None:
            self.left -= len(data)
            if self.left <= 0:
                self.finish(None)
        elif self.chunked and self.tail.endswith(b"0\r\n\r\n"):
            self.finish(None)

    def connection_lost(self, error):
        self.alive = False
        if self.answer is not None:
            by_close = self.head is None and self.left is None and not self.chunked
            self.finish(None if by_close else "connection closed")

    def finish(self, error):
        answer, self.answer = self.answer, None
        answer.ended = time.perf_counter()
        answer.error = answer.error or error
        if getattr(self, "closing", False):
            self.alive = False
            self.transport.close()
        if not self.waiter.done():
            self.waiter.set_result(None)


class Client:
    """Sends ready-made requests to addresses in turn (one, except for `direct`)."""

    def __init__(self, ports):
        self.ports, self.turn, self.idle = ports, 0, {port: [] for port in ports}

    async def send(self, request, tag=None, started=None):
        answer = Answer(started if started is not None else time.perf_counter(), tag)
        port = self.ports[self.turn % len(self.ports)]
        self.turn += 1
        connection = None
        while self.idle[port] and connection is None:
            candidate = self.idle[port].pop()
            connection = candidate if candidate.alive else None
        try:
            if connection is None:
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
            await connection.begin(answer, request)
        except OSError as error:
            answer.error, answer.ended = str(error), time.perf_counter()
            return answer
        if connection.alive:
            self.idle[port].append(connection)
        return answer

    def close(self):
        for connections in self.idle.values():
            for connection in connections:
                connection.transport.close()


async def closed_loop(client, requests, concurrency, seconds=None, limit=None):
    """`concurrency` requests always open, until time or count is over."""
    answers, end = [], time.perf_counter() + (seconds or 1e9)
    iterator = iter(requests)

    async def lane():
        for tag, request in iterator:
            answers.append(await client.send(request, tag))
            if time.perf_counter() >= end or (limit and len(answers) >= limit):
                return

    await asyncio.gather(*(lane() for _ in range(concurrency)))
    return answers


async def open_loop(client, requests, rate, seed):
    """Poisson arrivals; latency counts from the time a request was meant to go out."""
    rng, due, tasks = random.Random(seed), time.perf_counter(), []
    for tag, request in requests:
        due += rng.expovariate(rate)
        pause = due - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        tasks.append(asyncio.create_task(client.send(request, tag, due)))
    return await asyncio.gather(*tasks)
