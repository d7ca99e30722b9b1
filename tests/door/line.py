"""One client connection, byte exact."""

import asyncio
import contextlib
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

KEY = "a-tenant-key-of-some-length"
CHAT = "/v1/chat/completions"
TIMEOUT_S = 5.0


@dataclass
class Answer:
    """`interim` counts 1xx heads; `raw` is the body as framed; `whole` is whether its framing ended."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    raw: bytes = b""
    interim: int = 0
    whole: bool = False

    def header(self, name: str) -> str | None:
        found = [value for given, value in self.headers if given == name]
        assert len(found) <= 1, (name, found)
        return found[0] if found else None

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> Any:
        return self.json()["error"]["code"]

    @property
    def message(self) -> str:
        return str(self.json()["error"]["message"])


def head(
    path: str = CHAT, method: str = "POST", *, key: str | None = KEY, version: str = "1.1", **headers: object
) -> bytes:
    """`x_run_id=...` becomes `x-run-id: ...`."""
    given: dict[str, object] = {"host": "gateway"}
    if key is not None:
        given["authorization"] = f"Bearer {key}"
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}\r\n" for name, value in given.items() if value is not None]
    return f"{method} {path} HTTP/{version}\r\n{''.join(lines)}\r\n".encode("latin-1")


def post(body: object, **more: Any) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(**{"content_length": len(raw), **more}) + raw


def get(path: str, **more: Any) -> bytes:
    return head(path, "GET", **more)


class Line:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.kept = b""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(TIMEOUT_S):
            await self.writer.drain()

    async def ask(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.answer()

    async def answer(self, timeout_s: float = TIMEOUT_S) -> Answer:
        """One answer to its end; status 0 when the connection ended before a head."""
        answer = Answer()
        async with asyncio.timeout(timeout_s):
            while True:
                top = await self._take_head()
                if top is None:
                    return answer
                first, *rest = top.decode("latin-1").split("\r\n")
                answer.status = int(first.split()[1])
                if answer.status >= 200:
                    break
                answer.interim += 1
            pairs = [line.partition(": ") for line in rest]
            assert all(colon for _, colon, _ in pairs), top
            answer.headers = [(name.lower(), value) for name, _, value in pairs]
            await self._take_body(answer)
        return answer

    async def _take_head(self) -> bytes | None:
        if not await self._until(lambda: b"\r\n\r\n" in self.kept):
            return None
        top, _, self.kept = self.kept.partition(b"\r\n\r\n")
        return top

    async def _take_body(self, answer: Answer) -> None:
        if (length := answer.header("content-length")) is not None:
            size = int(length)
            answer.whole = await self._until(lambda: len(self.kept) >= size)
            answer.body = answer.raw = self.kept[:size]
            self.kept = self.kept[size:]
        elif answer.header("transfer-encoding") == "chunked":
            answer.whole = await self._until(lambda: unchunk(self.kept)[1] is not None)
            answer.body, used = unchunk(self.kept)
            answer.raw, self.kept = self.kept[:used], b"" if used is None else self.kept[used:]
        else:
            await self._until(lambda: False)
            answer.body, self.kept, answer.whole = self.kept, b"", True

    async def _until(self, holds: Any) -> bool:
        """Reads on until it holds; False when the connection ended first."""
        while not holds():
            if not await self.more():
                return False
        return True

    async def more(self) -> bool:
        try:
            data = await self.reader.read(65_536)
        except ConnectionError:
            return False
        self.kept += data
        return bool(data)

    async def sees(self, mark: bytes, timeout_s: float = TIMEOUT_S) -> bytes:
        """Everything that came, once it holds `mark`."""
        async with asyncio.timeout(timeout_s):
            assert await self._until(lambda: mark in self.kept), (mark, self.kept[-300:])
        return self.kept

    async def ended(self, timeout_s: float = TIMEOUT_S) -> bytes:
        """What still comes until the gateway ends the connection."""
        async with asyncio.timeout(timeout_s):
            await self._until(lambda: False)
        return self.kept

    def half_close(self) -> None:
        self.writer.write_eof()

    def reset(self) -> None:
        """Leaves with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    @property
    def socket(self) -> Any:
        return self.writer.get_extra_info("socket")

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(1):
                await self.writer.wait_closed()


def unchunk(raw: bytes) -> tuple[bytes, int | None]:
    """What is there of a chunked body, and its length on the wire if it is all there."""
    body, at = b"", 0
    while (end := raw.find(b"\r\n", at)) >= 0:
        size = int(raw[at:end], 16)
        body += raw[end + 2 : end + 2 + size]
        at = end + 2 + size + 2
        if at > len(raw):
            break
        assert raw[at - 2 : at] == b"\r\n", raw[at - 20 : at]
        if size == 0:
            return body, at
    return body, None
