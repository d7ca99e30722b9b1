"""What is read from the ledger: usage by dimensions, pages of entries, and whether the books agree with themselves."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, and_, case, cast, distinct, func, literal, or_, select

from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.tenancy import ErasureRow
from gateway.filing import Rerating, Span, UsagePlace, UsagePrice, UsageRow
from gateway.stores.sql import forgetting, rerating
from gateway.stores.sql.dimensions import dimension, of_requests
from gateway.stores.sql.engine import Database
from gateway.stores.sql.entry_rows import entry_of
from gateway.stores.sql.ledger import SqlLedger
from gateway.stores.sql.tables import entries

WRONG_MAX = 100_000
ROOTS_WITHIN = 200_000
"""Entries that are looked through at a start: some tenths of a second."""

BUCKETS_S = {"hour": 3_600, "day": 86_400}


class SqlReports(SqlLedger):
    """Implements ports.LedgerReports."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._books = database

    def usage(
        self, span: Span, group_by: Sequence[str], bucket: str | None, page: tuple[UsagePlace | None, int] | None = None
    ) -> Sequence[UsageRow]:
        """Without what belongs to one budget alone, such as the credit of dead processes: that is no usage.

        A request counts once in each row that it has attempts in.
        """
        columns = [dimension(name, sqlite=self._books.sqlite).label(f"g{at}") for at, name in enumerate(group_by)]
        size = BUCKETS_S.get(bucket or "")
        slot = literal(0) if size is None else self._floored(entries.c.reserved_at_s / size) * size
        sent = case((entries.c.kind.in_([EntryKind.POST.value, EntryKind.EXPIRE.value]), entries.c.request_id))
        inner = (
            select(
                *columns,
                slot.label("slot"),
                sent.label("sent"),
                entries.c.input_tokens,
                entries.c.output_tokens,
                entries.c.cached_tokens,
                entries.c.cost_nano_usd,
                entries.c.replay_of,
            )
            .where(_within(span, sqlite=self._books.sqlite), entries.c.budget_id.is_(None))
            .subquery()
        )
        keys = [inner.c[f"g{at}"] for at in range(len(group_by))] + [inner.c.slot]
        names = ("input_tokens", "output_tokens", "cached_tokens", "cost_nano_usd")
        sums = [func.coalesce(func.sum(inner.c[name]), 0) for name in names]
        requests, replays = func.count(distinct(inner.c.sent)), func.count(inner.c.replay_of)
        query: Select[Any] = select(*keys, requests, *sums, replays).group_by(*keys)
        query = query.order_by(*(key.nulls_first() for key in keys))
        if page is not None:
            after, rows_max = page
            query = query.limit(rows_max) if after is None else query.where(_behind(after, keys)).limit(rows_max)
        count = len(group_by)
        with self._books.read() as connection:
            return [
                UsageRow(
                    tuple(zip(group_by, row[:count], strict=True)),
                    None if size is None else float(row[count]),
                    *(int(figure) for figure in row[count + 1 :]),
                )
                for row in connection.execute(query)
            ]

    def _floored(self, number: ColumnElement[Any]) -> ColumnElement[int]:
        """SQLite cuts what PostgreSQL rounds, and not every SQLite has a floor()."""
        return cast(number if self._books.sqlite else func.floor(number), Integer)

    def entries(self, span: Span, after: int, count: int) -> Sequence[tuple[int, Entry]]:
        wanted = _within(span, sqlite=self._books.sqlite)
        query = select(entries).where(wanted, entries.c.id > after).order_by(entries.c.id).limit(count)
        with self._books.read() as connection:
            return [(int(row["id"]), entry_of(row)) for row in connection.execute(query).mappings()]

    def roots(self) -> Sequence[tuple[str, str, str]]:
        """Tenant, run and the root of its tree, of the runs in the newest entries; those named last come last."""
        named = (entries.c.tenant, entries.c.run_id, entries.c.root_run_id)
        newest = select(func.max(entries.c.id)).scalar_subquery()
        told = and_(entries.c.id > newest - ROOTS_WITHIN, *(column.is_not(None) for column in named))
        query = select(*named).where(told).group_by(*named).order_by(func.max(entries.c.id))
        with self._books.read() as connection:
            return [(tenant, run, root) for tenant, run, root in connection.execute(query)]

    def rerate(self, which: Rerating, price: UsagePrice) -> int:
        return rerating.rerate(self._books, which, price)

    def forget(self, order: ErasureRow, from_s: float, to_s: float, named: Sequence[str]) -> int:
        return forgetting.forget(self._books, order, from_s, to_s, named)

    def verify(self) -> Sequence[str]:
        """An attempt has one last word, only what expired is trued up, and no attempt gives money back."""
        by_attempt = (
            select(
                entries.c.attempt_id,
                func.sum(case((entries.c.kind.in_(["post", "expire", "void"]), 1), else_=0)).label("words"),
                func.sum(case((entries.c.kind == "true_up", 1), else_=0)).label("trued"),
                func.sum(case((entries.c.kind == "expire", 1), else_=0)).label("expired"),
                func.sum(entries.c.cost_nano_usd).label("cost"),
                func.sum(entries.c.tokens).label("tokens"),
            )
            .where(entries.c.kind != "adjust")
            .group_by(entries.c.attempt_id)
            .subquery()
        )
        c = by_attempt.c
        wrong = or_(c.words != 1, c.trued > c.expired, c.cost < 0, c.tokens < 0)
        with self._books.read() as connection:
            found = connection.execute(select(by_attempt).where(wrong).limit(WRONG_MAX)).mappings()
            return [
                f"attempt {row['attempt_id']}: {row['words']} last words, {row['trued']} true-ups of {row['expired']} "
                f"expiries, {row['cost']} nano-USD, {row['tokens']} tokens"
                for row in found
            ]


def _behind(place: UsagePlace, keys: Sequence[ColumnElement[Any]]) -> ColumnElement[bool]:
    """In an order in which what has no value comes first."""
    ways: list[ColumnElement[bool]] = []
    alike: list[ColumnElement[bool]] = []
    for key, value in zip(keys, (*place[0], place[1]), strict=True):
        ways.append(and_(*alike, key.is_not(None) if value is None else key > value))
        alike.append(key.is_(None) if value is None else key == value)
    return or_(*ways)


def _within(span: Span, *, sqlite: bool) -> Any:
    wanted = [entries.c.reserved_at_s >= span.from_s, entries.c.reserved_at_s < span.to_s]
    if span.tenant is not None:
        # A request's few entries are found by their names: SQLite would rather look through all of a tenant.
        tenant = entries.c.tenant if span.request is None else entries.c.tenant + ""
        wanted.append(tenant == span.tenant)
    if span.run is not None:
        wanted.append(or_(entries.c.root_run_id == span.run, entries.c.run_id == span.run))
    if span.request is not None:
        wanted.append(of_requests([span.request], sqlite=sqlite))
    return and_(*wanted)
