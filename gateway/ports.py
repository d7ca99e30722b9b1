"""The Protocols through which rooms on one floor meet; only app.py names who implements them."""

from collections.abc import Sequence
from typing import Protocol

from gateway.domain.call import UpstreamCall


class Clock(Protocol):
    """Time and chance, so that nobody else asks the machine. Seconds; `dice()` is uniform in [0, 1)."""

    def monotonic_s(self) -> float: ...
    def wall_s(self) -> float: ...
    def dice(self) -> float: ...
    async def sleep_s(self, delay_s: float) -> None: ...


class UpstreamReply(Protocol):
    """The head of a provider's answer, with the body still to be read.

    Exactly one of `read` or a series of `next_chunk` is used. Both raise AttemptFailed. Whoever holds a reply calls
    `close` once in every case: a fully read reply gives its connection back, any other one closes the socket at once.
    """

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Lower-case names, in the order received."""
        ...

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body, decoded (gzip, deflate) and bounded; kind RESPONSE_TOO_LARGE beyond `limit_bytes`."""
        ...

    async def next_chunk(self, timeout_s: float) -> bytes:
        """The next piece of the body, b"" at its clean end; kinds STALLED, TRUNCATED, RESPONSE_TOO_LARGE, DEADLINE."""
        ...

    def close(self) -> None: ...


class Upstream(Protocol):
    """Sends one call to its provider."""

    async def send(self, call: UpstreamCall) -> UpstreamReply:
        """Up to the response head. Raises AttemptFailed, whose `sent` says if the provider may have it."""
        ...
