"""Objects of the directory: found, shown by the page, created, changed and deleted, each change with its audit line."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from pydantic import BaseModel
from starlette.responses import Response

from gateway.admin.access import VIEW, Access
from gateway.admin.endpoint import Call, page, shown
from gateway.admin.office import Office
from gateway.admin.problems import Problem, not_found
from gateway.admin.threads import in_thread
from gateway.domain.tenancy import AdminKeyRow, BudgetRow, KeyRow, LimitRow, TenantRow

READ = Access(VIEW, own=True)
PAGED = ("cursor", "limit")
REVOKE_TRIES = 5

Row = TenantRow | KeyRow | BudgetRow | LimitRow | AdminKeyRow
_Row = TypeVar("_Row", bound=Row)
_Part = TypeVar("_Part", bound=KeyRow | BudgetRow | LimitRow)
_Revocable = TypeVar("_Revocable", bound=KeyRow | AdminKeyRow)

KINDS: Mapping[type[object], str] = {
    TenantRow: "tenant",
    KeyRow: "key",
    BudgetRow: "budget",
    LimitRow: "limit",
    AdminKeyRow: "admin_key",
}
"""What they are called in the audit trail."""


class Objects:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def tenant(self, call: Call) -> TenantRow:
        name = call.path("tenant")
        row = await in_thread(self._office.store.get, TenantRow, name)
        if row is None:
            raise not_found("tenant", name)
        return row

    async def part(self, call: Call, kind: type[_Part]) -> _Part:
        """The object of the tenant in the path; what belongs to another one is not there."""
        name = call.path("id")
        row = await in_thread(self._office.store.get, kind, name)
        if row is None or _owner(row) != call.path("tenant"):
            raise not_found(KINDS[kind], name)
        return row

    async def rows(self, call: Call, kind: type[_Row], tenant: str | None) -> tuple[Sequence[_Row], str | None]:
        """Those of the page asked for, and the cursor of the next one."""
        after, count = call.page
        rows = await in_thread(self._office.store.page, kind, tenant, after, count + 1)
        cursor = _id(rows[count - 1]) if len(rows) > count else None
        return rows[:count], cursor

    async def page(
        self, call: Call, kind: type[_Row], tenant: str | None, out: Callable[[_Row], BaseModel]
    ) -> Response:
        rows, cursor = await self.rows(call, kind, tenant)
        return page(call, [out(row) for row in rows], cursor)

    async def create(self, call: Call, row: Row, out: BaseModel) -> Response:
        kind, name = KINDS[type(row)], _id(row)
        line = self._office.line(call, "create", kind, name, tenant=_owner(row), after=out)
        await self._office.change(kind, name, lambda: self._office.store.create(row, line))
        return shown(out, status=201, etag=1)

    async def update(self, call: Call, row: _Row, changed: _Row, out: Callable[[_Row], BaseModel]) -> Response:
        """Only on the revision that the caller has read."""
        return await self._update(call, row, replace(changed, revision=call.expected), out)

    async def revoke(
        self, call: Call, read: Callable[[], Awaitable[_Revocable]], out: Callable[[_Revocable], BaseModel]
    ) -> Response:
        """Without If-Match and whatever others change meanwhile: what shall end, ends now."""
        for left in range(REVOKE_TRIES, 0, -1):
            row = await read()
            now_s = self._office.clock.wall_s()
            if row.revoked_at_s is not None and row.revoked_at_s <= now_s:
                break
            try:
                await self._update(call, row, replace(row, revoked_at_s=now_s), out)
            except Problem as problem:
                if problem.status != 412 or left == 1:
                    raise
            else:
                break
        return Response(status_code=204)

    async def delete(self, call: Call, row: Row, out: BaseModel) -> Response:
        revision = call.expected
        kind, name = KINDS[type(row)], _id(row)
        line = self._office.line(call, "delete", kind, name, tenant=_owner(row), before=out)
        await self._office.change(kind, name, lambda: self._office.store.delete(type(row), name, revision, line))
        return Response(status_code=204)

    async def _update(self, call: Call, row: _Row, changed: _Row, out: Callable[[_Row], BaseModel]) -> Response:
        kind, name = KINDS[type(row)], _id(row)
        line = self._office.line(call, "update", kind, name, tenant=_owner(row), before=out(row), after=out(changed))
        new = await self._office.change(kind, name, lambda: self._office.store.update(changed, line))
        return shown(out(replace(changed, revision=new)), etag=new)


def _id(row: Row) -> str:
    return row.budget.id if isinstance(row, BudgetRow) else row.id


def _owner(row: Row) -> str | None:
    if isinstance(row, TenantRow):
        return row.id
    return row.budget.tenant if isinstance(row, BudgetRow) else row.tenant
