"""Agents over A2A: a task is a run, its context a conversation; nothing about it is kept but what the run keeps."""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from a2a.server.context import ServerCallContext
from a2a.server.events.event_queue import Event
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.server.routes import DefaultServerCallContextBuilder, create_jsonrpc_routes
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
)
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH
from a2a.utils.errors import (
    A2AError,
    ExtendedAgentCardNotConfiguredError,
    InternalError,
    InvalidParamsError,
    InvalidRequestError,
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from a2a.utils.proto_utils import validate_proto_required_fields
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message as Received

from agent_runtime.api.agent import Agent
from agent_runtime.api.handle import Handle
from agent_runtime.contracts.errors import (
    AgentError,
    ConfigError,
    NotAllowed,
    TooManyRuns,
    TurnConflict,
    UnknownRun,
)
from agent_runtime.contracts.run import RunRequest
from agent_runtime.desk.services import Services
from agent_runtime.domain.shown import TERMINAL
from agent_runtime.domain.values import Principal, RunRef
from agent_runtime.serve import a2a_shapes as shapes
from agent_runtime.serve.callers import attached, body_of, principal

ID_CHARS_MAX = 128
CANCEL_S = 10.0
PEEK_S = 0.001
ERRORS: tuple[tuple[type[AgentError], type[A2AError]], ...] = (
    (UnknownRun, TaskNotFoundError),
    (NotAllowed, InvalidRequestError),
    (TooManyRuns, InvalidRequestError),
    (TurnConflict, InvalidRequestError),
    (ConfigError, InvalidParamsError),
)


class Tasks(RequestHandler):
    """One agent's. The message that begins a task may be sent again: it is the same task."""

    def __init__(self, agent: Agent, services: Services) -> None:
        self._agent = agent
        self._services = services

    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task:
        with told():
            sent = await self._sent(params, context, stream=False)
            task = await self._task(sent)
            if params.configuration.return_immediately or shapes.rests(task):
                return task
            async for _ in self._updates(sent):
                pass
            return await self._task(sent)

    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        with told():
            sent = await self._sent(params, context, stream=True)
            async for event in self._shown(sent):
                yield event

    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        with told():
            sent = await self._known(params.id, context)
            if (await sent.handle.status()).status != "running":
                raise UnsupportedOperationError(f"task {params.id!r} is over; get it instead")
            sent.seen = await self._seen(params.id)
            async for event in self._shown(sent):
                yield event

    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        with told():
            return await self._task(await self._known(params.id, context))

    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        with told():
            sent = await self._known(params.id, context)
            if (await sent.handle.status()).status != "running":
                raise TaskNotCancelableError(f"task {params.id!r} is over")
            await sent.handle.cancel("asked for over A2A")
            try:
                async with asyncio.timeout(CANCEL_S):
                    await sent.handle.outcome()
            except TimeoutError:
                pass
            return await self._task(sent)

    async def _sent(self, params: SendMessageRequest, context: ServerCallContext, *, stream: bool) -> "Sent":
        validate_proto_required_fields(params)
        message, whose = params.message, _caller(context)
        if message.task_id:
            return await self._continued(params, context)
        if len(message.message_id) > ID_CHARS_MAX or len(message.context_id) > ID_CHARS_MAX:
            raise ConfigError(f"messageId or contextId is longer than {ID_CHARS_MAX} characters")
        text, decisions = shapes.said(message)
        if decisions:
            raise ConfigError("a decision needs the taskId of the task that asked for it")
        request = RunRequest(
            text,
            whose,
            conversation_id=message.context_id or f"a2a-{secrets.token_hex(8)}",
            timeout_s=_timeout_s(context.state["headers"]),
            request_id=f"a2a/{whose.user}/{message.message_id}",
            stream=stream,
        )
        run_id = await self._agent.runtime.start(self._agent.spec, request)
        return await self._known(run_id, context)

    async def _continued(self, params: SendMessageRequest, context: ServerCallContext) -> "Sent":
        """A decision goes to the approval that it names, text to the agent."""
        message = params.message
        sent = await self._known(message.task_id, context)
        if (await sent.handle.status()).status != "running":
            raise UnsupportedOperationError(
                f"task {message.task_id!r} is over; send a message without taskId to go on in its context"
            )
        text, decisions = shapes.said(message)
        sent.seen = await self._seen(message.task_id)
        for one in decisions:
            await _decide(sent.handle, one, _caller(context))
            sent.decided.add(one["approvalId"])
        if text:
            await sent.handle.say(text)
        return sent

    async def _known(self, run_id: str, context: ServerCallContext) -> "Sent":
        handle = await attached({self._agent.spec.name: self._agent}, self._services, run_id, _caller(context))
        entry = await self._services.runs.get(run_id)
        if entry is None:
            raise UnknownRun(f"there is no run {run_id!r}")
        return Sent(handle, entry.ref)

    async def _seen(self, run_id: str) -> int:
        offset = 0
        while page := await self._services.events.read(run_id, offset, PEEK_S):
            offset = page[-1][0] + 1
        return offset

    async def _task(self, sent: "Sent") -> Task:
        ref, status = sent.ref, await sent.handle.status()
        if status.status != "running":
            run = await sent.handle.outcome()
            return shapes.task_of(ref, shapes.ended(ref, run), shapes.artifacts_of(run))
        pending = [one for one in status.pending_approvals if one.id not in sent.decided]
        return shapes.task_of(ref, shapes.asks(ref, pending) if pending else shapes.working(ref))

    async def _shown(self, sent: "Sent") -> AsyncGenerator[Event]:
        """The task as it is, then what happens to it, until it ends or waits for a person."""
        task = await self._task(sent)
        yield task
        if not shapes.rests(task):
            async for event in self._updates(sent):
                yield event

    async def _updates(self, sent: "Sent") -> AsyncGenerator[Event]:
        ref = sent.ref
        async for number, event in sent.handle.events(sent.seen):
            match event["type"]:
                case "TEXT_MESSAGE_CONTENT":
                    status = shapes.working(ref, str(event["delta"]), f"{ref.run_id}-{number}")
                    yield shapes.update_of(ref, status)
                case "CUSTOM":
                    task = await self._task(sent)
                    if shapes.waits(task):
                        yield shapes.update_of(ref, task.status)
                        return
                case kind if kind in TERMINAL:
                    run = await sent.handle.outcome()
                    for artifact in shapes.artifacts_of(run):
                        yield shapes.artifact_update_of(ref, artifact)
                    yield shapes.update_of(ref, shapes.ended(ref, run))

    async def on_list_tasks(self, params: Any, context: ServerCallContext) -> NoReturn:
        raise UnsupportedOperationError("tasks are not listed; keep their ids")

    async def on_get_extended_agent_card(self, params: Any, context: ServerCallContext) -> NoReturn:
        raise ExtendedAgentCardNotConfiguredError

    async def on_create_task_push_notification_config(self, params: Any, context: ServerCallContext) -> NoReturn:
        raise PushNotificationNotSupportedError

    on_get_task_push_notification_config = on_create_task_push_notification_config
    on_list_task_push_notification_configs = on_create_task_push_notification_config
    on_delete_task_push_notification_config = on_create_task_push_notification_config


class Sent:
    """A task as one request sees it: from which event on, and which approvals it has just decided."""

    def __init__(self, handle: Handle, ref: RunRef) -> None:
        self.handle = handle
        self.ref = ref
        self.seen = 0
        self.decided: set[str] = set()


@contextmanager
def told() -> Iterator[None]:
    """Our errors in the protocol's names; what is not the caller's doing is told as users may read it."""
    try:
        yield
    except A2AError:
        raise
    except AgentError as error:
        kind = next((theirs for ours, theirs in ERRORS if isinstance(error, ours)), None)
        data = {"code": error.kind, "category": error.category}
        if kind is None:
            raise InternalError(error.user_message(), data) from error
        raise kind(str(error), data) from error
    except Exception as error:
        raise InternalError("the runtime failed") from error


def _caller(context: ServerCallContext) -> Principal:
    whose: Principal = context.state["principal"]
    return whose


def _timeout_s(headers: Mapping[str, str]) -> float | None:
    given = headers.get("x-request-timeout-ms")
    if given is None:
        return None
    if not given.isdigit():
        raise ConfigError(f"x-request-timeout-ms is {given[:40]!r}; send whole milliseconds")
    return int(given) / 1_000


async def _decide(handle: Handle, given: dict[str, Any], who: Principal) -> None:
    approval_id, approve, arguments = given["approvalId"], given.get("approve"), given.get("arguments")
    if not isinstance(approval_id, str) or not isinstance(approve, bool):
        raise ConfigError("a decision has an approvalId (a text) and approve (true or false)")
    comment = str(given.get("comment", ""))[:2_000]
    if approve:
        changed = None if arguments is None else json.dumps(arguments)
        await handle.approve(approval_id, who, arguments=changed, comment=comment)
    else:
        await handle.reject(approval_id, who, comment=comment)


class _Callers(DefaultServerCallContextBuilder):
    def build(self, request: Request) -> ServerCallContext:
        context = super().build(request)
        context.state["principal"] = principal(request)
        return context


def a2a_routes(agents: Sequence[Agent], services: Services) -> list[Route]:
    """Each agent has its card below its own address; the first one's is also where the whole host's is looked for."""
    routes = [Route(AGENT_CARD_WELL_KNOWN_PATH, _card(agents[0]))] if agents else []
    for agent in agents:
        base = f"/agents/{agent.spec.name}"
        routes.append(Route(f"{base}{AGENT_CARD_WELL_KNOWN_PATH}", _card(agent)))
        routes.append(Route(f"{base}/a2a", _calls(agent, services), methods=["POST"]))
    return routes


def _card(agent: Agent) -> Any:
    async def card(request: Request) -> Response:
        shown = shapes.card_of(agent.spec, str(request.base_url).rstrip("/"))
        return JSONResponse(agent_card_to_dict(shown), headers={"cache-control": "no-store"})

    return card


def _calls(agent: Agent, services: Services) -> Any:
    route = create_jsonrpc_routes(Tasks(agent, services), "/", _Callers(), enable_v0_3_compat=True)[0]

    async def call(request: Request) -> Response:
        principal(request)
        body = await body_of(request)

        async def again() -> Received:
            return {"type": "http.request", "body": body, "more_body": False}

        answer: Response = await route.endpoint(Request(request.scope, again))
        return answer

    return call
