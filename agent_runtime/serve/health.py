"""Whether a process lives and is ready, as two small endpoints."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Check = Callable[[], Awaitable[str | None]]
"""Why something is not ready; None if it is."""
CHECK_S = 3.0


async def asked(checks: Mapping[str, Check]) -> dict[str, str]:
    """What is not ready and why. A check that hangs is not ready either."""
    found: dict[str, str] = {}
    for name, check in checks.items():
        try:
            async with asyncio.timeout(CHECK_S):
                why = await check()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not ready
            why = type(error).__name__
        if why is not None:
            found[name] = why
    return found


def health_routes(checks: Mapping[str, Check]) -> list[Route]:
    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        missing = await asked(checks)
        status = "not ready" if missing else "ready"
        return JSONResponse({"status": status, "checks": sorted(checks), "missing": missing}, 503 if missing else 200)

    return [Route("/healthz", live), Route("/readyz", ready)]


class Server(uvicorn.Server):
    """Leaves signals alone: the command listens for them itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server(app: Starlette, host: str, port: int) -> uvicorn.Server:
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", lifespan="off", timeout_graceful_shutdown=5)
    return Server(config)
