"""Budgets, each with what is spent of it: create, read, replace, delete."""

from collections.abc import Sequence
from dataclasses import replace

from starlette.responses import Response

from gateway.admin import shapes
from gateway.admin.deputies import WRITE, check_dimension, check_loosened
from gateway.admin.endpoint import Call, Endpoint, page, shown
from gateway.admin.forms import budget_of, budget_out, plain_budget
from gateway.admin.objects import PAGED, READ, Objects
from gateway.admin.office import Office
from gateway.admin.threads import in_thread
from gateway.domain.tenancy import BudgetRow


def endpoints(office: Office) -> Sequence[Endpoint]:
    desk = _Budgets(office)
    all_of, one = "/tenants/{tenant}/budgets", "/tenants/{tenant}/budgets/{id}"
    given, told = shapes.BudgetIn, shapes.BudgetOut
    return [
        Endpoint("GET", all_of, READ, desk.budgets, "Budgets and what is spent", says=told, query=PAGED, many=True),
        Endpoint("POST", all_of, WRITE, desk.create, "Create a budget", given, told, status=201),
        Endpoint("GET", one, READ, desk.budget, "One budget", says=told),
        Endpoint("PUT", one, WRITE, desk.change, "Replace a budget", given, told),
        Endpoint("DELETE", one, WRITE, desk.delete, "Delete a budget", status=204),
    ]


class _Budgets:
    def __init__(self, office: Office) -> None:
        self._office = office
        self._objects = Objects(office)

    async def budgets(self, call: Call) -> Response:
        tenant = await self._objects.tenant(call)
        rows, cursor = await self._objects.rows(call, BudgetRow, tenant.id)
        return page(call, [await self._out(row) for row in rows], cursor)

    async def budget(self, call: Call) -> Response:
        row = await self._objects.part(call, BudgetRow)
        return shown(await self._out(row), etag=row.revision)

    async def create(self, call: Call) -> Response:
        given: shapes.BudgetIn = call.body
        office = self._office
        tenant = await self._objects.tenant(call)
        check_dimension(call, given.for_)
        budget = budget_of(tenant.id, given.id or office.new_key("id")[0], given)
        row = BudgetRow(budget, office.clock.wall_s())
        return await self._objects.create(call, row, await self._out(row))

    async def change(self, call: Call) -> Response:
        given: shapes.BudgetIn = call.body
        row = await self._objects.part(call, BudgetRow)
        await check_loosened(call, self._office, "budget", row.budget.id, row.budget.per)
        check_dimension(call, given.for_)
        changed = replace(row, budget=budget_of(row.budget.tenant, row.budget.id, given))
        await self._objects.update(call, row, changed, plain_budget)
        return await self.budget(call)

    async def delete(self, call: Call) -> Response:
        row = await self._objects.part(call, BudgetRow)
        await check_loosened(call, self._office, "budget", row.budget.id, row.budget.per)
        return await self._objects.delete(call, row, plain_budget(row))

    async def _out(self, row: BudgetRow) -> shapes.BudgetOut:
        await self._office.settled()
        window = row.budget.window(self._office.clock.wall_s())
        spent = await in_thread(self._office.books.sums, row.budget, window.starts_s, window.ends_s)
        return budget_out(row, self._office.clock.wall_s(), spent)
