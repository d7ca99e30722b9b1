"""A request's body: what its head says of it, and its bytes until it is understood."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from gateway.domain.errors import BodyTooLarge, ClientGone, InvalidRequest
from gateway.domain.request import ModelRequest
from gateway.http.cycle import DoorCycle

OFF_LOOP_BYTES = 256 * 1024
"""Larger bodies are parsed in a thread, so that they do not hold up the others."""
PARSERS = 2

Parse = Callable[[bytes], ModelRequest]


def check(head: dict[bytes, bytes], limit: int) -> None:
    """Refuses what the head says of it: more than `limit` bytes, or an encoding."""
    declared = head.get(b"content-length")
    if declared is not None and (not declared.isdigit() or int(declared[:16]) > limit):
        raise BodyTooLarge(f"the body is {declared[:20].decode('latin-1')} bytes; the limit is {limit}")
    encoding = head.get(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        raise InvalidRequest(f"content-encoding {encoding[:40].decode('latin-1')!r} is not served; send plain JSON")


def at_hand(cycle: DoorCycle, parse: Parse, limit: int) -> ModelRequest | None:
    """The request of a small body that is here, as most are; without an await."""
    if cycle.more_body or cycle.unread_bytes > min(OFF_LOOP_BYTES, limit):
        return None
    body = cycle.whole_body()
    return None if body is None else parse(body)


async def awaited(cycle: DoorCycle, parse: Parse, limit: int, parsers: Executor) -> ModelRequest:
    pieces: list[bytes] = []
    size, more = 0, True
    while more and size <= limit:
        piece = await cycle.next_body()
        if piece is None:
            raise ClientGone("the client left before it had sent its request")
        pieces.append(piece)
        size += len(piece)
        more = cycle.more_body
    if size > limit:
        raise BodyTooLarge(f"the body is larger than the limit of {limit} bytes")
    body = b"".join(pieces)
    if size > OFF_LOOP_BYTES:
        return await asyncio.get_running_loop().run_in_executor(parsers, parse, body)
    return parse(body)
