"""Tool calls whose fragments may come in any order, put one after the other."""

import msgspec

from gateway.domain.turn import CallFragment, CallStarted, TurnEvent

HELD_CHARS_MAX = 8 * 1024 * 1024
"""Of arguments: of the call at hand, until it is known whether they are complete, and of those behind it."""

_is_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class TooMuchHeld(Exception):
    """More is kept than a stream may cost."""


class _Call:
    __slots__ = ("id", "name", "pieces")

    def __init__(self, call_id: str, name: str) -> None:
        self.id = call_id
        self.name = name
        self.pieces: list[str] = []


class CallQueue:
    """Fragments of the first unfinished call pass at once; those of later ones wait until it is complete JSON.

    Invariant: no fragment ever goes to another call than its own.
    """

    __slots__ = ("_at", "_calls", "_choice", "_done", "_held_chars", "_keys")

    def __init__(self, choice: int) -> None:
        self._choice = choice
        self._calls: list[_Call] = []
        self._keys: dict[int, int] = {}
        self._at = 0
        self._done = 0
        self._held_chars = 0

    def piece(self, index: int, call_id: str, name: str, text: str) -> list[TurnEvent]:
        """Raises TooMuchHeld."""
        place = self._keys.get(index)
        if place is None or (call_id and call_id != self._calls[place].id and self._calls[place].id):
            place = self._keys[index] = len(self._calls)
            self._calls.append(_Call(call_id, name))
        call = self._calls[place]
        call.id, call.name = call.id or call_id, call.name or name
        if text and place >= self._at:
            if self._held_chars + len(text) > HELD_CHARS_MAX:
                raise TooMuchHeld
            call.pieces.append(text)
            self._held_chars += len(text)
        events: list[TurnEvent] = []
        if place > self._at:
            while self._at < place and _complete(self._calls[self._at]):
                events += self._next()
        if place == self._at:
            events += self._show(call)
        return events

    def close(self) -> list[TurnEvent]:
        """What waits, and empty arguments as the empty object that they mean."""
        events: list[TurnEvent] = []
        while self._at < len(self._calls):
            events += self._next()
        return events

    def _next(self) -> list[TurnEvent]:
        """The call at hand is over; what waits of the one behind it goes out."""
        call = self._calls[self._at]
        events: list[TurnEvent] = []
        self._held_chars -= sum(map(len, call.pieces))
        if not any(piece.strip() for piece in call.pieces):
            call.pieces.append("{}")
        events += self._show(call, force=True)
        call.pieces.clear()
        self._at += 1
        self._done = 0
        if self._at < len(self._calls):
            events += self._show(self._calls[self._at])
        return events

    def _show(self, call: _Call, *, force: bool = False) -> list[TurnEvent]:
        """Nothing of a call before its name is known."""
        if not call.name and not force:
            return []
        events: list[TurnEvent] = []
        if self._done == 0:
            call_id = call.id or f"call_{self._choice}_{self._at}"
            events.append(CallStarted(call_id, call.name, self._choice))
            self._done = 1
        events += [CallFragment(piece, self._choice) for piece in call.pieces[self._done - 1 :]]
        self._done = len(call.pieces) + 1
        return events


def _complete(call: _Call) -> bool:
    try:
        _is_object("".join(call.pieces))
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True
