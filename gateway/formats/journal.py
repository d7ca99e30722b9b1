"""The lines of the journal: JSON arrays of a checksum, the number of a booking and a fact, its kind first.

The number is that of a Booking, and of an Opened the one it is booked under; 0 for other facts.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from gateway.domain.fact import Beat, Booking, Closed, Fact, Lineage, Opened, Replayed, Settled
from gateway.domain.ledger import EntryKind
from gateway.domain.record import Provenance
from gateway.domain.reply import Usage

_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(tuple[int, int, list[Any]]).decode
_CRC32 = zlib.crc32


def start_of(number: int) -> int:
    """The checksum of a line begins with its booking's number, which most lines have in common with others."""
    return _CRC32(b"%d," % number)


_NO_BOOKING = start_of(0)


def line_of(fact: Fact, number: int = 0, start: int = _NO_BOOKING) -> bytes:
    """`start` is that of the number."""
    text = _ENCODE(_array(fact))
    return b"[%d,%d,%b]\n" % (_CRC32(text, start), number, text)


def checked(line: bytes) -> tuple[int, Fact] | None:
    """Number and fact; None for a line that is torn, damaged or of a kind that is not known here."""
    checksum, _, rest = line[1:].partition(b",")
    try:
        if int(checksum) != _CRC32(rest.rstrip(b"\n")[:-1]):
            return None
        _, number, (kind, *told) = _DECODE(line)
        return number, _MADE[kind](told)
    except (LookupError, TypeError, ValueError, msgspec.DecodeError):
        return None


def _array(fact: Fact) -> tuple[object, ...]:
    if isinstance(fact, Opened):
        cost, lineage = fact.cost_nano_usd, None if fact.lineage is None else _lineage(fact.lineage)
        return "open", fact.attempt_id, fact.reserved_at_s, fact.input_tokens, cost, fact.tokens, lineage
    if isinstance(fact, Settled):
        return "settle", fact.attempt_id, fact.posted_at_s, fact.usage.figures, fact.cost_nano_usd
    if isinstance(fact, Beat):
        return "beat", fact.attempt_id, fact.output_tokens, fact.cost_nano_usd
    if isinstance(fact, Booking):
        return "booking", *fact.fields
    return _closed(fact) if isinstance(fact, Closed) else _replayed(fact)


def _lineage(lineage: Lineage) -> tuple[object, ...]:
    return lineage.run_id, lineage.root_run_id, lineage.parent_run_id, lineage.session_id


def _closed(closed: Closed) -> tuple[object, ...]:
    return (
        "close",
        closed.attempt_id,
        closed.kind.value,
        closed.posted_at_s,
        closed.usage.figures,
        closed.cost_nano_usd,
        closed.tokens,
        closed.provenance.value,
        closed.price_id,
        closed.unpriced,
        closed.cause,
        closed.service_tier,
    )


def _replayed(fact: Replayed) -> tuple[object, ...]:
    return (
        "replay",
        fact.request_id,
        fact.replay_of,
        fact.tenant,
        fact.key_id,
        fact.at_s,
        fact.model,
        fact.user,
        fact.run_id,
        fact.root_run_id,
        fact.tags,
        fact.parent_run_id,
        fact.session_id,
    )


def _tags(told: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, text) for name, text in told)


def _booking_of(told: list[Any]) -> Booking:
    told[7] = _tags(told[7])
    return Booking(*told)


def _opened_of(told: list[Any]) -> Opened:
    if told[5] is not None:
        told[5] = Lineage(*told[5])
    return Opened(*told)


def _settled_of(told: list[Any]) -> Settled:
    attempt_id, posted_at_s, usage, cost = told
    return Settled(attempt_id, posted_at_s, Usage(*usage), cost)


def _closed_of(told: list[Any]) -> Closed:
    attempt_id, kind, posted_at_s, usage, cost, tokens, provenance, *rest = told
    known = Usage(*usage), cost, tokens, Provenance(provenance)
    return Closed(attempt_id, EntryKind(kind), posted_at_s, *known, *rest)


def _replayed_of(told: list[Any]) -> Replayed:
    told[9] = _tags(told[9])
    return Replayed(*told)


_MADE: Mapping[str, Callable[[list[Any]], Fact]] = {
    "booking": _booking_of,
    "open": _opened_of,
    "settle": _settled_of,
    "close": _closed_of,
    "replay": _replayed_of,
    "beat": lambda told: Beat(*told),
}
