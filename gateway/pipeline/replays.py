"""One answer for many callers: a call under an idempotency key runs once; who asks again joins it or gets it again."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine, MutableMapping, Sequence
from functools import partial
from typing import Any, TypeVar

from gateway.domain.value import value
from gateway.formats.answer import Messages, read_messages, write_messages
from gateway.ports import Answers, BankAway, Clock, Owned

Message = MutableMapping[str, Any]
_T = TypeVar("_T")
Begin = Callable[[Coroutine[object, object, None]], None]

TTL_S = 86_400.0
ANSWER_BYTES_MAX = 4 * 1024 * 1024
ALL_BYTES_MAX = 64 * 1024 * 1024
ANSWERS_MAX = 100_000
GATHER_S = 0.02
LOOK_S = 0.025
RENEW_S = 4.0
TRIES = 200
"""Each `LOOK_S` apart: a caller waits for its answer, so others get to know it as long as that takes."""
PATIENCE_S = 1.5
"""A store that has just gone is waited for: with a claim that nobody knows of, the call may be paid twice."""


class SharedAnswer:
    """The messages of one answer as they come; any number of readers, each from the beginning.

    It is written by the one call that runs, `send` has the form of an ASGI send. `request_id` is that call's.
    """

    __slots__ = ("_arrival", "_messages", "bytes", "done", "kept", "request_id")

    def __init__(self, request_id: str) -> None:
        self._messages: list[Message] = []
        self._arrival = asyncio.Event()
        self.request_id = request_id
        self.bytes = 0
        self.done = False
        self.kept = False

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

    def since(self, at: int) -> Sequence[Message]:
        return self._messages[at:]

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

    After `share`, other processes join and replay them too, and this one theirs. While the store is away, each process
    knows its own alone. Invariant: what runs is never forgotten; of what has ended, the oldest goes first when there is
    too much.
    """

    def __init__(self, clock: Clock, *, all_bytes_max: int = ALL_BYTES_MAX) -> None:
        self._clock = clock
        self._all_bytes_max = all_bytes_max
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._kept_bytes = 0
        self._answers: Answers | None = None
        self._begin: Begin | None = None
        self._away_since_s: float | None = None

    def share(self, answers: Answers, begin: Begin) -> None:
        """`begin` takes care of work that goes on without a caller."""
        self._answers = answers
        self._begin = begin

    async def claim(self, key: bytes, seal: bytes, fingerprint: bytes, request_id: str) -> Claimed | Found | Mismatch:
        """`seal` is what only those know who may have the answer."""
        found = self._claim(key, fingerprint, request_id)
        if self._answers is None or self._begin is None or not isinstance(found, Claimed):
            return found
        answer = found.answer
        try:
            stored = await self._patiently(partial(self._answers.claim, key, fingerprint, request_id))
            if stored is None:
                self.ended(key, keep=False)
                return Mismatch()
            if isinstance(stored, Owned):
                self._begin(self._write_on(self._answers, key, seal, answer))
                return found
            answer.request_id = stored.request_id
            if stored.ended:
                await self._read_on(self._answers, key, seal, answer)
            else:
                self._begin(self._read_on(self._answers, key, seal, answer))
        except BankAway:
            return found
        except BaseException:
            self.ended(key, keep=False)
            self._begin(_give_up(self._answers, key, request_id))
            raise
        return Found(answer)

    async def _write_on(self, answers: Answers, key: bytes, seal: bytes, answer: SharedAnswer) -> None:
        """Tells the store of every message, as they come."""
        request_id, at, owned, frames, written = answer.request_id, 0, True, 0, b""
        append = partial(answers.append, key, seal, request_id)
        try:
            while owned and (messages := await self._coming(answer, at)) is not None:
                if messages:
                    at, frames = at + len(messages), frames + 1
                    written = write_messages(messages)
                    owned = await self._surely(partial(append, frames - 1, written))
                else:
                    owned = await self._surely(partial(answers.renew, key, request_id))
            kept_bytes = answer.bytes if answer.kept else None
            await self._surely(partial(answers.end, key, request_id, kept_bytes))
        except BankAway:
            return  # the claim ends by itself
        except asyncio.CancelledError:
            if not (owned and answer.kept):
                await _give_up(answers, key, request_id)
                raise
            with contextlib.suppress(BankAway):
                if written:
                    await append(frames - 1, written)
                if rest := [*answer.since(at)]:
                    await append(frames, write_messages(rest))
                await answers.end(key, request_id, answer.bytes)
            raise

    async def _coming(self, answer: SharedAnswer, at: int) -> Messages | None:
        """What has come behind that place, none if nothing did for a while; None after the end."""
        try:
            async with asyncio.timeout(RENEW_S):
                if await answer.message(at) is None:
                    return None
        except TimeoutError:
            return []
        if not answer.done:
            await self._clock.sleep_s(GATHER_S)
        return [*answer.since(at)]

    async def _patiently(self, call: Callable[[], Coroutine[object, object, _T]]) -> _T:
        """One that stays away is asked once by each. Raises BankAway."""
        while True:
            try:
                found = await call()
            except BankAway:
                now_s = self._clock.monotonic_s()
                if self._away_since_s is None:
                    self._away_since_s = now_s
                if now_s - self._away_since_s >= PATIENCE_S:
                    raise
                await self._clock.sleep_s(LOOK_S)
            else:
                self._away_since_s = None
                return found

    async def _surely(self, call: Callable[[], Coroutine[object, object, _T]]) -> _T:
        """A store that is busy for a moment is asked again. Raises BankAway."""
        for _ in range(TRIES - 1):
            try:
                return await call()
            except BankAway:
                await self._clock.sleep_s(LOOK_S)
        return await call()

    async def _read_on(self, answers: Answers, key: bytes, seal: bytes, answer: SharedAnswer) -> None:
        """Takes over what another process writes, to its end."""
        at, ended = 0, False
        try:
            while not ended:
                found = await self._surely(partial(answers.read, key, seal, answer.request_id, at))
                if found is None:
                    break
                frames, ended = found
                at += len(frames)
                for frame in frames:
                    for message in read_messages(frame):
                        await answer.send(message)
                if not ended:
                    await self._clock.sleep_s(LOOK_S)
        except BankAway:
            pass
        finally:
            self.ended(key, keep=ended)

    def _claim(self, key: bytes, fingerprint: bytes, request_id: str) -> Claimed | Found | Mismatch:
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
        answer = entry.answer
        answer.kept = keep and answer.whole and answer.bytes <= ANSWER_BYTES_MAX
        answer.abandon()
        self._kept_bytes += answer.bytes
        if not answer.kept:
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


async def _give_up(answers: Answers, key: bytes, request_id: str) -> None:
    with contextlib.suppress(BankAway):
        await answers.end(key, request_id, None)
