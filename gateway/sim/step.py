"""The few things a connection can be told to do next."""

from collections.abc import Iterable, Iterator
from enum import Enum
from math import inf
from typing import NamedTuple


class Send(NamedTuple):
    data: bytes
    tokens: int = 0
    """Output tokens the provider has produced once this is out."""
    withheld: int = 0
    """Bytes that a chunk size promises beyond `data`, never sent."""


class Pause(NamedTuple):
    seconds: float


class Gate(NamedTuple):
    """Wait until the test opens it."""

    name: str


class End(Enum):
    KEEP = "keep"
    FIN = "fin"
    RESET = "reset"


Step = Send | Pause | Gate | End

HANG = Pause(inf)


def ending(how: str) -> End:
    """Invariant: the words of a script are the values of End, but for `clean` and `no`, which keep the connection."""
    return {"fin": End.FIN, "reset": End.RESET}.get(how, End.KEEP)


def cut(steps: Iterable[Step], after_bytes: int, last: Step | None) -> Iterator[Step]:
    """The first bytes of a body, then `last`; without it the body ends as if it were whole."""
    left = after_bytes
    for step in steps:
        if isinstance(step, Send):
            if len(step.data) >= left:
                withheld = len(step.data) - left if last is not None else 0
                if left:
                    yield Send(step.data[:left], step.tokens, withheld)
                break
            left -= len(step.data)
        yield step
    if last is not None:
        yield last


def split(steps: Iterable[Step], size_bytes: int, every_s: float) -> Iterator[Step]:
    """Every Send in pieces of at most `size_bytes`."""
    for step in steps:
        if not isinstance(step, Send) or len(step.data) <= size_bytes:
            yield step
            continue
        tokens = step.tokens
        for at in range(0, len(step.data), size_bytes):
            if at and every_s:
                yield Pause(every_s)
            piece = step.data[at : at + size_bytes]
            yield Send(piece, tokens, step.withheld if at + size_bytes >= len(step.data) else 0)
            tokens = 0


def chunked(steps: Iterable[Step]) -> Iterator[Step]:
    """The body in HTTP chunks; the last chunk only if the body ends by itself."""
    for step in steps:
        if isinstance(step, Send):
            if step.data:
                after = b"" if step.withheld else b"\r\n"
                size = len(step.data) + step.withheld
                yield Send(b"%x\r\n%b%b" % (size, step.data, after), step.tokens)
        else:
            yield step
            if isinstance(step, End):
                return
    yield Send(b"0\r\n\r\n")


def length(steps: Iterable[Step]) -> int:
    return sum(len(step.data) for step in steps if isinstance(step, Send))
