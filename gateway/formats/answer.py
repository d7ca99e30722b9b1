"""How the messages of an answer are written down for another process."""

from collections.abc import MutableMapping
from typing import Any

import msgspec

Messages = list[MutableMapping[str, Any]]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[dict[str, Any]]).decode


def write_messages(messages: Messages) -> bytes:
    return _encode(messages)


def read_messages(frame: bytes) -> Messages:
    """Raises ValueError."""
    return [*_decode(frame)]
