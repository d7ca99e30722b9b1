"""The ledger in SQL: entries are only ever added, and adding one again changes nothing."""

import json
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Subquery, and_, func, or_, select, text

from gateway.domain.budget import Budget, Unit
from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.period import FOREVER_S
from gateway.stores.entry_row import late_of, rows_of, span_of
from gateway.stores.sql.converging import Told, converged
from gateway.stores.sql.dimensions import dimension, of_requests
from gateway.stores.sql.engine import Database
from gateway.stores.sql.entry_rows import additions, entry_of
from gateway.stores.sql.tables import entries

RUN_RESTS_S = 7 * 86_400.0
"""A run without an entry in the tenant's last week is over: runs are many, and each has a counter of its own."""

_APPEND_LOCK = 7_261_905
_ANY_EXPIRED = {
    True: "SELECT 1 FROM entries WHERE kind = 'expire' AND reserved_at_s BETWEEN ? AND ? LIMIT 1",
    False: "SELECT 1 FROM entries WHERE kind = 'expire' AND reserved_at_s BETWEEN %s AND %s LIMIT 1",
}
"""What expired has the time of its attempt: most batches need not look for each of theirs."""

_EXPIRED = {
    True: "SELECT attempt_id FROM entries WHERE kind = 'expire' AND attempt_id IN (SELECT value FROM json_each(?))",
    False: "SELECT attempt_id FROM entries WHERE kind = 'expire' AND attempt_id = ANY(%s)",
}


class SqlLedger:
    """Implements ports.Ledger over SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, added: Sequence[Entry]) -> None:
        """What came to be known in another order converges: an attempt has one total, whoever tells it first.

        A post after an expiry becomes the difference (`true_up`); an expiry or a void after a post says nothing new.
        """
        if not added:
            return
        with self._database.begin() as connection:
            late = late_of(added)
            self._take_turn(connection, alone=bool(late))
            told = self._told(connection, added, late)
            news = [entry for new in added if (entry := converged(new, told)) is not None] if told else added
            rows = rows_of(news)
            if not self._database.sqlite:
                # Two that add the same rows in another order would wait for each other.
                rows.sort(key=lambda row: str(row[1][0]))
            for statement, values in additions(rows, sqlite=self._database.sqlite):
                connection.exec_driver_sql(statement, values)

    def sums(self, budget: Budget, starts_s: float, ends_s: float) -> dict[str, int]:
        total: dict[str, int] = {}
        for amounts in self.sums_by_worker(budget, starts_s, ends_s).values():
            for who, amount in amounts.items():
                total[who] = total.get(who, 0) + amount
        return total

    def sums_of_worker(self, budget: Budget, starts_s: float, ends_s: float, worker: str) -> dict[str, int]:
        return self.sums_by_worker(budget, starts_s, ends_s).get(worker, {})

    def sums_by_worker(self, budget: Budget, starts_s: float, ends_s: float) -> dict[str, dict[str, int]]:
        rows = self._charged(budget, starts_s, ends_s)
        query = select(rows.c.worker, rows.c.holder, func.sum(rows.c.amount)).where(rows.c.holder.is_not(None))
        if budget.of is not None:
            query = query.where(rows.c.holder == budget.of)
        if budget.per == "run" and ends_s >= FOREVER_S:
            query = query.where(rows.c.holder.in_(_alive(rows, budget.tenant)))
        sums: dict[str, dict[str, int]] = {}
        with self._database.read() as connection:
            for worker, name, total in connection.execute(query.group_by(rows.c.worker, rows.c.holder)):
                sums.setdefault(worker, {})[str(name)] = int(total)
        return sums

    def entries_of_request(self, request_id: str) -> Sequence[Entry]:
        """In the order in which they were added."""
        mine = of_requests([request_id], sqlite=self._database.sqlite)
        query = select(entries).where(mine).order_by(entries.c.id)
        with self._database.read() as connection:
            return [entry_of(row) for row in connection.execute(query).mappings()]

    def _take_turn(self, connection: Connection, *, alone: bool) -> None:
        """Posts go side by side, an expiry goes alone: else the two of one attempt would not see each other.

        SQLite has one writer anyway.
        """
        if not self._database.sqlite:
            turn = "SELECT pg_advisory_xact_lock(:key)" if alone else "SELECT pg_advisory_xact_lock_shared(:key)"
            connection.execute(text(turn), {"key": _APPEND_LOCK})

    def _told(self, connection: Connection, added: Sequence[Entry], late: Sequence[str]) -> Told:
        """What is known, be it nothing, of attempts of late words and of those that expired; empty without such."""
        wanted = sorted({*late, *self._expired(connection, added)})
        told: Told = {name: {} for name in late}
        if wanted:
            for row in connection.execute(select(entries).where(entries.c.attempt_id.in_(wanted))).mappings():
                told.setdefault(row["attempt_id"], {})[EntryKind(row["kind"])] = entry_of(row)
        return told

    def _expired(self, connection: Connection, added: Sequence[Entry]) -> Sequence[str]:
        sqlite = self._database.sqlite
        if connection.exec_driver_sql(_ANY_EXPIRED[sqlite], span_of(added)).first() is None:
            return ()
        names = [entry.attempt_id for entry in added]
        bound = json.dumps(names) if sqlite else names
        return connection.exec_driver_sql(_EXPIRED[sqlite], (bound,)).scalars().all()

    def _charged(self, budget: Budget, starts_s: float, ends_s: float) -> Subquery:
        who = dimension(budget.per, sqlite=self._database.sqlite)
        amount = entries.c.cost_nano_usd if budget.unit is Unit.NANO_USD else entries.c.tokens
        within = and_(
            entries.c.tenant == budget.tenant,
            entries.c.reserved_at_s >= starts_s,
            entries.c.reserved_at_s < ends_s,
            or_(entries.c.budget_id.is_(None), entries.c.budget_id == budget.id),
        )
        holder: ColumnElement[str | None] = func.coalesce(entries.c.budget_who, who)
        columns = (entries.c.worker, holder.label("holder"), amount.label("amount"), entries.c.reserved_at_s)
        return select(*columns).where(within).subquery()


def _alive(rows: Subquery, tenant: str) -> ColumnElement[str]:
    newest = select(func.max(entries.c.reserved_at_s)).where(entries.c.tenant == tenant).scalar_subquery()
    alive = select(rows.c.holder).where(rows.c.reserved_at_s >= newest - RUN_RESTS_S)
    return alive.scalar_subquery()
