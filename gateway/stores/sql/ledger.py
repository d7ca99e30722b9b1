"""The ledger in SQL: entries are only ever added, and adding one again changes nothing."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, cast, func, or_, select
from sqlalchemy.dialects.postgresql import JSONB

from gateway.domain.budget import Budget, Unit
from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.record import Provenance
from gateway.domain.reply import Usage
from gateway.stores.sql.engine import Database
from gateway.stores.sql.tables import entries

_COLUMNS = [column.name for column in entries.columns if column.name != "id"]
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
_PLAIN = [name for name in _COLUMNS if name not in _MADE]
_LATE = frozenset({EntryKind.EXPIRE, EntryKind.VOID})


class SqlLedger:
    """Implements ports.Ledger over SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        marks = ", ".join(["?" if database.sqlite else "%s"] * len(_COLUMNS))
        names = ", ".join(f'"{name}"' for name in _COLUMNS)
        self._insert = f"INSERT INTO entries ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608 - our names

    def append(self, added: Sequence[Entry]) -> None:
        """What came to be known in another order converges: an attempt has one total, whoever tells it first.

        A post after an expiry becomes the difference (`true_up`); an expiry or a void after a post says nothing new.
        """
        if not added:
            return
        with self._database.begin() as connection:
            told = self._told(connection, added)
            rows = [_row(entry) for new in added if (entry := _converged(new, told.get(new.attempt_id))) is not None]
            if rows:
                connection.exec_driver_sql(self._insert, rows)

    def sums(self, budget: Budget, starts_s: float, ends_s: float) -> dict[str, int]:
        total: dict[str, int] = {}
        for amounts in self.sums_by_worker(budget, starts_s, ends_s).values():
            for who, amount in amounts.items():
                total[who] = total.get(who, 0) + amount
        return total

    def sums_of_worker(self, budget: Budget, starts_s: float, ends_s: float, worker: str) -> dict[str, int]:
        return self.sums_by_worker(budget, starts_s, ends_s).get(worker, {})

    def sums_by_worker(self, budget: Budget, starts_s: float, ends_s: float) -> dict[str, dict[str, int]]:
        who = dimension(budget.per, sqlite=self._database.sqlite)
        amount = entries.c.cost_nano_usd if budget.unit is Unit.NANO_USD else entries.c.tokens
        within = and_(
            entries.c.tenant == budget.tenant,
            entries.c.reserved_at_s >= starts_s,
            entries.c.reserved_at_s < ends_s,
            or_(entries.c.budget_id.is_(None), entries.c.budget_id == budget.id),
        )
        holder = func.coalesce(entries.c.budget_who, who).label("holder")
        rows = select(entries.c.worker.label("worker"), holder, amount.label("amount")).where(within).subquery()
        query = select(rows.c.worker, rows.c.holder, func.sum(rows.c.amount)).where(rows.c.holder.is_not(None))
        if budget.of is not None:
            query = query.where(rows.c.holder == budget.of)
        sums: dict[str, dict[str, int]] = {}
        with self._database.read() as connection:
            for worker, name, total in connection.execute(query.group_by(rows.c.worker, rows.c.holder)):
                sums.setdefault(worker, {})[str(name)] = int(total)
        return sums

    def entries_of_request(self, request_id: str) -> Sequence[Entry]:
        """In the order in which they were added."""
        query = select(entries).where(entries.c.request_id == request_id).order_by(entries.c.id)
        with self._database.read() as connection:
            return [entry_of(row) for row in connection.execute(query).mappings()]

    def _told(self, connection: Connection, added: Sequence[Entry]) -> dict[str, dict[str, Entry]]:
        """What is known of the attempts that are told twice: only those of a process that was given up can be."""
        workers = {entry.worker for entry in added}
        given_up = select(entries.c.attempt_id).where(entries.c.kind == "expire", entries.c.worker.in_(workers))
        expired = set(connection.execute(given_up).scalars())
        ids = {entry.attempt_id for entry in added if entry.kind in _LATE or entry.attempt_id in expired}
        told: dict[str, dict[str, Entry]] = {}
        if ids:
            for row in connection.execute(select(entries).where(entries.c.attempt_id.in_(sorted(ids)))).mappings():
                told.setdefault(row["attempt_id"], {})[row["kind"]] = entry_of(row)
        return told


def dimension(per: str, *, sqlite: bool) -> ColumnElement[str | None]:
    """The column of a dimension; a tag is looked up in the JSON of tags."""
    columns = {
        "tenant": entries.c.tenant,
        "key": entries.c.key_id,
        "user": entries.c.user,
        "run": entries.c.root_run_id,
        "model": entries.c.model,
        "provider": entries.c.provider,
    }
    if per in columns:
        return columns[per]
    name = per.removeprefix("tag:")
    tag: ColumnElement[str | None]
    if sqlite:
        tag = func.json_extract(entries.c.tags, '$."' + name.replace('"', "") + '"')
    else:
        tag = func.jsonb_extract_path_text(cast(entries.c.tags, JSONB), name)
    return tag


def _converged(new: Entry, told: dict[str, Entry] | None) -> Entry | None:
    if not told:
        return new
    if new.kind in _LATE:
        return None
    expired = told.get(EntryKind.EXPIRE.value)
    if new.kind is EntryKind.POST and expired is not None:
        if EntryKind.TRUE_UP.value in told:
            return None
        return difference(new, expired)
    return new


def difference(actual: Entry, expired: Entry) -> Entry:
    """What an expired attempt turned out to be, as the difference to what was posted for it."""
    then, now = expired.usage, actual.usage
    usage = Usage(now.input - then.input, now.output - then.output, now.cached_input, now.reasoning)
    return replace(
        actual,
        kind=EntryKind.TRUE_UP,
        usage=usage,
        cost_nano_usd=actual.cost_nano_usd - expired.cost_nano_usd,
        tokens=actual.tokens - expired.tokens,
        late=True,
    )


def _row(entry: Entry) -> tuple[object, ...]:
    """In the order of the columns."""
    usage = entry.usage
    return (
        entry.attempt_id,
        entry.kind.value,
        entry.request_id,
        entry.tenant,
        entry.key_id,
        entry.reserved_at_s,
        entry.posted_at_s,
        entry.worker,
        entry.model,
        entry.provider,
        entry.provider_model,
        entry.user,
        entry.run_id,
        entry.root_run_id,
        json.dumps(dict(entry.tags)) if entry.tags else "{}",
        usage.input,
        usage.output,
        usage.cached_input,
        usage.reasoning,
        json.dumps(usage.figures[4:]) if len(usage.figures) > 4 else "",
        entry.cost_nano_usd,
        entry.tokens,
        entry.price_id,
        entry.provenance.value,
        entry.unpriced,
        entry.late,
        entry.orphan,
        entry.replay_of,
        entry.budget_id,
        entry.budget_who,
        entry.actor,
        entry.cause,
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
