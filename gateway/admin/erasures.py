"""Forgetting a user: the ledger keeps its figures, and an alias in the place of the name."""

import secrets
from collections.abc import Sequence

from starlette.responses import Response

from gateway.admin import shapes
from gateway.admin.access import OWN_ADMIN, VIEW, Access
from gateway.admin.endpoint import Call, Endpoint, page, shown
from gateway.admin.office import Office
from gateway.admin.problems import not_found
from gateway.admin.threads import in_thread
from gateway.domain.budget import Budget
from gateway.domain.period import FOREVER_S
from gateway.domain.tenancy import ErasureRow, TenantRow
from gateway.stores.erasure import carry_out


def endpoints(office: Office) -> Sequence[Endpoint]:
    desk = _Erasures(office)
    path = "/tenants/{tenant}/erasures"
    return [
        Endpoint(
            "GET",
            path,
            Access(VIEW, own=True),
            desk.erasures,
            "Orders to forget a user that are not done yet",
            says=shapes.ErasureOut,
            query=("cursor", "limit"),
            many=True,
        ),
        Endpoint(
            "POST",
            path,
            Access(OWN_ADMIN, own=True),
            desk.erase,
            "Forget a user: an alias in the ledger in its place, at once or when budgets need its name no more",
            shapes.ErasureIn,
            shapes.ErasureOut,
            status=202,
        ),
    ]


class _Erasures:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def erasures(self, call: Call) -> Response:
        tenant = await self._tenant(call)
        cursor, count = call.page
        store = self._office.store
        rows = await in_thread(store.page, ErasureRow, tenant, cursor, count + 1)
        budgets = await self._budgets()
        items = [self._out(row, budgets) for row in rows[:count]]
        return page(call, items, items[-1].id if len(rows) > count else None)

    async def erase(self, call: Call) -> Response:
        """The audit trail knows the alias alone."""
        given: shapes.ErasureIn = call.body
        office, tenant = self._office, await self._tenant(call)
        row = ErasureRow(f"erased-{secrets.token_hex(8)}", tenant, given.user, office.clock.wall_s())
        line = office.line(call, "erase", "erasure", row.id, tenant=tenant)
        await office.change("erasure", row.id, lambda: office.store.create(row, line))
        await office.settled()
        entries, _ = await in_thread(carry_out, row, office.store, office.books, office.clock.wall_s())
        return shown(self._out(row, await self._budgets(), entries), status=202)

    async def _tenant(self, call: Call) -> str:
        name = call.path("tenant")
        if await in_thread(self._office.store.get, TenantRow, name) is None:
            raise not_found("tenant", name)
        return name

    async def _budgets(self) -> list[Budget]:
        return [row.budget for row in (await in_thread(self._office.store.snapshot)).budgets]

    def _out(self, row: ErasureRow, budgets: Sequence[Budget], entries: int | None = None) -> shapes.ErasureOut:
        now_s = self._office.clock.wall_s()
        held_by = row.held_by(budgets, now_s)
        ends_s = max((budget.window(now_s).ends_s for budget in held_by), default=None)
        return shapes.ErasureOut(
            id=row.id,
            tenant=row.tenant,
            created_at=shapes.at(row.created_at_s),
            entries=entries,
            held_by=sorted(budget.id for budget in held_by),
            held_until=None if ends_s is None or ends_s >= FOREVER_S else shapes.at(ends_s),
        )
