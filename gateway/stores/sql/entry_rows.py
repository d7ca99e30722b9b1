"""Entries of the ledger to rows and back."""

import functools
import json
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import Any

from sqlalchemy import Boolean

from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.record import Provenance
from gateway.domain.reply import Usage
from gateway.stores.entry_row import Row
from gateway.stores.sql.tables import entries

_NAMED = {
    "user": "NULL",
    "run_id": "NULL",
    "root_run_id": "NULL",
    "tags": "'{}'",
    "service_tier": "NULL",
    "parent_run_id": "NULL",
    "session_id": "NULL",
}
"""What most callers do not say, and an answered request leaves empty then: a third less is bound without it."""

_RARE = {
    "other_tokens": "''",
    "unpriced": "false",
    "late": "false",
    "replay_of": "NULL",
    "budget_id": "NULL",
    "budget_who": "NULL",
    "actor": "''",
    "cause": "''",
}
"""What an answered request always leaves empty. `row_of` ends before what is not there."""

_EMPTY = {**_NAMED, **_RARE}
_USUAL = [column.name for column in entries.columns if column.name not in {"id", *_EMPTY}]
COLUMNS = [*_USUAL, *_EMPTY]
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

_AT_ONCE = 25
"""Rows of one statement in SQLite: half the time of one at a time. Older ones take 999 values, this is 875."""


def additions(rows: Sequence[Row], *, sqlite: bool) -> Iterator[tuple[str, list[Row]]]:
    """Statements with what they take, in the order of the rows; what is there already stays."""
    for width, alike in groupby(rows, key=len):
        batch = list(alike)
        whole = len(batch) - len(batch) % _AT_ONCE if sqlite else 0
        if whole:
            together = [tuple(chain.from_iterable(batch[at : at + _AT_ONCE])) for at in range(0, whole, _AT_ONCE)]
            yield insert(tuple(COLUMNS[:width]), _AT_ONCE, sqlite=True), together
        if whole < len(batch):
            yield insert(tuple(COLUMNS[:width]), 1, sqlite=sqlite), batch[whole:]


@functools.cache
def insert(names: tuple[str, ...], count: int, *, sqlite: bool) -> str:
    """The statement that takes so many rows with these columns of COLUMNS; those that may be empty may be missing."""
    mark, truth = ("?", "?") if sqlite else ("%s", "%s::int::boolean")
    values = {
        name: f"NULLIF({mark}, '')" if column.nullable else truth if isinstance(column.type, Boolean) else mark
        for name in names
        for column in (entries.columns[name],)
    }
    values |= {name: empty for name, empty in _EMPTY.items() if name not in values and empty != "NULL"}
    columns = ", ".join(f'"{name}"' for name in values)
    row = f"({', '.join(values.values())})"
    return f"INSERT INTO entries ({columns}) VALUES {', '.join([row] * count)} ON CONFLICT DO NOTHING"  # noqa: S608 - our names


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
