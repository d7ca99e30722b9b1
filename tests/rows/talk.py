"""A caller on a raw socket, which sees every byte that the gateway sends and how the connection ends."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

ANSWER_S = 20.0


@dataclass(frozen=True)
class Seen:
    """What a caller got. `whole` says that HTTP's own framing was kept to the end."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def events(self) -> list[bytes]:
        """The data of every event of a stream."""
        frames = [frame.split(b"\n") for frame in self.body.split(b"\n\n") if frame.strip()]
        return [line[6:] for lines in frames for line in lines if line.startswith(b"data: ")]

    @property
    def done(self) -> bool:
        """A stream that ended as a provider ends one."""
        return self.status == 200 and self.whole and self.body.endswith(b"data: [DONE]\n\n")

    @property
    def error(self) -> dict[str, Any]:
        """The error of the answer, or of the last event of a stream."""
        said = self.json if self.status != 200 else msgspec.json.decode(self.events[-1])
        error: dict[str, Any] = said["error"]
        return error

    @property
    def text(self) -> str:
        """The content, streamed or not."""
        if self.headers["content-type"].startswith("application/json"):
            return "".join(choice["message"]["content"] or "" for choice in self.json["choices"])
        said = [msgspec.json.decode(event) for event in self.events if event != b"[DONE]"]
        choices = [choice for event in said for choice in event.get("choices", ())]
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    @property
    def attempts(self) -> int:
        return int(self.headers.get("x-gateway-attempts", "0"))


def request(body: bytes, headers: Mapping[str, str], path: str = "/v1/chat/completions") -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    top = f"POST {path} HTTP/1.1\r\nhost: gateway.test\r\ncontent-type: application/json\r\n{lines}"
    return f"{top}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


async def talk(port: int, message: bytes, on_content: Callable[[], object] | None = None) -> Seen:
    """One request on a connection of its own, read to the end of the connection.

    `on_content` is called once some of the body is here.
    """
    async with asyncio.timeout(ANSWER_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(message)
            raw = await _all(reader, on_content)
        finally:
            await hang_up(writer)
    return read_answer(raw)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _all(reader: asyncio.StreamReader, on_content: Callable[[], object] | None) -> bytes:
    raw = b""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(1 << 16):
            raw += piece
            if on_content is not None and b'"content":"' in raw:
                on_content()
                on_content = None
    return raw


def read_answer(raw: bytes) -> Seen:
    top, found, rest = raw.partition(b"\r\n\r\n")
    if not found:
        return Seen(0, {}, raw, whole=False)
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body, whole = _dechunked(rest)
    else:
        body, whole = rest, len(rest) == int(headers.get("content-length", "-1"))
    return Seen(int(first.split()[1]), headers, body, whole)


def _dechunked(rest: bytes) -> tuple[bytes, bool]:
    pieces: list[bytes] = []
    while rest:
        size, found, rest = rest.partition(b"\r\n")
        length = int(size, 16) if found else 0
        if not found or len(rest) < length + 2:
            break
        if length == 0:
            return b"".join(pieces), rest == b"\r\n"
        pieces.append(rest[:length])
        rest = rest[length + 2 :]
    return b"".join(pieces), False
