"""A request as it came in, for tests to look at."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

BODY_BYTES_KEPT: Final = 1_048_576
REQUESTS_KEPT: Final = 512


@dataclass(frozen=True, slots=True)
class Recorded:
    """`headers` as received, names in lower case; `body` up to `BODY_BYTES_KEPT`."""

    method: str
    path: str
    """Without the query."""
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    body_bytes: int
    connection: int
    """Number of its connection, from 1."""

    def header(self, name: str, default: str = "") -> str:
        return next((value for have, value in self.headers if have == name), default)

    def json(self) -> Any:
        return msgspec.json.decode(self.body)
