"""The admin listener: who asks, may they, and which endpoint answers; metrics and health beside it."""

import hmac
import logging
from collections.abc import Awaitable, Callable
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.admin import accounts, admin_keys, budgets, corrections, erasures, keys, limits, operations, tenants
from gateway.admin.access import OPERATE, VIEW, Principal
from gateway.admin.endpoint import Endpoint
from gateway.admin.office import Office
from gateway.admin.openapi import PREFIX, document
from gateway.admin.problems import Problem
from gateway.domain.catalog import Secret
from gateway.domain.tenancy import AdminKeyRow, Role
from gateway.ports import StoreFailed

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_log = logging.getLogger("meterway.admin")

Find = Callable[[bytes, str], AdminKeyRow | None]


def endpoints_of(office: Office) -> list[Endpoint]:
    """Every endpoint with its row: what is not here is not served."""
    rooms = (tenants, keys, budgets, limits, admin_keys, accounts, corrections, erasures, operations)
    return [endpoint for room in rooms for endpoint in room.endpoints(office)]


def admin_routes(*, metrics: Callable[[], Awaitable[bytes]], key: Secret, find: Find, office: Office) -> Starlette:
    """Everything but health needs `Authorization: Bearer <admin key>`: the one of the file, or one of the directory."""
    doors = _Doors(key, find, office)
    endpoints = endpoints_of(office)

    async def live(_: Request) -> Response:
        return PlainTextResponse("live")

    async def prometheus(request: Request) -> Response:
        if doors.principal(request).role not in VIEW | OPERATE:
            raise Problem(403, "Forbidden", "metrics are of all tenants")
        return Response(await metrics(), media_type=PROMETHEUS)

    async def openapi(request: Request) -> Response:
        doors.principal(request)
        return JSONResponse(document(endpoints, version("meterway")))

    routes = [Route("/health/live", live), Route("/metrics", prometheus), Route("/admin/openapi.json", openapi)]
    routes += [doors.route(endpoint) for endpoint in endpoints]
    app = Starlette(
        routes=routes,
        exception_handlers={Problem: _problem, HTTPException: _unrouted, StoreFailed: _store, Exception: _failed},
    )
    app.router.redirect_slashes = False
    return app


class _Doors:
    def __init__(self, key: Secret, find: Find, office: Office) -> None:
        self._expected = b"Bearer " + key.reveal().encode()
        self._find = find
        self._clock = office.clock

    def route(self, endpoint: Endpoint) -> Route:
        async def serve(request: Request) -> Response:
            return await endpoint.serve(request, self.principal(request))

        return Route(PREFIX + endpoint.path, serve, methods=[endpoint.method])

    def principal(self, request: Request) -> Principal:
        """Raises Problem 401."""
        given = request.headers.get("authorization", "").encode()
        if hmac.compare_digest(given, self._expected):
            return Principal("root", Role.ADMIN)
        address = request.client.host if request.client else ""
        row = self._find(given[7:], address) if given[:7].lower() == b"bearer " else None
        now_s = self._clock.wall_s()
        if row is None or any(end is not None and end <= now_s for end in (row.expires_at_s, row.revoked_at_s)):
            detail = "the admin key is missing or wrong; send 'Authorization: Bearer <admin key>'"
            raise Problem(401, "Unauthorized", detail)
        return Principal(row.id, row.role, row.tenant)


async def _problem(_: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise error
    return error.response()


async def _unrouted(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    words = f"{request.method} {request.url.path} is not served here; see /admin/openapi.json"
    response = Problem(status, "Not served", words).response()
    if isinstance(error, HTTPException) and error.headers:
        response.headers.update(error.headers)
    return response


async def _store(_: Request, error: Exception) -> Response:
    return Problem(503, "Database", str(error)).response()


async def _failed(_: Request, error: Exception) -> Response:
    _log.error("the admin API failed", exc_info=error)
    return Problem(500, "Failed", "the gateway failed; its log says more").response()
