"""Cuts a provider's stream into events and has each read, for translation."""

from typing import Protocol

import msgspec

from gateway.domain.failure import Failure, FailureKind, Sent
from gateway.domain.turn import Failed, Silence, TurnEvent
from gateway.providers.sse import Framer, FramingError

SILENCE = Silence()


class Reader(Protocol):
    """What a dialect makes of the data of one event."""

    def read(self, data: bytes) -> list[TurnEvent]:
        """Raises MsgspecError or UnicodeDecodeError for what cannot be read."""
        ...

    def close(self) -> list[TurnEvent]:
        """What the clean end of the body means."""
        ...


class Turns:
    """The same events for any chunking."""

    __slots__ = ("_framer", "_reader")

    def __init__(self, reader: Reader) -> None:
        self._framer = Framer()
        self._reader = reader

    def feed(self, chunk: bytes) -> list[TurnEvent]:
        events: list[TurnEvent] = []
        try:
            for frame in self._framer.feed(chunk):
                events += self._read(frame.data)
        except FramingError as error:
            events.append(broken(str(error)))
        return events

    def end(self) -> list[TurnEvent]:
        frame = self._framer.rest()
        last = self._read(frame.data) if frame is not None else []
        return last + self._reader.close()

    def _read(self, data: bytes | None) -> list[TurnEvent]:
        if data is None:
            return [SILENCE]
        try:
            return self._reader.read(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return [broken("an event of the provider's stream is not valid JSON")]


def broken(message: str) -> Failed:
    return Failed(Failure(FailureKind.MALFORMED_STREAM, message, status=200, sent=Sent.YES))
