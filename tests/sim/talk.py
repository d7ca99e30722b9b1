"""A client that shows the bytes on the wire."""

import asyncio
import json
import ssl
from dataclasses import dataclass, field
from typing import Any

from gateway.sim.script import parse_script
from gateway.sim.server import Simulator

SAY_HI = {"model": "gpt-x", "messages": [{"role": "user", "content": "hi there"}]}
CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
TIMEOUT_S = 5


def simulator(*rules: dict[str, Any], **script: Any) -> Simulator:
    return Simulator(parse_script({"rules": list(rules), **script}))


@dataclass
class Answer:
    """`body` is unchunked; `ended` is how the connection ended, if it did: fin, reset, or open."""

    head: bytes = b""
    raw: bytes = b""
    body: bytes = b""
    whole: bool = False
    ended: str = "open"
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return json.loads(self.body)

    def data(self) -> list[Any]:
        """The data of all SSE events, `[DONE]` as text."""
        lines = [line[6:] for line in self.body.splitlines() if line.startswith(b"data: ")]
        return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]

    def names(self) -> list[str]:
        return [line[7:].decode() for line in self.body.splitlines() if line.startswith(b"event: ")]


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.kept = b""

    def ask(
        self, path: str, body: object = SAY_HI, headers: dict[str, str] | None = None, method: str = "POST"
    ) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"host": "sim", "authorization": "Bearer key-1", "anthropic-version": "2023-06-01", **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        top = f"{method} {path} HTTP/1.1\r\n{lines}content-length: {len(raw)}\r\n\r\n"
        self.writer.write(top.encode() + raw)

    async def more(self, answer: Answer) -> bool:
        """Read once; False at the end of the connection."""
        try:
            data = await self.reader.read(65_536)
        except ConnectionError:
            answer.ended = "reset"
            return False
        if not data:
            answer.ended = "fin"
            return False
        self.kept += data
        return True

    async def until(self, mark: bytes) -> bytes:
        """All that came, once it holds `mark`."""
        answer = Answer()
        async with asyncio.timeout(TIMEOUT_S):
            while mark not in self.kept and await self.more(answer):
                pass
        assert mark in self.kept, (mark, self.kept[-300:])
        return self.kept

    async def answer(self) -> Answer:
        """One answer to its end, or to the end of the connection."""
        answer = Answer()
        async with asyncio.timeout(TIMEOUT_S):
            while b"\r\n\r\n" not in self.kept:
                if not await self.more(answer):
                    answer.head = self.kept
                    return answer
            answer.head, _, self.kept = self.kept.partition(b"\r\n\r\n")
            first, *rest = answer.head.decode("latin-1").split("\r\n")
            answer.status = int(first.split()[1])
            answer.headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
            while not self._take(answer) and await self.more(answer):
                pass
            if not answer.whole and answer.ended != "open":
                answer.raw, self.kept = self.kept, b""
                answer.body = answer.raw if "content-length" in answer.headers else unchunk(answer.raw)[0]
                answer.whole = answer.headers.get("connection") == "close"
                answer.body = answer.raw if answer.whole else answer.body
        return answer

    def _take(self, answer: Answer) -> bool:
        if "content-length" in answer.headers:
            length = int(answer.headers["content-length"])
            if len(self.kept) < length:
                return False
            answer.raw, self.kept = self.kept[:length], self.kept[length:]
            answer.body = answer.raw
        elif answer.headers.get("transfer-encoding") == "chunked":
            body, used = unchunk(self.kept)
            if used is None:
                return False
            answer.body, answer.raw, self.kept = body, self.kept[:used], self.kept[used:]
        else:
            return False
        answer.whole = True
        return True

    def close(self) -> None:
        self.writer.close()


def unchunk(raw: bytes) -> tuple[bytes, int | None]:
    """What is there of a chunked body, and how long it is if it is all there."""
    body, at = b"", 0
    while (end := raw.find(b"\r\n", at)) >= 0:
        size = int(raw[at:end], 16)
        body += raw[end + 2 : end + 2 + size]
        at = end + 2 + size + 2
        if size == 0:
            return body, at
        if at > len(raw):
            break
    return body, None


async def connect(sim: Simulator, tls: ssl.SSLContext | None = None) -> Line:
    return Line(*await asyncio.open_connection("127.0.0.1", sim.port, ssl=tls))


async def one(
    sim: Simulator, path: str = CHAT, body: object = SAY_HI, headers: dict[str, str] | None = None, method: str = "POST"
) -> Answer:
    """Ask once on a connection of its own."""
    line = await connect(sim)
    try:
        line.ask(path, body, headers, method)
        return await line.answer()
    finally:
        line.close()


def streamed(**more: Any) -> dict[str, Any]:
    return {**SAY_HI, "stream": True, "max_tokens": 1000, **more}
