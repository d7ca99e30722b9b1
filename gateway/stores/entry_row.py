"""A row of the ledger: what an entry is in SQL."""

import json

from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.record import Provenance

Row = tuple[str | int | float, ...]


def row_of(entry: Entry) -> Row:
    """In the order of COLUMNS in `sql.entry_rows`, which ends before what is not there.

    Numbers and texts alone, "" for nothing: sqlite3 looks long at all else.
    """
    usage = entry.usage
    usual = (
        entry.attempt_id,
        "post" if entry.kind is EntryKind.POST else entry.kind.value,
        entry.request_id,
        entry.tenant,
        entry.key_id,
        entry.reserved_at_s,
        entry.posted_at_s,
        entry.worker,
        entry.model,
        entry.provider,
        entry.provider_model,
        usage.input,
        usage.output,
        usage.cached_input,
        usage.reasoning,
        entry.cost_nano_usd,
        entry.tokens,
        entry.price_id,
        "exact" if entry.provenance is Provenance.EXACT else entry.provenance.value,
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
        return usual + _named(entry) + _rare(entry)
    named = entry.user or entry.tags or entry.run_id or entry.session_id or entry.service_tier
    return usual + _named(entry) if named or entry.root_run_id or entry.parent_run_id else usual


def _named(entry: Entry) -> Row:
    return (
        storable(entry.user or ""),
        storable(entry.run_id or ""),
        storable(entry.root_run_id or ""),
        _tags_text(entry.tags) if entry.tags else "{}",
        storable(entry.service_tier or ""),
        storable(entry.parent_run_id or ""),
        storable(entry.session_id or ""),
    )


def _rare(entry: Entry) -> Row:
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
