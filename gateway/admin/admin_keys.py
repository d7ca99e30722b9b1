"""Keys of the admin API: create, list, revoke; a secret is shown once."""

from collections.abc import Sequence

from starlette.responses import Response

from gateway.admin import shapes
from gateway.admin.access import OWN_ADMIN, Access
from gateway.admin.endpoint import Call, Endpoint
from gateway.admin.forms import admin_key_out, seconds
from gateway.admin.objects import PAGED, Objects
from gateway.admin.office import Office
from gateway.admin.problems import Problem, not_found
from gateway.admin.threads import in_thread
from gateway.domain.tenancy import AdminKeyRow, Role

ADMIN = Access(OWN_ADMIN)


def endpoints(office: Office) -> Sequence[Endpoint]:
    desk = _AdminKeys(office)
    all_of, one = "/admin-keys", "/admin-keys/{id}"
    return [
        Endpoint(
            "GET", all_of, ADMIN, desk.admin_keys, "Keys of this API", says=shapes.AdminKeyOut, query=PAGED, many=True
        ),
        Endpoint(
            "POST",
            all_of,
            ADMIN,
            desk.create,
            "Create a key of this API; it is shown once",
            shapes.AdminKeyIn,
            shapes.AdminKeyOut,
            status=201,
        ),
        Endpoint("DELETE", one, ADMIN, desk.revoke, "Revoke a key of this API", status=204),
    ]


class _AdminKeys:
    def __init__(self, office: Office) -> None:
        self._office = office
        self._objects = Objects(office)

    async def admin_keys(self, call: Call) -> Response:
        return await self._objects.page(call, AdminKeyRow, None, admin_key_out)

    async def create(self, call: Call) -> Response:
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
        return await self._objects.create(call, row, admin_key_out(row, text))

    async def revoke(self, call: Call) -> Response:
        return await self._objects.revoke(call, lambda: self._admin_key(call.path("id")), admin_key_out)

    async def _admin_key(self, key_id: str) -> AdminKeyRow:
        row = await in_thread(self._office.store.get, AdminKeyRow, key_id)
        if row is None:
            raise not_found("admin key", key_id)
        return row
