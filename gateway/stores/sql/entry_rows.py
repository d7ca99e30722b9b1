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
from gateway.stores.entry_row import COMMON, Row, Values, parted
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
_BOOKED = ["kind", "provenance", "tenant", "key_id", "worker", "model", "provider", "provider_model", "price_id"]
_USUAL = [column.name for column in entries.columns if column.name not in {"id", *_BOOKED, *_EMPTY}]
COLUMNS = [*_BOOKED, *_USUAL, *_EMPTY]
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


def additions(rows: Sequence[Row], *, sqlite: bool) -> Iterator[tuple[str, list[Values]]]:
    """Statements with what they take, the attempts of a request in their order; what is there already stays.

    SQLite is given what many rows have in common once for all rows of a statement: texts are most of what it costs.
    """
    if not sqlite:
        for width, alike in groupby((common + rest for common, rest in rows), key=len):
            yield insert(tuple(COLUMNS[:width]), 1, sqlite=False), list(alike)
        return
    apart: list[Values] = []
    groups, later = parted(rows)
    for (common, width), rests in groups.items():
        whole = len(rests) - len(rests) % _AT_ONCE
        if whole:
            together = [common + row for row in _joined(rests[:whole])]
            yield insert(tuple(COLUMNS[: COMMON + width]), _AT_ONCE, sqlite=True, shared=COMMON), together
        apart += [common + rest for rest in rests[whole:]]
    apart += [common + rest for common, rest in later]
    for width, alike in groupby(apart, key=len):
        batch = list(alike)
        whole = len(batch) - len(batch) % _AT_ONCE
        if whole:
            yield insert(tuple(COLUMNS[:width]), _AT_ONCE, sqlite=True), _joined(batch[:whole])
        if whole < len(batch):
            yield insert(tuple(COLUMNS[:width]), 1, sqlite=True), batch[whole:]


def _joined(rows: Sequence[Values]) -> list[Values]:
    return [tuple(chain.from_iterable(rows[at : at + _AT_ONCE])) for at in range(0, len(rows), _AT_ONCE)]


@functools.cache
def insert(names: tuple[str, ...], count: int, *, sqlite: bool, shared: int = 0) -> str:
    """The statement that takes so many rows with these columns of COLUMNS; those that may be empty may be missing.

    Of the names, so many `shared` ones take one value for all rows, before the rows' own.
    """
    rows = [_values(names, row, shared, sqlite=sqlite) for row in range(count)]
    columns = ", ".join(f'"{name}"' for name in rows[0])
    told = ", ".join(f"({', '.join(row.values())})" for row in rows)
    return f"INSERT INTO entries ({columns}) VALUES {told} ON CONFLICT DO NOTHING"  # noqa: S608 - our names


def _values(names: tuple[str, ...], row: int, shared: int, *, sqlite: bool) -> dict[str, str]:
    """What stands for each column of one row."""
    values: dict[str, str] = {}
    for at, name in enumerate(names):
        number = at + 1 if at < shared else row * (len(names) - shared) + at + 1
        mark = f"?{number}" if shared else "?" if sqlite else "%s"
        column = entries.columns[name]
        truth = mark if sqlite else f"{mark}::int::boolean"
        values[name] = f"NULLIF({mark}, '')" if column.nullable else truth if isinstance(column.type, Boolean) else mark
    return values | {name: empty for name, empty in _EMPTY.items() if name not in values and empty != "NULL"}


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
