"""Limits of rates and of requests at once: create, read, replace, delete."""

from collections.abc import Sequence

from starlette.responses import Response

from gateway.admin import shapes
from gateway.admin.deputies import WRITE, check_dimension, check_loosened
from gateway.admin.endpoint import Call, Endpoint, shown
from gateway.admin.forms import limit_of, limit_out
from gateway.admin.objects import PAGED, READ, Objects
from gateway.admin.office import Office
from gateway.domain.tenancy import LimitRow


def endpoints(office: Office) -> Sequence[Endpoint]:
    desk = _Limits(office)
    all_of, one = "/tenants/{tenant}/limits", "/tenants/{tenant}/limits/{id}"
    given, told = shapes.LimitIn, shapes.LimitOut
    return [
        Endpoint("GET", all_of, READ, desk.limits, "Limits", says=told, query=PAGED, many=True),
        Endpoint("POST", all_of, WRITE, desk.create, "Create a limit", given, told, status=201),
        Endpoint("GET", one, READ, desk.limit, "One limit", says=told),
        Endpoint("PUT", one, WRITE, desk.change, "Replace a limit", given, told),
        Endpoint("DELETE", one, WRITE, desk.delete, "Delete a limit", status=204),
    ]


class _Limits:
    def __init__(self, office: Office) -> None:
        self._office = office
        self._objects = Objects(office)

    async def limits(self, call: Call) -> Response:
        return await self._objects.page(call, LimitRow, (await self._objects.tenant(call)).id, limit_out)

    async def limit(self, call: Call) -> Response:
        row = await self._objects.part(call, LimitRow)
        return shown(limit_out(row), etag=row.revision)

    async def create(self, call: Call) -> Response:
        given: shapes.LimitIn = call.body
        office = self._office
        tenant = await self._objects.tenant(call)
        check_dimension(call, given.for_)
        row = limit_of(tenant.id, given.id or office.new_key("id")[0], given, office.clock.wall_s())
        return await self._objects.create(call, row, limit_out(row))

    async def change(self, call: Call) -> Response:
        given: shapes.LimitIn = call.body
        row = await self._objects.part(call, LimitRow)
        await check_loosened(call, self._office, "limit", row.id, row.per)
        check_dimension(call, given.for_)
        changed = limit_of(row.tenant, row.id, given, row.created_at_s)
        return await self._objects.update(call, row, changed, limit_out)

    async def delete(self, call: Call) -> Response:
        row = await self._objects.part(call, LimitRow)
        await check_loosened(call, self._office, "limit", row.id, row.per)
        return await self._objects.delete(call, row, limit_out(row))
