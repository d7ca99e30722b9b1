"""How the messages of an answer are written down for another process."""

from collections.abc import MutableMapping
from typing import Any, TypedDict

import msgspec

Messages = list[MutableMapping[str, Any]]


class _Message(TypedDict, total=False):
    type: str
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    more_body: bool


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Message]).decode


def write_messages(messages: Messages) -> bytes:
    return _encode(messages)


def read_messages(frame: bytes) -> Messages:
    """As they were written. Raises ValueError."""
    return [dict(message) for message in _decode(frame)]
