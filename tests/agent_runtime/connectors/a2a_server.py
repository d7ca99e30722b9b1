"""An agent made with a2a-sdk alone, on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from a2a.helpers.proto_helpers import new_task_from_user_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Message, Part
from starlette.applications import Starlette

from agent_runtime.cli.running import listening
from tests.ports import free_port


class Clerk(AgentExecutor):
    """Does what the first word of the message says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Message] = []
        self.headers: list[dict[str, str]] = []
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        self.asked.append(context.message)
        self.headers.append(context.call_context.state["headers"])
        task = context.current_task or new_task_from_user_message(context.message)
        if context.current_task is None:
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.start_work()
        self.begun.set()
        await self._do(context.get_user_input(), updater)

    async def _do(self, text: str, updater: TaskUpdater) -> None:
        word, _, rest = text.partition(" ")
        match word:
            case "echo":
                await updater.add_artifact([Part(text=rest)])
                await updater.complete()
            case "long":
                await updater.add_artifact([Part(text="x" * int(rest))])
                await updater.complete()
            case "fail":
                await updater.failed(updater.new_agent_message([Part(text=rest)]))
            case "ask":
                await updater.requires_input(updater.new_agent_message([Part(text="which city?")]))
            case _:
                await asyncio.Event().wait()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.task_id is not None
        await TaskUpdater(event_queue, context.task_id, context.context_id or "").cancel()
        self.cancelled.set()


class Office:
    def __init__(self, clerk: Clerk, url: str) -> None:
        self.clerk = clerk
        self.url = url


def card(url: str, **changes: Any) -> AgentCard:
    facts: dict[str, Any] = {
        "name": "clerk",
        "description": "Does errands.",
        "version": "1",
        "supported_interfaces": [AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0")],
        "capabilities": AgentCapabilities(streaming=True),
        "default_input_modes": ["text/plain"],
        "default_output_modes": ["text/plain"],
        "skills": [
            AgentSkill(id="errand", name="Errand", description="Does an errand.", tags=["errand"]),
            AgentSkill(id="gossip", name="Gossip", description="Tells tales.", tags=["gossip"]),
        ],
    }
    return AgentCard(**{**facts, **changes})


@asynccontextmanager
async def office(**changes: Any) -> AsyncIterator[Office]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    clerk, shown = Clerk(), card(f"{url}/rpc", **changes)
    handler = DefaultRequestHandler(clerk, InMemoryTaskStore(), shown)
    routes = [*create_agent_card_routes(shown), *create_jsonrpc_routes(handler, "/rpc")]
    stop = await listening(Starlette(routes=routes), "127.0.0.1", port)
    try:
        yield Office(clerk, url)
    finally:
        await handler.aclose()
        await stop()
