"""Agents over HTTP: start a run, follow it, decide, cancel, read; one turn at a time."""

import importlib.util
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agent_runtime.api.agent import Agent
from agent_runtime.api.handle import Handle
from agent_runtime.contracts.errors import (
    AgentError,
    ConfigError,
    NotAllowed,
    NoWorkersAvailable,
    TooManyRuns,
    TurnConflict,
    UnknownRun,
)
from agent_runtime.contracts.run import RunRequest
from agent_runtime.desk.erasure import erase
from agent_runtime.desk.services import Services
from agent_runtime.domain.shown import TERMINAL
from agent_runtime.serve.callers import attached, body_of, principal
from agent_runtime.serve.health import Check, health_routes

PAGE = Path(__file__).parent / "chat.html"
STATUS: tuple[tuple[type[AgentError], int], ...] = (
    (TurnConflict, 409),
    (UnknownRun, 404),
    (NotAllowed, 403),
    (TooManyRuns, 429),
    (NoWorkersAvailable, 503),
    (ConfigError, 400),
)


class RunBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    input: str = Field(min_length=1, max_length=200_000)
    conversation_id: str | None = Field(default=None, max_length=128)
    timeout_s: float | None = None
    request_id: str | None = Field(default=None, max_length=128)
    retry_of: str | None = Field(default=None, max_length=200)
    stream: bool = True


class DecisionBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    approve: bool
    arguments: dict[str, Any] | None = None
    comment: str = Field(default="", max_length=2_000)


class TextBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: str = Field(default="", max_length=20_000)


class Door:
    """Who calls is said by a proxy in front, in `x-tenant` and `x-user`; this listens on loopback."""

    def __init__(self, agents: Sequence[Agent], services: Services) -> None:
        self._agents = {agent.spec.name: agent for agent in agents}
        self._services = services

    async def agents(self, request: Request) -> Response:
        del request
        rows = [{"name": one.spec.name, "description": one.spec.description} for one in self._agents.values()]
        return JSONResponse({"items": rows})

    async def start(self, request: Request) -> Response:
        agent = self._agents.get(request.path_params["agent"])
        if agent is None:
            raise UnknownRun(f"there is no agent {request.path_params['agent']!r}; GET /agents lists them")
        body = await read(request, RunBody)
        run = RunRequest(body.input, principal(request), **body.model_dump(exclude={"input"}))
        run_id = await agent.runtime.start(agent.spec, run)
        location = f"/runs/{run_id}"
        return JSONResponse({"run_id": run_id, "events": f"{location}/events"}, 202, headers={"location": location})

    async def _handle(self, request: Request) -> Handle:
        return await attached(self._agents, self._services, request.path_params["run"], principal(request))

    async def status(self, request: Request) -> Response:
        status = await (await self._handle(request)).status()
        return JSONResponse(json.loads(json.dumps(asdict(status), default=str)))

    async def events(self, request: Request) -> Response:
        """Server-sent events; `Last-Event-ID` (or `?after=`) goes on behind the one that was seen last."""
        handle = await self._handle(request)
        seen = request.headers.get("last-event-id") or request.query_params.get("after")
        if seen is not None and not seen.isdigit():
            raise ConfigError(f"Last-Event-ID is {seen[:40]!r}; send the id of the last event as it came")
        offset = 0 if seen is None else int(seen) + 1
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return StreamingResponse(_sse(handle, offset), media_type="text/event-stream", headers=headers)

    async def decide(self, request: Request) -> Response:
        handle = await self._handle(request)
        body = await read(request, DecisionBody)
        approval_id, who = request.path_params["approval"], principal(request)
        if body.approve:
            arguments = None if body.arguments is None else json.dumps(body.arguments)
            await handle.approve(approval_id, who, arguments=arguments, comment=body.comment)
        else:
            await handle.reject(approval_id, who, comment=body.comment)
        return Response(status_code=204)

    async def say(self, request: Request) -> Response:
        handle = await self._handle(request)
        await handle.say((await read(request, TextBody)).text)
        return Response(status_code=204)

    async def cancel(self, request: Request) -> Response:
        handle = await self._handle(request)
        await handle.cancel((await read(request, TextBody)).text)
        return Response(status_code=204)

    async def transcript(self, request: Request) -> Response:
        turns = await self._services.conversations.turns(principal(request), request.path_params["conversation"])
        rows = [{"run_id": t.run_id, "status": t.status, "messages": [asdict(m) for m in t.messages]} for t in turns]
        return JSONResponse({"items": rows})

    async def forget(self, request: Request) -> Response:
        await self._services.conversations.clear(principal(request), request.path_params["conversation"])
        return Response(status_code=204)

    async def erase(self, request: Request) -> Response:
        """Everything of this user: conversations, events, results, memories."""
        await erase(self._services, principal(request))
        return Response(status_code=204)


async def _sse(handle: Handle, offset: int) -> AsyncIterator[bytes]:
    async for number, event in handle.events(offset):
        yield b"id: %d\ndata: %s\n\n" % (number, json.dumps(event, ensure_ascii=False).encode())
        if event["type"] in TERMINAL:
            return


async def read(request: Request, kind: type[Any]) -> Any:
    body = await body_of(request)
    try:
        return kind.model_validate_json(body or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        raise ConfigError(f"{place}: {first['msg']}") from None


async def _failed(request: Request, error: Exception) -> Response:
    del request
    if not isinstance(error, AgentError):
        return JSONResponse({"error": {"message": "the runtime failed", "code": "bug"}}, 500)
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    shown: dict[str, Any] = {"message": str(error), "code": error.kind, "category": error.category}
    if isinstance(error, TurnConflict):
        shown["active_run_id"] = error.active_run_id
    return JSONResponse({"error": shown}, status)


def _over_a2a(agents: Sequence[Agent], services: Services) -> list[Route]:
    """The same agents for agents elsewhere, when the extra `a2a` is installed."""
    if importlib.util.find_spec("a2a") is None:
        return []
    routes: list[Route] = importlib.import_module("agent_runtime.serve.a2a").a2a_routes(agents, services)
    return routes


def agent_app(agents: Sequence[Agent], services: Services, *, checks: Mapping[str, Check]) -> Starlette:
    door = Door(agents, services)
    nonce_page = PAGE.read_text()

    async def page(_: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'"
        headers = {"content-security-policy": policy, "x-content-type-options": "nosniff"}
        return HTMLResponse(nonce_page.replace("NONCE", nonce), headers=headers)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/agents", door.agents),
            Route("/agents/{agent}/runs", door.start, methods=["POST"]),
            Route("/runs/{run}", door.status),
            Route("/runs/{run}/events", door.events),
            Route("/runs/{run}/approvals/{approval}", door.decide, methods=["POST"]),
            Route("/runs/{run}/messages", door.say, methods=["POST"]),
            Route("/runs/{run}/cancel", door.cancel, methods=["POST"]),
            Route("/conversations/{conversation}", door.transcript, methods=["GET"]),
            Route("/conversations/{conversation}", door.forget, methods=["DELETE"]),
            Route("/me", door.erase, methods=["DELETE"]),
            *_over_a2a(agents, services),
            *health_routes(checks),
        ],
        exception_handlers={AgentError: _failed, Exception: _failed},
    )
