"""The data plane's other routes, on Starlette: models, health, and clear words for everything else."""

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.domain.errors import GatewayError, InternalError, MethodNotAllowed, UnknownModel, UnknownRoute
from gateway.domain.request import Dialect
from gateway.http import heads, response_head
from gateway.wire import failures, models

SERVED = (
    "POST /v1/chat/completions, POST /v1/responses, POST /v1/messages, POST /v1/messages/count_tokens, "
    "POST /v1/embeddings, GET /v1/models"
)


def other_routes(
    *, names: Callable[[bytes | None], list[str]], ready: Callable[[], str | None], created_s: int
) -> Starlette:
    """`names` gives the models for a caller's key (raises InvalidKey); `ready` why the gateway is not ready."""

    async def list_models(request: Request) -> Response:
        found = names(_key(request))
        shape = models.anthropic_listing if _anthropic(request) else models.listing
        return _json(shape(found, created_s))

    async def one_model(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in names(_key(request)):
            raise UnknownModel(f"model {name!r} does not exist here; GET /v1/models lists those that do", param="model")
        shape = models.anthropic_one if _anthropic(request) else models.one
        return _json(shape(name, created_s))

    async def live(_: Request) -> Response:
        return _json(b'{"status":"live"}')

    async def is_ready(_: Request) -> Response:
        reason = ready()
        if reason is not None:
            return _json(b'{"status":"not ready","reason":"%b"}' % reason.encode(), status=503)
        return _json(b'{"status":"ready"}')

    async def root(_: Request) -> Response:
        return _json(b'{"name":"meterway","serves":"%b"}' % SERVED.encode())

    app = Starlette(
        routes=[
            Route("/", root),
            Route("/v1/models", list_models),
            Route("/v1/models/{name:path}", one_model),
            Route("/health/live", live),
            Route("/health/ready", is_ready),
        ],
        exception_handlers={GatewayError: _refused, HTTPException: _unrouted, Exception: _failed},
    )
    app.router.redirect_slashes = False  # it would send the client to whatever its Host header says
    return app


def _key(request: Request) -> bytes | None:
    return heads.bearer(dict(request.scope["headers"]))


def _anthropic(request: Request) -> bool:
    return "anthropic-version" in request.headers


def _json(body: bytes, status: int = 200, headers: response_head.Headers | None = None) -> Response:
    response = Response(body, status, media_type="application/json")
    response.raw_headers += headers or []
    return response


def _answer(
    error: GatewayError, more: Sequence[tuple[bytes, bytes]] = (), *, dialect: Dialect = Dialect.OPENAI
) -> Response:
    request_id = heads.new_request_id()
    extra = [(b"x-request-id", request_id.encode()), *more]
    return _json(
        failures.body_of(error, dialect, request_id),
        failures.status_of(error),
        extra + response_head.retry_headers(error.retry_after_s, again=False),
    )


def _refused(request: Request, error: Exception) -> Response:
    known = error if isinstance(error, GatewayError) else InternalError("the gateway failed")
    return _answer(known, dialect=Dialect.ANTHROPIC if _anthropic(request) else Dialect.OPENAI)


def _unrouted(request: Request, error: Exception) -> Response:
    method, path = request.method, request.scope["path"][:200]
    if isinstance(error, HTTPException) and error.status_code == 405:
        allow = [(b"allow", (error.headers or {}).get("Allow", "GET").encode())]
        return _answer(MethodNotAllowed(f"{path} does not serve {method}; served: {SERVED}"), allow)
    return _answer(UnknownRoute(f"there is nothing at {method} {path}; served: {SERVED}"))


def _failed(_: Request, error: Exception) -> Response:
    del error
    return _answer(InternalError("the gateway failed; the operator finds the request by its id"))
