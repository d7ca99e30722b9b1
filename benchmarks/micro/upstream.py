"""What one upstream call costs in the harbour itself: `python -m benchmarks.micro.upstream [--sockets]`."""

import argparse
import asyncio
import multiprocessing
import time
from multiprocessing.connection import Connection as Pipe
from typing import Any, cast

import uvloop

from gateway.clock import SystemClock
from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import Credential, Origin, Secret, Timeouts
from gateway.upstream.client import HttpUpstream
from gateway.upstream.connection import Connection

BODY = b'{"choices":[{"message":{"content":"' + b"x" * 960 + b'"}}]}'
HEADERS = [
    b"date: Mon, 02 Nov 2026 10:00:00 GMT",
    b"content-type: application/json",
    b"content-length: %d" % len(BODY),
    b"connection: keep-alive",
    b"openai-organization: org-1234",
    b"openai-processing-ms: 412",
    b"openai-version: 2020-10-01",
    b"x-ratelimit-limit-requests: 10000",
    b"x-ratelimit-limit-tokens: 200000",
    b"x-ratelimit-remaining-requests: 9999",
    b"x-ratelimit-remaining-tokens: 199000",
    b"x-request-id: req_0123456789abcdef",
]
ANSWER = b"HTTP/1.1 200 OK\r\n" + b"\r\n".join(HEADERS) + b"\r\n\r\n" + BODY
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices":[{"delta":{"content":"token"}}]}\n\n'
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
EVENTS = 200
REQUEST = b'{"model":"gpt-4.1","messages":[{"role":"user","content":"' + b"y" * 1000 + b'"}]}'


class FakeTransport:
    """Answers every write in the next turn of the loop, with one or more pieces."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: Connection, pieces: list[bytes]) -> None:
        self._loop = loop
        self._connection = connection
        self._pieces = pieces

    def write(self, data: bytes) -> None:
        self._loop.call_soon(self._answer, 0)

    def _answer(self, index: int) -> None:
        if index + 1 < len(self._pieces):
            self._loop.call_soon(self._answer, index + 1)
        self._connection.data_received(self._pieces[index])

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self._loop.call_soon(self._connection.connection_lost, None)


def upstream_of(pieces: list[bytes]) -> HttpUpstream:
    async def opener(connection: Connection, address: str, port: int) -> None:
        transport = FakeTransport(asyncio.get_running_loop(), connection, pieces)
        connection.connection_made(cast(Any, transport))

    return HttpUpstream(SystemClock(), opener=opener)


async def calls(upstream: HttpUpstream, port: int, count: int) -> float:
    """CPU microseconds for each whole call."""
    credential = Credential("c", Origin("http", "127.0.0.1", port), Secret("sk-1"))
    extra = ((b"accept", b"application/json"),)
    start_s = time.process_time()
    for _ in range(count):
        call = UpstreamCall(credential, "/v1/chat/completions", REQUEST, Timeouts(), time.monotonic() + 60, extra)
        reply = await upstream.send(call)
        body = await reply.read(1 << 20)
        reply.close()
        assert len(body) == len(BODY)
    return (time.process_time() - start_s) / count * 1e6


async def chunks(upstream: HttpUpstream, count: int) -> float:
    """CPU microseconds for each chunk of a stream."""
    credential = Credential("c", Origin("http", "127.0.0.1", 1), Secret("sk-1"))
    start_s = time.process_time()
    for _ in range(count):
        call = UpstreamCall(credential, "/v1/chat/completions", REQUEST, Timeouts(), time.monotonic() + 60)
        reply = await upstream.send(call)
        while await reply.next_chunk(60.0):
            pass
        reply.close()
    return (time.process_time() - start_s) / count / EVENTS * 1e6


async def bare_loop(count: int) -> float:
    """What the benchmark's own turn of the loop and its future cost, to be taken off."""
    loop = asyncio.get_running_loop()
    start_s = time.process_time()
    for _ in range(count):
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future
    return (time.process_time() - start_s) / count * 1e6


class StaticServer(asyncio.Protocol):
    """Answers every read with the same bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(ANSWER)


def serve(pipe: Pipe) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(StaticServer, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    uvloop.run(main())


async def in_memory() -> None:
    upstream = upstream_of([ANSWER])
    await calls(upstream, 1, 2000)
    call_us = min([await calls(upstream, 1, 10_000) for _ in range(5)])
    loop_us = min([await bare_loop(10_000) for _ in range(5)])
    print(f"call, 1 kB each way, in memory: {call_us:.1f} us (of which the bare loop {loop_us:.1f} us)")
    streaming = upstream_of([STREAM_HEAD, *[CHUNK] * EVENTS, b"0\r\n\r\n"])
    await chunks(streaming, 10)
    chunk_us = min([await chunks(streaming, 100) for _ in range(5)])
    print(f"stream chunk, in memory: {chunk_us:.2f} us (of which the bare loop {loop_us:.1f} us)")
    await upstream.aclose()
    await streaming.aclose()


async def over_sockets(port: int) -> None:
    upstream = HttpUpstream(SystemClock())
    await calls(upstream, port, 2000)
    print(f"call, 1 kB each way, loopback: {min([await calls(upstream, port, 5000) for _ in range(5)]):.1f} us CPU")
    await upstream.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", action="store_true", help="also over loopback, with a server in a second process")
    sockets = parser.parse_args().sockets
    uvloop.run(in_memory())
    if not sockets:
        return
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    try:
        uvloop.run(over_sockets(ours.recv()))
    finally:
        server.kill()
        server.join()


if __name__ == "__main__":
    main()
