"""The provider's own bill: one line for each upstream call."""

import hashlib
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from gateway.sim.event import encode

LINES_MAX: Final = 200_000


class BillLine(Struct, frozen=True):
    """What the provider knows about one call."""

    id: str
    """The `x-request-id` received."""
    reply_id: str
    path: str
    model: str
    key: str
    """Fingerprint, never the key."""
    outcome: str
    """completed; cut: the client left first; refused: an error answer; failed: the script broke it."""
    status: int
    input_tokens: int
    output_tokens: int
    """Produced so far."""
    cached_tokens: int
    reasoning_tokens: int
    sent_bytes: int
    """On the wire, heads included."""
    stream: bool
    started_s: float
    """Monotonic."""
    ended_s: float
    started_wall_s: float
    client_left_s: float | None = None
    """Monotonic; when the client went away before the end."""


class Bill:
    """The last lines in memory, all of them in the file if there is one."""

    def __init__(self, path: str | None = None) -> None:
        self._lines: deque[BillLine] = deque(maxlen=LINES_MAX)
        self._file: BinaryIO | None = None
        if path is not None:
            self._file = Path(path).open("ab", buffering=0)  # noqa: SIM115 - given back by close()

    def post(self, line: BillLine) -> None:
        self._lines.append(line)
        if self._file is not None:
            self._file.write(encode(line) + b"\n")

    def clear(self) -> None:
        """The file keeps what it has."""
        self._lines.clear()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[BillLine]:
        return iter(self._lines)

    def __getitem__(self, place: int) -> BillLine:
        return self._lines[place]


@lru_cache(maxsize=4096)
def fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:12] if key else ""
