"""The directory in SQL: tenants and all that is theirs; each change is one transaction with its audit line."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, delete, func, insert, select, text, update

from gateway.domain.tenancy import (
    AdminKeyRow,
    AuditLine,
    BudgetRow,
    Directory,
    ErasureRow,
    KeyRow,
    LimitRow,
    TenantRow,
)
from gateway.filing import NotThere, OwnedRow, StaleRevision, Taken
from gateway.stores.sql import rows, tables
from gateway.stores.sql.engine import Database

_T = TypeVar("_T", bound=OwnedRow)

_TABLES: dict[type, tuple[Table, Callable[[rows.Row], Any]]] = {
    TenantRow: (tables.tenants, rows.tenant_of),
    KeyRow: (tables.keys, rows.key_of),
    LimitRow: (tables.limits, rows.limit_of),
    BudgetRow: (tables.budgets, rows.budget_of),
    AdminKeyRow: (tables.admin_keys, rows.admin_key_of),
    ErasureRow: (tables.erasures, rows.erasure_of),
}


_VERSION = select(tables.meta.c.value).where(tables.meta.c.name == "version")


class SqlDirectory:
    """`kind` is one of the row classes of gateway.domain.tenancy. Every method is one transaction, and blocks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def version(self) -> int:
        """Rises with every change, whoever made it."""
        with self._database.read() as connection:
            return int(connection.execute(_VERSION).scalar_one())

    def snapshot(self) -> Directory:
        """All of one moment, whatever is changed meanwhile."""
        with self._database.read(one_moment=True) as connection:
            return Directory(
                int(connection.execute(_VERSION).scalar_one()),
                self._all(connection, TenantRow),
                self._all(connection, KeyRow),
                self._all(connection, LimitRow),
                self._all(connection, BudgetRow),
                self._all(connection, AdminKeyRow),
            )

    def get(self, kind: type[_T], object_id: str) -> _T | None:
        table, of = _TABLES[kind]
        with self._database.read() as connection:
            row = connection.execute(select(table).where(table.c.id == object_id)).mappings().first()
        found: _T | None = None if row is None else of(row)
        return found

    def page(self, kind: type[_T], tenant: str | None, after: str, count: int) -> Sequence[_T]:
        """By id, those behind `after`; `tenant` None is all."""
        table, of = _TABLES[kind]
        query = select(table).where(table.c.id > after).order_by(table.c.id).limit(count)
        if tenant is not None:
            query = query.where((table.c.id if table is tables.tenants else table.c.tenant) == tenant)
        with self._database.read() as connection:
            return [of(row) for row in connection.execute(query).mappings()]

    def create(self, row: OwnedRow, line: AuditLine) -> None:
        """Raises Taken for an id that exists, NotThere for a tenant that does not."""
        table, _ = _TABLES[type(row)]
        values = rows.values_of(row)
        with self._change() as connection:
            if connection.execute(select(table.c.id).where(table.c.id == values["id"])).first() is not None:
                raise Taken(values["id"])
            owner = values.get("tenant")
            if owner is not None and not self._exists(connection, tables.tenants, owner):
                raise NotThere(owner)
            connection.execute(insert(table).values(**values))
            self._changed(connection, line)

    def update(self, row: OwnedRow, line: AuditLine) -> int:
        """The row with the revision that it was read with; the new revision. Raises StaleRevision, NotThere."""
        table, _ = _TABLES[type(row)]
        values = rows.values_of(rows.revised(row, row.revision + 1))
        with self._change() as connection:
            self._check(connection, table, values["id"], row.revision)
            connection.execute(update(table).where(table.c.id == values["id"]).values(**values))
            self._changed(connection, line)
        return int(values["revision"])

    def supersede(self, old: KeyRow, new: KeyRow, lines: tuple[AuditLine, AuditLine]) -> None:
        """A key changed as `old` says, and the one that follows it, or neither. Raises StaleRevision, NotThere."""
        table, _ = _TABLES[KeyRow]
        values = rows.values_of(rows.revised(old, old.revision + 1))
        with self._change() as connection:
            self._check(connection, table, old.id, old.revision)
            connection.execute(update(table).where(table.c.id == old.id).values(**values))
            connection.execute(insert(table).values(**rows.values_of(new)))
            for line in lines:
                self._changed(connection, line)

    def set_by(self, kind: str, object_id: str) -> str | None:
        """The role of who set the object as it is now, in the audit trail's words."""
        c = tables.audit.c
        query = select(c.role).where(c.kind == kind, c.object_id == object_id).order_by(c.id.desc()).limit(1)
        with self._database.read() as connection:
            role: str | None = connection.execute(query).scalar()
        return role

    def delete(self, kind: type[_T], object_id: str, revision: int, line: AuditLine) -> None:
        """With a tenant goes all that is its own; the ledger stays. Raises StaleRevision, NotThere."""
        table, _ = _TABLES[kind]
        with self._change() as connection:
            self._check(connection, table, object_id, revision)
            connection.execute(delete(table).where(table.c.id == object_id))
            self._changed(connection, line)

    def seed(self, given: Directory) -> None:
        """Tenants that are there stay as they are: once begun, the directory is the operator's.

        A key that is not known yet is added to its tenant; one that was revoked stays revoked.
        """
        with self._change() as connection:
            known = set(connection.execute(select(tables.tenants.c.id)).scalars())
            fresh = {tenant.id for tenant in given.tenants if tenant.id not in known}
            known_keys = set(connection.execute(select(tables.keys.c.id)).scalars())
            added: list[OwnedRow] = [tenant for tenant in given.tenants if tenant.id in fresh]
            added += [key for key in given.keys if key.id not in known_keys]
            added += [limit for limit in given.limits if limit.tenant in fresh]
            added += [row for row in given.budgets if row.budget.tenant in fresh]
            for row in added:
                connection.execute(insert(_TABLES[type(row)][0]).values(**rows.values_of(row)))
                kind = type(row).__name__.removesuffix("Row").lower()
                owner = row.budget.tenant if isinstance(row, BudgetRow) else getattr(row, "tenant", rows.id_of(row))
                line = AuditLine(row.created_at_s, "configuration", "admin", "seed", kind, rows.id_of(row), owner)
                self._changed(connection, line)

    def note(self, line: AuditLine) -> None:
        """A change that is not in these tables."""
        with self._database.begin() as connection:
            connection.execute(insert(tables.audit).values(**_audit_values(line)))

    def audit_lines(self, tenant: str | None, before: int | None, count: int) -> Sequence[AuditLine]:
        """Newest first, those before the line of that id."""
        query = select(tables.audit).order_by(tables.audit.c.id.desc()).limit(count)
        if tenant is not None:
            query = query.where(tables.audit.c.tenant == tenant)
        if before is not None:
            query = query.where(tables.audit.c.id < before)
        with self._database.read() as connection:
            return [rows.audit_of(row) for row in connection.execute(query).mappings()]

    @contextlib.contextmanager
    def _change(self) -> Iterator[Connection]:
        """One change at a time, over all processes: what is checked in it stays true until it is done."""
        with self._database.begin() as connection:
            connection.execute(_VERSION.with_for_update())
            yield connection

    def _all(self, connection: Connection, kind: type[_T]) -> tuple[_T, ...]:
        table, of = _TABLES[kind]
        return tuple(of(row) for row in connection.execute(select(table).order_by(table.c.id)).mappings())

    def _check(self, connection: Connection, table: Table, object_id: str, revision: int) -> None:
        current = connection.execute(select(table.c.revision).where(table.c.id == object_id)).scalar()
        if current is None:
            raise NotThere(object_id)
        if current != revision:
            raise StaleRevision(int(current))

    def _exists(self, connection: Connection, table: Table, object_id: str) -> bool:
        return connection.execute(select(func.count()).where(table.c.id == object_id)).scalar_one() > 0

    def _changed(self, connection: Connection, line: AuditLine) -> None:
        connection.execute(insert(tables.audit).values(**_audit_values(line)))
        connection.execute(text("UPDATE meta SET value = value + 1 WHERE name = 'version'"))


def _audit_values(line: AuditLine) -> dict[str, Any]:
    names = ("at_s", "actor", "role", "action", "kind", "object_id", "tenant", "before", "after", "request_id")
    return {name: getattr(line, name) for name in names}
