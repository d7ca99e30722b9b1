"""However a response is cut into pieces, the same status, headers and body come out."""

import asyncio
import gzip
import time
from itertools import pairwise
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import SystemClock
from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import Credential, Origin, Secret, Timeouts
from gateway.domain.failure import AttemptFailed
from gateway.upstream import HttpUpstream
from gateway.upstream.connection import Connection

TEXT = b'{"choices": [{"text": "' + b"round and round " * 40 + b'"}]}'
HEAD = b"HTTP/1.1 200 OK\r\nServer: x\r\nX-Long: " + b"v" * 300 + b"\r\n"
ANSWERS = {
    "length": HEAD + b"content-length: %d\r\n\r\n" % len(TEXT) + TEXT,
    "chunked": HEAD
    + b"transfer-encoding: chunked\r\n\r\n1\r\n"
    + TEXT[:1]
    + b"\r\n%x;ext=1\r\n" % (len(TEXT) - 1)
    + TEXT[1:]
    + b"\r\n0\r\nx-trailer: 1\r\n\r\n",
    "until-eof": HEAD + b"\r\n" + TEXT,
    "http-1.0": HEAD.replace(b"/1.1", b"/1.0") + b"\r\n" + TEXT,
    "after-100": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: a\r\n\r\n"
    + HEAD
    + b"content-length: %d\r\n\r\n" % len(TEXT)
    + TEXT,
    "gzip": HEAD + b"content-encoding: gzip\r\n\r\n" + gzip.compress(TEXT, mtime=0),
    "no-content": b"HTTP/1.1 204 No\r\nx: y\r\n\r\n",
    "second-answer": HEAD + b"content-length: 2\r\n\r\nhi" + HEAD,
    "truncated": HEAD + b"content-length: 5000\r\n\r\n" + TEXT,
    "garbage": b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
    "cut-head": HEAD,
}
Outcome = tuple[Any, ...]


class PieceTransport:
    """Answers a request with pieces, one each turn of the loop, then with the end of file."""

    def __init__(self, connection: Connection, pieces: list[bytes]) -> None:
        self._connection = connection
        self._pieces = pieces
        self._closing = False
        self._paused = False

    def write(self, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(self._next, 0)

    def _next(self, index: int) -> None:
        if self._closing:
            return
        if self._paused:
            asyncio.get_running_loop().call_soon(self._next, index)
        elif index == len(self._pieces):
            self._connection.eof_received()
        else:
            self._connection.data_received(self._pieces[index])
            asyncio.get_running_loop().call_soon(self._next, index + 1)

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)


async def outcome_of(pieces: list[bytes], streamed: bool) -> Outcome:
    async def opener(connection: Connection, address: str, port: int) -> None:
        connection.connection_made(cast(Any, PieceTransport(connection, pieces)))

    upstream = HttpUpstream(SystemClock(), opener=opener)
    credential = Credential("c", Origin("http", "127.0.0.1", 1), Secret("k"))
    body = b""
    try:
        reply = await upstream.send(UpstreamCall(credential, "/", b"", Timeouts(), time.monotonic() + 30))
        try:
            if streamed:
                while chunk := await reply.next_chunk(30.0):
                    body += chunk
            else:
                body = await reply.read(100_000)
        finally:
            reply.close()
        return reply.status, tuple(reply.headers), body
    except AttemptFailed as error:
        return error.failure.kind, error.failure.sent, body if streamed else b""
    finally:
        assert upstream.stats()[credential.origin].idle == upstream.stats()[credential.origin].open
        await upstream.aclose()


@settings(max_examples=150)
@given(name=st.sampled_from(sorted(ANSWERS)), streamed=st.booleans(), data=st.data())
def test_any_chunking_gives_the_same_answer(name: str, streamed: bool, data: st.DataObject) -> None:
    answer = ANSWERS[name]
    cuts = data.draw(st.lists(st.integers(0, len(answer)), max_size=12).map(sorted))
    edges = [0, *cuts, len(answer)]
    pieces = [answer[start:end] for start, end in pairwise(edges) if start < end]
    with asyncio.Runner() as runner:
        assert runner.run(outcome_of(pieces, streamed)) == runner.run(outcome_of([answer], streamed))


def test_one_byte_at_a_time_gives_the_same_answer() -> None:
    with asyncio.Runner() as runner:
        for answer in ANSWERS.values():
            pieces = [bytes([byte]) for byte in answer]
            assert runner.run(outcome_of(pieces, False)) == runner.run(outcome_of([answer], False))
