"""Reads one JSON object of a request field by field, and tells what nobody has read."""

import msgspec

from gateway.domain.conversation import Loss
from gateway.domain.errors import InvalidRequest
from gateway.formats.openai import encode

_decode = msgspec.json.Decoder().decode


class Fields:
    """Every getter takes its field; `unread` then names the others as losses. A null counts as not there."""

    __slots__ = ("_left", "_losses", "path")

    def __init__(self, given: object, path: str, losses: list[Loss]) -> None:
        if not isinstance(given, dict):
            raise InvalidRequest(f"{path!r} is not an object", param=path)
        self._left: dict[str, object] = given
        self._losses = losses
        self.path = path

    @classmethod
    def of_members(cls, members: dict[str, bytes], losses: list[Loss]) -> "Fields":
        return cls({name: _decode(value) for name, value in members.items()}, "", losses)

    def at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def take(self, name: str) -> object:
        return self._left.pop(name, None)

    def text(self, name: str) -> str:
        given = self.take(name)
        if given is None or isinstance(given, str):
            return given or ""
        raise self.wrong(name, "a text")

    def must(self, name: str) -> str:
        return self.text(name) or self._missing(name)

    def flag(self, name: str) -> bool | None:
        given = self.take(name)
        if given is None or isinstance(given, bool):
            return given
        raise self.wrong(name, "true or false")

    def whole(self, name: str) -> int | None:
        given = self.take(name)
        if given is None or (isinstance(given, int) and not isinstance(given, bool)):
            return given
        raise self.wrong(name, "a whole number")

    def number(self, name: str) -> float | None:
        given = self.take(name)
        if given is None:
            return None
        if isinstance(given, int | float) and not isinstance(given, bool):
            return float(given)
        raise self.wrong(name, "a number")

    def json(self, name: str) -> bytes:
        """The JSON text of an object; empty when there is none."""
        given = self.take(name)
        if given is None:
            return b""
        if not isinstance(given, dict):
            raise self.wrong(name, "an object")
        return encode(given)

    def inner(self, name: str) -> "Fields | None":
        given = self.take(name)
        return None if given is None else Fields(given, self.at(name), self._losses)

    def each(self, name: str) -> list["Fields"]:
        """The objects of a list."""
        given = self.take(name)
        if given is None:
            return []
        if not isinstance(given, list):
            raise self.wrong(name, "a list")
        return [Fields(one, f"{self.at(name)}[{place}]", self._losses) for place, one in enumerate(given)]

    def texts(self, name: str) -> tuple[str, ...]:
        """A text, or a list of them."""
        given = self.take(name)
        if given is None:
            return ()
        if isinstance(given, str):
            return (given,)
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            raise self.wrong(name, "a text or a list of texts")
        return tuple(str(one) for one in given)

    def text_or_parts(self, name: str) -> "str | list[Fields]":
        given = self._left.get(name)
        return self.text(name) if isinstance(given, str) else self.each(name)

    def lose(self, name: str, *, hint: bool = False) -> None:
        """Read, and given up."""
        if self.take(name) is not None:
            self._losses.append(Loss(self.at(name), hint))

    def lost(self, *, hint: bool = False) -> None:
        """The whole object is given up."""
        self._losses.append(Loss(self.path, hint))

    def ignore(self, *names: str) -> None:
        """What says nothing that is not said elsewhere."""
        for name in names:
            self.take(name)

    def unread(self, hints: frozenset[str] = frozenset()) -> None:
        """What is left, is lost; empty values say nothing."""
        for name, value in self._left.items():
            if value not in (None, [], {}, ""):
                self._losses.append(Loss(self.at(name), name in hints))

    def wrong(self, name: str, expected: str) -> InvalidRequest:
        return InvalidRequest(f"{self.at(name)!r} is not {expected}", param=self.at(name))

    def _missing(self, name: str) -> str:
        raise InvalidRequest(f"{self.at(name)!r} is missing or empty", param=self.at(name))
