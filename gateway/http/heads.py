"""What the path reads from a request's head."""

import itertools
import re
import secrets

from gateway.domain.errors import InvalidRequest
from gateway.domain.request import Priority

SESSION_HEADERS = (
    b"x-conversation-id",
    b"x-session-id",
    b"x-session-affinity",
    b"x-claude-code-session-id",
    b"session-id",
)
SPOKEN = frozenset(
    {
        *SESSION_HEADERS,
        b"x-request-timeout-ms",
        b"x-run-id",
        b"x-parent-run-id",
        b"x-tags",
        b"x-priority",
        b"traceparent",
    }
)
"""The headers that say something about this request; most requests have none of them."""

TIMEOUT_MAX_MS = 24 * 3_600_000
ID_BYTES_MAX = 256
TAGS_MAX = 16
_TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, version 00."""

_BOOT = "req_" + secrets.token_hex(6)
_numbers = itertools.count((1 << 44) + secrets.randbits(40))


def new_request_id() -> str:
    """Unique: a random part for the process and a running number. No secret depends on it."""
    return _BOOT + hex(next(_numbers))[2:]  # noqa: FURB116 - a format costs six times that


def bearer(head: dict[bytes, bytes]) -> bytes | None:
    """The caller's key from `Authorization: Bearer` or `x-api-key`."""
    given = head.get(b"authorization")
    if given is not None:
        if given[:7] == b"Bearer ":
            return given[7:].strip()  # as most say it
        scheme, _, key = given.partition(b" ")
        return key.strip() if scheme.lower() == b"bearer" else None
    return head.get(b"x-api-key")


def session_of(head: dict[bytes, bytes]) -> str | None:
    for name in SESSION_HEADERS:
        if name in head:
            return _text(head, name)
    return None


def timeout_s(head: dict[bytes, bytes]) -> float | None:
    given = head.get(b"x-request-timeout-ms")
    if given is None:
        return None
    if not given.isdigit() or len(given) > 8 or not 0 < int(given) <= TIMEOUT_MAX_MS:
        shown = given[:40].decode("latin-1")
        raise InvalidRequest(f"x-request-timeout-ms is {shown!r}; send whole milliseconds from 1 to {TIMEOUT_MAX_MS}")
    return int(given) / 1000


def priority_of(head: dict[bytes, bytes]) -> Priority:
    given = head.get(b"x-priority")
    if given is None:
        return Priority.INTERACTIVE
    try:
        return Priority(given.decode("latin-1"))
    except ValueError:
        raise InvalidRequest(
            f"x-priority is {given[:40].decode('latin-1')!r}; send 'interactive' or 'autonomous'"
        ) from None


def tags_of(head: dict[bytes, bytes]) -> tuple[tuple[str, str], ...]:
    """`team=a,feature=b`"""
    given = _text(head, b"x-tags")
    if given is None:
        return ()
    pairs = [pair.partition("=") for pair in given.split(",")]
    if len(pairs) > TAGS_MAX or not all(name.strip() and equals for name, equals, _ in pairs):
        raise InvalidRequest(f"x-tags is {given[:80]!r}; send at most {TAGS_MAX} pairs such as 'team=a,feature=b'")
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def traceparent_of(head: dict[bytes, bytes]) -> str | None:
    """The caller's place in a trace; what is none is left out, as its standard says."""
    given = head.get(b"traceparent")
    return given.decode() if given is not None and _TRACEPARENT.fullmatch(given) else None


def text_of(head: dict[bytes, bytes], name: bytes) -> str | None:
    return _text(head, name)


def _text(head: dict[bytes, bytes], name: bytes) -> str | None:
    given = head.get(name)
    if given is None:
        return None
    if len(given) > ID_BYTES_MAX:
        raise InvalidRequest(f"{name.decode()} is longer than {ID_BYTES_MAX} bytes")
    return given.decode("latin-1")
