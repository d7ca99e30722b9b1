"""Callers' keys: create, read, rotate, revoke; a secret is shown once."""

import math
from collections.abc import Sequence
from dataclasses import replace

from starlette.responses import Response

from gateway.admin import shapes
from gateway.admin.access import OPERATE, Access
from gateway.admin.endpoint import Call, Endpoint, shown
from gateway.admin.forms import key_out, seconds
from gateway.admin.objects import PAGED, READ, Objects
from gateway.admin.office import Office
from gateway.admin.problems import Problem
from gateway.domain.tenancy import KeyRow

WRITE = Access(OPERATE, own=True)


def endpoints(office: Office) -> Sequence[Endpoint]:
    desk = _Keys(office)
    all_of, one = "/tenants/{tenant}/keys", "/tenants/{tenant}/keys/{id}"
    return [
        Endpoint(
            "GET", all_of, READ, desk.keys, "Keys, never their secrets", says=shapes.KeyOut, query=PAGED, many=True
        ),
        Endpoint(
            "POST",
            all_of,
            WRITE,
            desk.create,
            "Create a key; it is shown once",
            shapes.KeyIn,
            shapes.KeyOut,
            status=201,
        ),
        Endpoint("GET", one, READ, desk.key, "One key", says=shapes.KeyOut),
        Endpoint(
            "POST",
            one + "/rotate",
            WRITE,
            desk.rotate,
            "A new key; the old one works on for `overlap_s`",
            shapes.RotateIn,
            shapes.KeyOut,
            status=201,
        ),
        Endpoint("DELETE", one, WRITE, desk.revoke, "Revoke a key, everywhere within a second", status=204),
    ]


class _Keys:
    def __init__(self, office: Office) -> None:
        self._office = office
        self._objects = Objects(office)

    async def keys(self, call: Call) -> Response:
        return await self._objects.page(call, KeyRow, (await self._objects.tenant(call)).id, key_out)

    async def key(self, call: Call) -> Response:
        row = await self._objects.part(call, KeyRow)
        return shown(key_out(row), etag=row.revision)

    async def create(self, call: Call) -> Response:
        given: shapes.KeyIn = call.body
        tenant = await self._objects.tenant(call)
        row, text = self._new(tenant.id, given)
        return await self._objects.create(call, row, key_out(row, text))

    async def rotate(self, call: Call) -> Response:
        """Both work until the overlap ends."""
        given: shapes.RotateIn = call.body
        old = await self._objects.part(call, KeyRow)
        fields = shapes.KeyIn(
            name=old.name, user=old.user, tags=dict(old.tags), models=list(old.models),
            expires_at=shapes.at_or_none(old.expires_at_s),
        )  # fmt: skip
        now_s = self._office.clock.wall_s()
        ended = _ended(old, now_s)
        if ended is not None:
            raise Problem(409, ended.title(), f"the key {old.id!r} is {ended}; create a new one")
        row, text = self._new(old.tenant, fields)
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

    async def revoke(self, call: Call) -> Response:
        return await self._objects.revoke(call, lambda: self._objects.part(call, KeyRow), key_out)

    def _new(self, tenant: str, given: shapes.KeyIn) -> tuple[KeyRow, str]:
        office = self._office
        key_id, text = office.new_key("live")
        row = KeyRow(
            key_id, tenant, office.peppers.digest(text), office.peppers.newest, given.name, given.user,
            tuple(given.tags.items()), tuple(given.models), seconds(given.expires_at),
            created_at_s=office.clock.wall_s(),
        )  # fmt: skip
        return row, text


def _ended(key: KeyRow, now_s: float) -> str | None:
    if key.revoked_at_s is not None and key.revoked_at_s <= now_s:
        return "revoked"
    return "expired" if key.expires_at_s is not None and key.expires_at_s <= now_s else None
