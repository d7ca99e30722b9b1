"""Tenants and all that is theirs: create, read, change, delete, each with its audit line."""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from gateway.admin import shapes
from gateway.admin.access import OPERATE, OWN_ADMIN, VIEW, Access
from gateway.admin.endpoint import Call, Endpoint, page, shown
from gateway.admin.forms import (
    admin_key_out,
    budget_of,
    budget_out,
    key_out,
    limit_of,
    limit_out,
    plain_budget,
    seconds,
    tenant_out,
)
from gateway.admin.office import Office
from gateway.admin.problems import Problem, not_found
from gateway.admin.threads import in_thread
from gateway.domain.tenancy import AdminKeyRow, BudgetRow, KeyRow, LimitRow, Role, TenantRow

DEPUTY_DIMENSIONS = frozenset({"key", "user"})
"""What a tenant-admin may set limits and budgets for: parts of its tenant, never the tenant itself."""

REVOKE_TRIES = 5

TENANT_WRITE = Access(OWN_ADMIN)
KEY_WRITE = Access(OPERATE, own=True)
PART_WRITE = Access(OWN_ADMIN, own=True)
READ = Access(VIEW, own=True)
PAGED = ("cursor", "limit")


def endpoints(office: Office) -> Sequence[Endpoint]:
    desk = _Objects(office)
    return [*_tenants(desk), *_keys(desk), *_budgets(desk), *_limits(desk), *_admin_keys(desk)]


def _tenants(desk: "_Objects") -> list[Endpoint]:
    one = "/tenants/{tenant}"
    return [
        Endpoint(
            "GET", "/tenants", READ, desk.tenants, "Tenants, by id", says=shapes.TenantOut, query=PAGED, many=True
        ),
        Endpoint(
            "POST",
            "/tenants",
            TENANT_WRITE,
            desk.create_tenant,
            "Create a tenant",
            shapes.TenantIn,
            shapes.TenantOut,
            status=201,
        ),
        Endpoint("GET", one, READ, desk.tenant, "One tenant", says=shapes.TenantOut),
        Endpoint(
            "PATCH",
            one,
            TENANT_WRITE,
            desk.change_tenant,
            "Change or block a tenant",
            shapes.TenantChange,
            shapes.TenantOut,
        ),
        Endpoint(
            "DELETE",
            one,
            TENANT_WRITE,
            desk.delete_tenant,
            "Delete a tenant with all that is its own; the ledger stays",
            status=204,
        ),
    ]


def _keys(desk: "_Objects") -> list[Endpoint]:
    all_of, one = "/tenants/{tenant}/keys", "/tenants/{tenant}/keys/{id}"
    return [
        Endpoint(
            "GET",
            all_of,
            READ,
            desk.keys,
            "Keys, never their secrets",
            says=shapes.KeyOut,
            query=PAGED,
            many=True,
        ),
        Endpoint(
            "POST",
            all_of,
            KEY_WRITE,
            desk.create_key,
            "Create a key; it is shown once",
            shapes.KeyIn,
            shapes.KeyOut,
            status=201,
        ),
        Endpoint("GET", one, READ, desk.key, "One key", says=shapes.KeyOut),
        Endpoint(
            "POST",
            one + "/rotate",
            KEY_WRITE,
            desk.rotate_key,
            "A new key; the old one works on for `overlap_s`",
            shapes.RotateIn,
            shapes.KeyOut,
            status=201,
        ),
        Endpoint("DELETE", one, KEY_WRITE, desk.revoke_key, "Revoke a key, everywhere within a second", status=204),
    ]


def _budgets(desk: "_Objects") -> list[Endpoint]:
    all_of, one = "/tenants/{tenant}/budgets", "/tenants/{tenant}/budgets/{id}"
    return [
        Endpoint(
            "GET",
            all_of,
            READ,
            desk.budgets,
            "Budgets and what is spent",
            says=shapes.BudgetOut,
            query=PAGED,
            many=True,
        ),
        Endpoint(
            "POST",
            all_of,
            PART_WRITE,
            desk.create_budget,
            "Create a budget",
            shapes.BudgetIn,
            shapes.BudgetOut,
            status=201,
        ),
        Endpoint("GET", one, READ, desk.budget, "One budget", says=shapes.BudgetOut),
        Endpoint("PUT", one, PART_WRITE, desk.change_budget, "Replace a budget", shapes.BudgetIn, shapes.BudgetOut),
        Endpoint("DELETE", one, PART_WRITE, desk.delete_budget, "Delete a budget", status=204),
    ]


def _limits(desk: "_Objects") -> list[Endpoint]:
    all_of, one = "/tenants/{tenant}/limits", "/tenants/{tenant}/limits/{id}"
    return [
        Endpoint("GET", all_of, READ, desk.limits, "Limits", says=shapes.LimitOut, query=PAGED, many=True),
        Endpoint(
            "POST",
            all_of,
            PART_WRITE,
            desk.create_limit,
            "Create a limit",
            shapes.LimitIn,
            shapes.LimitOut,
            status=201,
        ),
        Endpoint("GET", one, READ, desk.limit, "One limit", says=shapes.LimitOut),
        Endpoint("PUT", one, PART_WRITE, desk.change_limit, "Replace a limit", shapes.LimitIn, shapes.LimitOut),
        Endpoint("DELETE", one, PART_WRITE, desk.delete_limit, "Delete a limit", status=204),
    ]


def _admin_keys(desk: "_Objects") -> list[Endpoint]:
    return [
        Endpoint(
            "GET",
            "/admin-keys",
            Access(OWN_ADMIN),
            desk.admin_keys,
            "Keys of this API",
            says=shapes.AdminKeyOut,
            query=PAGED,
            many=True,
        ),
        Endpoint(
            "POST",
            "/admin-keys",
            Access(OWN_ADMIN),
            desk.create_admin_key,
            "Create a key of this API; it is shown once",
            shapes.AdminKeyIn,
            shapes.AdminKeyOut,
            status=201,
        ),
        Endpoint(
            "DELETE",
            "/admin-keys/{id}",
            Access(OWN_ADMIN),
            desk.revoke_admin_key,
            "Revoke a key of this API",
            status=204,
        ),
    ]


class _Objects:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def tenants(self, call: Call) -> Response:
        return await self._page(call, TenantRow, call.scope, tenant_out)

    async def tenant(self, call: Call) -> Response:
        row = await self._tenant(call)
        return shown(tenant_out(row), etag=row.revision)

    async def create_tenant(self, call: Call) -> Response:
        given: shapes.TenantIn = call.body
        row = TenantRow(given.id, given.name, tuple(given.models), given.blocked, self._office.clock.wall_s())
        return await self._create(call, "tenant", row, tenant_out(row), row.id)

    async def change_tenant(self, call: Call) -> Response:
        given: shapes.TenantChange = call.body
        row = await self._tenant(call)
        changed = replace(
            row,
            name=row.name if given.name is None else given.name,
            models=row.models if given.models is None else tuple(given.models),
            blocked=row.blocked if given.blocked is None else given.blocked,
        )
        return await self._update(call, "tenant", row, changed, tenant_out, row.id)

    async def delete_tenant(self, call: Call) -> Response:
        row = await self._tenant(call)
        return await self._delete(call, "tenant", TenantRow, row.id, row.id, tenant_out(row))

    async def keys(self, call: Call) -> Response:
        return await self._page(call, KeyRow, (await self._tenant(call)).id, key_out)

    async def key(self, call: Call) -> Response:
        row = await self._of(call, KeyRow, "key")
        return shown(key_out(row), etag=row.revision)

    async def create_key(self, call: Call) -> Response:
        given: shapes.KeyIn = call.body
        tenant = await self._tenant(call)
        row, text = self._new_key(tenant.id, given)
        return await self._create(call, "key", row, key_out(row, text), tenant.id)

    async def rotate_key(self, call: Call) -> Response:
        """Both work until the overlap ends."""
        given: shapes.RotateIn = call.body
        old = await self._of(call, KeyRow, "key")
        fields = shapes.KeyIn(
            name=old.name, user=old.user, tags=dict(old.tags), models=list(old.models),
            expires_at=shapes.at_or_none(old.expires_at_s),
        )  # fmt: skip
        now_s = self._office.clock.wall_s()
        ended = _ended(old, now_s)
        if ended is not None:
            raise Problem(409, ended.title(), f"the key {old.id!r} is {ended}; create a new one")
        row, text = self._new_key(old.tenant, fields)
        row = replace(row, rotated_from=old.id)
        ends_s = min(now_s + given.overlap_s, old.revoked_at_s or math.inf)
        ending = replace(old, revoked_at_s=ends_s)
        line, store = self._office.line, self._office.store
        lines = (
            line(call, "update", "key", old.id, tenant=old.tenant, before=key_out(old), after=key_out(ending)),
            line(call, "create", "key", row.id, tenant=old.tenant, after=key_out(row)),
        )
        await self._office.change("key", old.id, lambda: store.supersede(ending, row, lines))
        return shown(key_out(row, text), status=201, etag=1)

    async def revoke_key(self, call: Call) -> Response:
        return await self._revoke(call, "key", lambda: self._of(call, KeyRow, "key"), key_out)

    async def budgets(self, call: Call) -> Response:
        tenant = await self._tenant(call)
        rows, cursor = await self._rows(call, BudgetRow, tenant.id)
        return page(call, [await self._budget_out(row) for row in rows], cursor)

    async def budget(self, call: Call) -> Response:
        row = await self._of(call, BudgetRow, "budget")
        return shown(await self._budget_out(row), etag=row.revision)

    async def create_budget(self, call: Call) -> Response:
        given: shapes.BudgetIn = call.body
        tenant = await self._tenant(call)
        self._check_part(call, given.for_)
        row = BudgetRow(budget_of(tenant.id, given.id or self._fresh_id(), given), self._office.clock.wall_s())
        return await self._create(call, "budget", row, await self._budget_out(row), tenant.id)

    async def change_budget(self, call: Call) -> Response:
        given: shapes.BudgetIn = call.body
        row = await self._of(call, BudgetRow, "budget")
        self._check_part(call, row.budget.per)
        await self._check_loosened(call, "budget", _id(row))
        self._check_part(call, given.for_)
        changed = replace(row, budget=budget_of(row.budget.tenant, row.budget.id, given))
        await self._update(call, "budget", row, changed, plain_budget, row.budget.tenant)
        return await self.budget(call)

    async def delete_budget(self, call: Call) -> Response:
        row = await self._of(call, BudgetRow, "budget")
        self._check_part(call, row.budget.per)
        await self._check_loosened(call, "budget", _id(row))
        return await self._delete(call, "budget", BudgetRow, row.budget.id, row.budget.tenant, plain_budget(row))

    async def limits(self, call: Call) -> Response:
        return await self._page(call, LimitRow, (await self._tenant(call)).id, limit_out)

    async def limit(self, call: Call) -> Response:
        row = await self._of(call, LimitRow, "limit")
        return shown(limit_out(row), etag=row.revision)

    async def create_limit(self, call: Call) -> Response:
        given: shapes.LimitIn = call.body
        tenant = await self._tenant(call)
        self._check_part(call, given.for_)
        row = limit_of(tenant.id, given.id or self._fresh_id(), given, self._office.clock.wall_s())
        return await self._create(call, "limit", row, limit_out(row), tenant.id)

    async def change_limit(self, call: Call) -> Response:
        given: shapes.LimitIn = call.body
        row = await self._of(call, LimitRow, "limit")
        self._check_part(call, row.per)
        await self._check_loosened(call, "limit", _id(row))
        self._check_part(call, given.for_)
        changed = replace(limit_of(row.tenant, row.id, given, row.created_at_s), revision=row.revision)
        return await self._update(call, "limit", row, changed, limit_out, row.tenant)

    async def delete_limit(self, call: Call) -> Response:
        row = await self._of(call, LimitRow, "limit")
        self._check_part(call, row.per)
        await self._check_loosened(call, "limit", _id(row))
        return await self._delete(call, "limit", LimitRow, row.id, row.tenant, limit_out(row))

    async def admin_keys(self, call: Call) -> Response:
        return await self._page(call, AdminKeyRow, None, admin_key_out)

    async def create_admin_key(self, call: Call) -> Response:
        given: shapes.AdminKeyIn = call.body
        if (given.role == "tenant-admin") != (given.tenant is not None):
            errors = [{"field": "tenant", "message": "a tenant-admin has a tenant, and no other role has one"}]
            raise Problem(422, "Invalid", "role and tenant do not fit", errors=errors)
        office = self._office
        key_id, text = office.new_key("admin")
        row = AdminKeyRow(
            key_id, office.peppers.digest(text), office.peppers.newest, Role(given.role), given.tenant, given.name,
            seconds(given.expires_at), None, office.clock.wall_s(),
        )  # fmt: skip
        return await self._create(call, "admin_key", row, admin_key_out(row, text), given.tenant)

    async def revoke_admin_key(self, call: Call) -> Response:
        return await self._revoke(call, "admin_key", lambda: self._admin_key(call.path("id")), admin_key_out)

    async def _revoke(
        self, call: Call, kind: str, read: Callable[[], Awaitable[Any]], out: Callable[[Any], BaseModel]
    ) -> Response:
        """Without If-Match and whatever others change meanwhile: what shall end, ends now."""
        for left in range(REVOKE_TRIES, 0, -1):
            row = await read()
            now_s = self._office.clock.wall_s()
            if row.revoked_at_s is not None and row.revoked_at_s <= now_s:
                break
            try:
                await self._update(call, kind, row, replace(row, revoked_at_s=now_s), out, row.tenant, asked=False)
            except Problem as problem:
                if problem.status != 412 or left == 1:
                    raise
            else:
                break
        return Response(status_code=204)

    async def _admin_key(self, key_id: str) -> AdminKeyRow:
        row = await in_thread(self._office.store.get, AdminKeyRow, key_id)
        if row is None:
            raise not_found("admin key", key_id)
        return row

    def _new_key(self, tenant: str, given: shapes.KeyIn) -> tuple[KeyRow, str]:
        office = self._office
        key_id, text = office.new_key("live")
        row = KeyRow(
            key_id, tenant, office.peppers.digest(text), office.peppers.newest, given.name, given.user,
            tuple(given.tags.items()), tuple(given.models), seconds(given.expires_at),
            created_at_s=office.clock.wall_s(),
        )  # fmt: skip
        return row, text

    def _fresh_id(self) -> str:
        return self._office.new_key("id")[0]

    def _check_part(self, call: Call, dimension: str) -> None:
        if call.principal.role is Role.TENANT_ADMIN and dimension not in DEPUTY_DIMENSIONS:
            detail = (
                "a tenant-admin sets limits and budgets for its keys and users; those of the tenant are the operator's"
            )
            raise Problem(403, "Forbidden", detail)

    async def _check_loosened(self, call: Call, kind: str, object_id: str) -> None:
        """What stands beside other limits only narrows them; what an operator has set may not be taken away."""
        if call.principal.role is not Role.TENANT_ADMIN:
            return
        if await in_thread(self._office.store.set_by, kind, object_id) != Role.TENANT_ADMIN.value:
            detail = f"this {kind} was set by an operator; a tenant-admin can add a narrower one beside it"
            raise Problem(403, "Forbidden", detail)

    async def _tenant(self, call: Call) -> TenantRow:
        name = call.path("tenant")
        row = await in_thread(self._office.store.get, TenantRow, name)
        if row is None:
            raise not_found("tenant", name)
        return row

    async def _of(self, call: Call, kind: Any, word: str) -> Any:
        """The object of the tenant in the path; what belongs to another one is not there."""
        name = call.path("id")
        row = await in_thread(self._office.store.get, kind, name)
        owner = None if row is None else row.budget.tenant if isinstance(row, BudgetRow) else row.tenant
        if row is None or owner != call.path("tenant"):
            raise not_found(word, name)
        return row

    async def _rows(self, call: Call, kind: Any, tenant: str | None) -> tuple[Sequence[Any], str | None]:
        after, count = call.page
        rows: Sequence[Any] = await in_thread(self._office.store.page, kind, tenant, after, count + 1)
        cursor = _id(rows[count - 1]) if len(rows) > count else None
        return rows[:count], cursor

    async def _page(self, call: Call, kind: Any, tenant: str | None, out: Callable[[Any], BaseModel]) -> Response:
        rows, cursor = await self._rows(call, kind, tenant)
        return page(call, [out(row) for row in rows], cursor)

    async def _budget_out(self, row: BudgetRow) -> shapes.BudgetOut:
        await self._office.settled()
        window = row.budget.window(self._office.clock.wall_s())
        spent = await in_thread(self._office.books.sums, row.budget, window.starts_s, window.ends_s)
        return budget_out(row, self._office.clock.wall_s(), spent)

    async def _create(self, call: Call, kind: str, row: Any, out: BaseModel, tenant: str | None) -> Response:
        line = self._office.line(call, "create", kind, _id(row), tenant=tenant, after=out)
        await self._office.change(kind, _id(row), lambda: self._office.store.create(row, line))
        return shown(out, status=201, etag=1)

    async def _update(
        self, call: Call, kind: str, row: Any, changed: Any, out: Callable[[Any], BaseModel], tenant: str | None,
        *, asked: bool = True,
    ) -> Response:  # fmt: skip
        """With `asked`, only on the revision that the caller has read."""
        revision = call.expected if asked else row.revision
        changed = replace(changed, revision=revision)
        line = self._office.line(call, "update", kind, _id(row), tenant=tenant, before=out(row), after=out(changed))
        new = await self._office.change(kind, _id(row), lambda: self._office.store.update(changed, line))
        return shown(out(replace(changed, revision=new)), etag=new)

    async def _delete(
        self, call: Call, kind: str, row_kind: Any, object_id: str, tenant: str, out: BaseModel
    ) -> Response:
        revision = call.expected
        line = self._office.line(call, "delete", kind, object_id, tenant=tenant, before=out)
        store = self._office.store
        await self._office.change(kind, object_id, lambda: store.delete(row_kind, object_id, revision, line))
        return Response(status_code=204)


def _ended(key: KeyRow, now_s: float) -> str | None:
    if key.revoked_at_s is not None and key.revoked_at_s <= now_s:
        return "revoked"
    return "expired" if key.expires_at_s is not None and key.expires_at_s <= now_s else None


def _id(row: Any) -> str:
    name: str = row.budget.id if isinstance(row, BudgetRow) else row.id
    return name
