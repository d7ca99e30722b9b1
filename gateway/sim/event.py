"""One event of a stream, before it becomes SSE lines."""

from typing import Any, NamedTuple

import msgspec

encode = msgspec.json.Encoder().encode


class Event(NamedTuple):
    data: bytes
    name: bytes = b""
    tokens: int = 0
    """Output tokens the provider has produced with it."""
    content: bool = False
    """It carries a piece of the answer, and counts where a script says `after_events`."""


def named(kind: str, values: dict[str, Any], *, tokens: int = 0, content: bool = False) -> Event:
    """An event whose name is also the `type` member of its data."""
    return Event(encode({"type": kind, **values}), kind.encode(), tokens, content)
