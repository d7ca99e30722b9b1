"""Entries of the ledger to rows and back."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Boolean

from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.record import Provenance
from gateway.domain.reply import Usage
from gateway.stores.sql.tables import entries

COLUMNS = [column.name for column in entries.columns if column.name != "id"]
_MADE = {
    "kind",
    "provenance",
    "tags",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "other_tokens",
}
_PLAIN = [name for name in COLUMNS if name not in _MADE]


def insert(names: Sequence[str] = COLUMNS, *, sqlite: bool) -> str:
    """The statement that takes a row of `row_of`; what is there already stays."""
    mark, truth = ("?", "?") if sqlite else ("%s", "%s::int::boolean")
    marks = [
        f"NULLIF({mark}, '')" if column.nullable else truth if isinstance(column.type, Boolean) else mark
        for column in map(entries.columns.__getitem__, names)
    ]
    columns = ", ".join(f'"{name}"' for name in names)
    return f"INSERT INTO entries ({columns}) VALUES ({', '.join(marks)}) ON CONFLICT DO NOTHING"  # noqa: S608 - our names


def row_of(entry: Entry) -> tuple[str | int | float, ...]:
    """In the order of COLUMNS. Numbers and texts alone, "" for nothing: sqlite3 looks long at all else."""
    usage = entry.usage
    figures = usage.figures
    user, run, root = entry.user, entry.run_id, entry.root_run_id
    return (
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
        storable(user) if user else "",
        storable(run) if run else "",
        storable(root) if root else "",
        _tags_text(entry.tags) if entry.tags else "{}",
        usage.input,
        usage.output,
        usage.cached_input,
        usage.reasoning,
        json.dumps(figures[4:]) if len(figures) > 4 else "",
        entry.cost_nano_usd,
        entry.tokens,
        entry.price_id,
        "exact" if entry.provenance is Provenance.EXACT else entry.provenance.value,
        1 if entry.unpriced else 0,
        1 if entry.late else 0,
        1 if entry.orphan else 0,
        entry.replay_of or "",
        entry.budget_id or "",
        storable(entry.budget_who) if entry.budget_who else "",
        storable(entry.actor) if entry.actor else "",
        storable(entry.cause) if entry.cause else "",
        storable(entry.service_tier) if entry.service_tier else "",
        storable(entry.parent_run_id) if entry.parent_run_id else "",
        storable(entry.session_id) if entry.session_id else "",
    )


def entry_of(row: Any) -> Entry:
    """A row's mapping as an entry."""
    rest = json.loads(row["other_tokens"]) if row["other_tokens"] else []
    head = (row["input_tokens"], row["output_tokens"], row["cached_tokens"], row["reasoning_tokens"])
    usage = Usage(*head, *rest)
    return Entry(
        kind=EntryKind(row["kind"]),
        usage=usage,
        provenance=Provenance(row["provenance"]),
        tags=tuple(json.loads(row["tags"]).items()),
        **{name: row[name] for name in _PLAIN},
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
