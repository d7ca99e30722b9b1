"""The lines of the journal: facts as JSON arrays, their kind first, and the checksum of each behind it.

A booking has a number, and what is opened names the one that it is booked under.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from gateway.domain.fact import Beat, Booking, Closed, Fact, Lineage, Opened, Replayed, Settled
from gateway.domain.ledger import EntryKind
from gateway.domain.record import Provenance
from gateway.domain.reply import Usage

_ENCODE_INTO = msgspec.json.Encoder().encode_into
_DECODE = msgspec.json.Decoder(list[Any]).decode
_CRC32 = zlib.crc32
_NEWLINE = 10


def write_line(line: bytearray, fact: Fact, number: int = 0) -> None:
    """Into `line`, in place of what is there; `number` is that of the booking."""
    _ENCODE_INTO(_array(fact, number), line, 0)
    _ENCODE_INTO(_CRC32(line), line, -1)
    line.append(_NEWLINE)


def checked(line: bytes) -> tuple[int, Fact] | None:
    """Number and fact; None for a line that is torn, damaged or of a kind that is not known here."""
    text, end, checksum = line.rpartition(b"]")
    text += end
    try:
        if int(checksum) != _CRC32(text):
            return None
        kind, *told = _DECODE(text)
        number = told.pop(0) if kind in _NUMBERED else 0
        return number, _MADE[kind](told)
    except (LookupError, TypeError, ValueError, msgspec.DecodeError):
        return None


def _array(fact: Fact, number: int) -> tuple[object, ...]:
    if isinstance(fact, Opened):
        cost, lineage = fact.cost_nano_usd, None if fact.lineage is None else _lineage(fact.lineage)
        return "open", number, fact.attempt_id, fact.reserved_at_s, fact.input_tokens, cost, fact.tokens, lineage
    if isinstance(fact, Settled):
        return "settle", fact.attempt_id, fact.posted_at_s, fact.usage.figures, fact.cost_nano_usd
    if isinstance(fact, Beat):
        return "beat", fact.attempt_id, fact.output_tokens, fact.cost_nano_usd
    if isinstance(fact, Booking):
        return "booking", number, *fact.fields
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


_NUMBERED = frozenset({"booking", "open"})
_MADE: Mapping[str, Callable[[list[Any]], Fact]] = {
    "booking": _booking_of,
    "open": _opened_of,
    "settle": _settled_of,
    "close": _closed_of,
    "replay": _replayed_of,
    "beat": lambda told: Beat(*told),
}
