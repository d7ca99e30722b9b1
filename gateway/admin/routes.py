"""The admin listener's routes: metrics and health for operators."""

import hmac
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.domain.catalog import Secret

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def admin_routes(*, metrics: Callable[[], Awaitable[bytes]], key: Secret) -> Starlette:
    """Everything but health needs `Authorization: Bearer <admin key>`."""
    expected = b"Bearer " + key.reveal().encode()

    async def live(_: Request) -> Response:
        return PlainTextResponse("live")

    async def prometheus(request: Request) -> Response:
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), expected):
            return PlainTextResponse(
                "the admin key is missing or wrong; send 'Authorization: Bearer <admin key>'",
                401,
                {"www-authenticate": "Bearer"},
            )
        return Response(await metrics(), media_type=PROMETHEUS)

    return Starlette(routes=[Route("/health/live", live), Route("/metrics", prometheus)])
