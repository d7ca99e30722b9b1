"""Tenants: create, read, change, block, delete."""

from collections.abc import Sequence
from dataclasses import replace

from starlette.responses import Response

from gateway.admin import shapes
from gateway.admin.access import OWN_ADMIN, Access
from gateway.admin.endpoint import Call, Endpoint, shown
from gateway.admin.forms import tenant_out
from gateway.admin.objects import PAGED, READ, Objects
from gateway.admin.office import Office
from gateway.domain.tenancy import TenantRow

WRITE = Access(OWN_ADMIN)


def endpoints(office: Office) -> Sequence[Endpoint]:
    desk = _Tenants(office)
    all_of, one = "/tenants", "/tenants/{tenant}"
    return [
        Endpoint("GET", all_of, READ, desk.tenants, "Tenants, by id", says=shapes.TenantOut, query=PAGED, many=True),
        Endpoint("POST", all_of, WRITE, desk.create, "Create a tenant", shapes.TenantIn, shapes.TenantOut, status=201),
        Endpoint("GET", one, READ, desk.tenant, "One tenant", says=shapes.TenantOut),
        Endpoint("PATCH", one, WRITE, desk.change, "Change or block a tenant", shapes.TenantChange, shapes.TenantOut),
        Endpoint(
            "DELETE",
            one,
            WRITE,
            desk.delete,
            "Delete a tenant with all that is its own; the ledger stays",
            status=204,
        ),
    ]


class _Tenants:
    def __init__(self, office: Office) -> None:
        self._office = office
        self._objects = Objects(office)

    async def tenants(self, call: Call) -> Response:
        return await self._objects.page(call, TenantRow, call.scope, tenant_out)

    async def tenant(self, call: Call) -> Response:
        row = await self._objects.tenant(call)
        return shown(tenant_out(row), etag=row.revision)

    async def create(self, call: Call) -> Response:
        given: shapes.TenantIn = call.body
        row = TenantRow(given.id, given.name, tuple(given.models), given.blocked, self._office.clock.wall_s())
        return await self._objects.create(call, row, tenant_out(row))

    async def change(self, call: Call) -> Response:
        given: shapes.TenantChange = call.body
        row = await self._objects.tenant(call)
        changed = replace(
            row,
            name=row.name if given.name is None else given.name,
            models=row.models if given.models is None else tuple(given.models),
            blocked=row.blocked if given.blocked is None else given.blocked,
        )
        return await self._objects.update(call, row, changed, tenant_out)

    async def delete(self, call: Call) -> Response:
        row = await self._objects.tenant(call)
        return await self._objects.delete(call, row, tenant_out(row))
