"""A row of the ledger: what an entry is in SQL."""

import json
from collections.abc import Sequence

from gateway.domain.ledger import LATE, Entry, EntryKind
from gateway.domain.record import Provenance

Values = tuple[str | int | float, ...]
Row = tuple[Values, Values]
"""What an entry is booked under, which many have in common, and the rest; the latter begins with its attempt."""

COMMON = 9
"""Columns of the first part."""


def row_of(entry: Entry) -> Row:
    """In the order of COLUMNS in `sql.entry_rows`, which ends before what is not there.

    Numbers and texts alone, "" for nothing: sqlite3 looks long at all else.
    """
    usage = entry.usage
    common = (
        "post" if entry.kind is EntryKind.POST else entry.kind.value,
        "exact" if entry.provenance is Provenance.EXACT else entry.provenance.value,
        entry.tenant,
        entry.key_id,
        entry.worker,
        entry.model,
        entry.provider,
        entry.provider_model,
        entry.price_id,
    )
    usual = (
        entry.attempt_id,
        entry.request_id,
        entry.reserved_at_s,
        entry.posted_at_s,
        usage.input,
        usage.output,
        usage.cached_input,
        usage.reasoning,
        entry.cost_nano_usd,
        entry.tokens,
    )
    rare = (
        len(usage.figures) > 4
        or entry.unpriced
        or entry.late
        or entry.replay_of
        or entry.budget_id
        or entry.budget_who
        or entry.actor
        or entry.cause
    )
    if rare:
        return common, usual + _named(entry) + _rare(entry)
    named = entry.user or entry.tags or entry.run_id or entry.session_id or entry.service_tier
    if named or entry.root_run_id or entry.parent_run_id:
        return common, usual + _named(entry)
    return common, usual


def rows_of(entries: Sequence[Entry]) -> list[Row]:
    return [row_of(entry) for entry in entries]


def span_of(entries: Sequence[Entry]) -> tuple[float, float]:
    """The earliest and the latest time of the attempts."""
    earliest = latest = entries[0].reserved_at_s
    for entry in entries:
        at_s = entry.reserved_at_s
        earliest, latest = min(earliest, at_s), max(latest, at_s)
    return earliest, latest


def late_of(entries: Sequence[Entry]) -> list[str]:
    """The attempts of late words."""
    return [entry.attempt_id for entry in entries if entry.kind in LATE]


def parted(rows: Sequence[Row]) -> tuple[dict[tuple[Values, int], list[Values]], list[Row]]:
    """First attempts by what they have in common and how many columns they have, with the rest of each; and the others.

    A request's other attempts stay behind its first one.
    """
    groups: dict[tuple[Values, int], list[Values]] = {}
    later: list[Row] = []
    for row in rows:
        common, rest = row
        if str(rest[0])[-2:] != ".1":
            later.append(row)
            continue
        key = (common, len(rest))
        rests = groups.get(key)
        if rests is None:
            rests = groups[key] = []
        rests.append(rest)
    return groups, later


def _named(entry: Entry) -> Values:
    return (
        storable(entry.user or ""),
        storable(entry.run_id or ""),
        storable(entry.root_run_id or ""),
        _tags_text(entry.tags) if entry.tags else "{}",
        storable(entry.service_tier or ""),
        storable(entry.parent_run_id or ""),
        storable(entry.session_id or ""),
    )


def _rare(entry: Entry) -> Values:
    figures = entry.usage.figures
    return (
        json.dumps(figures[4:]) if len(figures) > 4 else "",
        1 if entry.unpriced else 0,
        1 if entry.late else 0,
        entry.replay_of or "",
        entry.budget_id or "",
        storable(entry.budget_who or ""),
        storable(entry.actor),
        storable(entry.cause),
    )


def _tags_text(tags: tuple[tuple[str, str], ...]) -> str:
    """Of two of one name the first counts, as for budgets."""
    named: dict[str, str] = {}
    for name, text in tags:
        named.setdefault(storable(name), storable(text))
    return json.dumps(named)


def storable(text: str) -> str:
    """PostgreSQL takes no NUL, and UTF-8 no half of a surrogate pair: one caller's text must not stop the ledger."""
    if text.isprintable():
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
