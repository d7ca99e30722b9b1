"""A server on 127.0.0.1 whose every connection follows a script, and what a call to it needs."""

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import Credential, Origin, Secret, Timeouts
from gateway.domain.failure import AttemptFailed, Failure
from gateway.upstream import HttpUpstream

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


@dataclass
class Peer:
    """The server's side of one connection; `number` counts from 0 in the order of accepting."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def request(self) -> tuple[bytes, bytes]:
        """Head and body of the next request; raises EOFError when the client has closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = 0
            for line in head.split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise EOFError from error
        self.requests.append((head, body))
        return head, body

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def closed_by_client(self) -> None:
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass

    def reset(self) -> None:
        """A TCP RST instead of a FIN."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class Server:
    port: int
    scheme: str = "http"
    host: str = "127.0.0.1"
    peers: list[Peer] = field(default_factory=list)
    running: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def origin(self) -> Origin:
        return Origin(self.scheme, self.host, self.port)

    @property
    def requests(self) -> list[tuple[bytes, bytes]]:
        return [request for peer in self.peers for request in peer.requests]

    async def quiet(self) -> None:
        """Until every connection accepted so far is closed on both sides."""
        while self.running:
            await asyncio.wait(set(self.running))


@asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Server]:
    server = Server(0, "https" if tls else "http", host)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        server.running.add(task)
        peer = Peer(len(server.peers), reader, writer)
        server.peers.append(peer)
        try:
            await script(peer)
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort() if tls else writer.close()
            try:
                await writer.wait_closed()
            except (OSError, asyncio.CancelledError):
                pass
            server.running.discard(task)

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(server.running):
            task.cancel()
        await server.quiet()
        await listening.wait_closed()


def answering(*pieces: bytes) -> Script:
    """Answers every request with these pieces, for as long as the client wants."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            for piece in pieces:
                await peer.send(piece)

    return script


def answering_once(*pieces: bytes) -> Script:
    """Answers one request and closes."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for piece in pieces:
            await peer.send(piece)

    return script


def call_to(
    target: Server | Origin,
    *,
    path: str = "/v1/chat/completions",
    body: bytes = b"{}",
    timeouts: Timeouts | None = None,
    total_s: float = 10.0,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    method: str = "POST",
) -> UpstreamCall:
    origin = target.origin if isinstance(target, Server) else target
    credential = Credential("key-1", origin, Secret("sk-test"))
    return UpstreamCall(credential, path, body, timeouts or Timeouts(), time.monotonic() + total_s, headers, method)


async def fetch(upstream: HttpUpstream, call: UpstreamCall, limit_bytes: int = 1 << 20) -> tuple[int, bytes]:
    reply = await upstream.send(call)
    try:
        return reply.status, await reply.read(limit_bytes)
    finally:
        reply.close()


async def failure_of(awaitable: Awaitable[object]) -> Failure:
    try:
        await awaitable
    except AttemptFailed as error:
        return error.failure
    raise AssertionError("the attempt did not fail")


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def turns(count: int) -> None:
    """Lets the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)
