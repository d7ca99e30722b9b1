"""One answer for many callers: a call under an idempotency key runs once; who asks again joins it or gets it again."""

import asyncio
from collections import OrderedDict
from collections.abc import MutableMapping
from typing import Any

from gateway.domain.value import value
from gateway.ports import Clock

Message = MutableMapping[str, Any]

TTL_S = 86_400.0
ANSWER_BYTES_MAX = 4 * 1024 * 1024
ALL_BYTES_MAX = 64 * 1024 * 1024
ANSWERS_MAX = 100_000


class SharedAnswer:
    """The messages of one answer as they come; any number of readers, each from the beginning.

    It is written by the one call that runs, `send` has the form of an ASGI send. `request_id` is that call's.
    """

    __slots__ = ("_arrival", "_messages", "bytes", "done", "request_id")

    def __init__(self, request_id: str) -> None:
        self._messages: list[Message] = []
        self._arrival = asyncio.Event()
        self.request_id = request_id
        self.bytes = 0
        self.done = False

    async def send(self, message: Message) -> None:
        self._messages.append(message)
        self.bytes += len(message.get("body", b""))
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.done = True
        self._arrival.set()

    def abandon(self) -> None:
        """The call ended without the end of an answer: readers stop where it stopped."""
        self.done = True
        self._arrival.set()

    @property
    def status(self) -> int:
        return int(self._messages[0]["status"]) if self._messages else 0

    @property
    def whole(self) -> bool:
        last = self._messages[-1] if self._messages else {}
        return bool(last) and last["type"] == "http.response.body" and not last.get("more_body")

    async def message(self, at: int) -> Message | None:
        """The one at that place, once it is there; None after the end."""
        while at >= len(self._messages):
            if self.done:
                return None
            self._arrival.clear()
            await self._arrival.wait()
        return self._messages[at]


@value
class Claimed:
    """Nobody has asked this before: run the call and write its answer here."""

    answer: SharedAnswer


@value
class Found:
    """The answer of the same request, running or whole."""

    answer: SharedAnswer


@value
class Mismatch:
    """The key was used with another body."""


class _Entry:
    __slots__ = ("answer", "expires_s", "fingerprint")

    def __init__(self, answer: SharedAnswer, fingerprint: bytes, expires_s: float) -> None:
        self.answer = answer
        self.fingerprint = fingerprint
        self.expires_s = expires_s


class Replays:
    """Answers by key, in the memory of this process; `key` and `fingerprint` are digests that tell nothing.

    Invariant: what runs is never forgotten; of what has ended, the oldest goes first when there is too much.
    """

    def __init__(self, clock: Clock, *, all_bytes_max: int = ALL_BYTES_MAX) -> None:
        self._clock = clock
        self._all_bytes_max = all_bytes_max
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._kept_bytes = 0

    def claim(self, key: bytes, fingerprint: bytes, request_id: str) -> Claimed | Found | Mismatch:
        entry = self._entries.get(key)
        if entry is not None and entry.answer.done and entry.expires_s <= self._clock.monotonic_s():
            self._forget(key)
            entry = None
        if entry is None:
            answer = SharedAnswer(request_id)
            self._entries[key] = _Entry(answer, fingerprint, self._clock.monotonic_s() + TTL_S)
            return Claimed(answer)
        return Found(entry.answer) if entry.fingerprint == fingerprint else Mismatch()

    def ended(self, key: bytes, *, keep: bool) -> None:
        """The call is over; an answer that may turn out better another time is not kept."""
        entry = self._entries.get(key)
        if entry is None:
            return
        entry.answer.abandon()
        self._kept_bytes += entry.answer.bytes
        if not keep or not entry.answer.whole or entry.answer.bytes > ANSWER_BYTES_MAX:
            self._forget(key)
        self._shrink()

    def _shrink(self) -> None:
        while self._kept_bytes > self._all_bytes_max or len(self._entries) > ANSWERS_MAX:
            oldest = next((key for key, entry in self._entries.items() if entry.answer.done), None)
            if oldest is None:
                return
            self._forget(oldest)

    def _forget(self, key: bytes) -> None:
        self._kept_bytes -= self._entries.pop(key).answer.bytes
