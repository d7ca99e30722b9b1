"""Runs one tool call: once, unless the tool may be repeated."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

from agent_runtime.contracts.errors import GuardrailViolation, ToolError
from agent_runtime.desk.services import Services
from agent_runtime.domain.happened import ToolDone
from agent_runtime.domain.todo import RunTool
from agent_runtime.domain.values import RunRef
from agent_runtime.spec.agent import AgentSpec
from agent_runtime.spec.hooks import HookContext, consult
from agent_runtime.spec.knowledge import RETRIEVER, SAVE_MEMORY
from agent_runtime.tools.tool import Tool, ToolContext

ATTEMPTS_MAX = 3
FIRST_WAIT_S = 1.0


class Bench:
    def __init__(self, spec: AgentSpec, services: Services) -> None:
        self._spec = spec
        self._services = services

    async def act(self, ref: RunRef, todo: RunTool) -> ToolDone:
        tool = self._spec.tool(todo.name)
        clock, runs = self._services.clock, self._services.runs
        if tool is None:
            return ToolDone(todo.call_id, f"There is no tool {todo.name!r}.", failed=True, at_s=clock.now_s())
        place, same = f"{todo.turn}:{todo.place}", f"{todo.name}:{_digest(todo.arguments)}"
        kept = await runs.result_of_call(ref.run_id, place)
        if kept is None and ref.retry_of is not None:
            kept = await runs.result_of_call(ref.retry_of, same)
        if kept is not None:
            return ToolDone(todo.call_id, kept, at_s=clock.now_s())
        started_s = clock.now_s()
        with self._services.recorder.span("tool.execute", ref, tool=tool.name):
            done = await self._hooked(ref, todo, tool)
        self._measure(ref, tool, clock.now_s() - started_s, failed=done.failed)
        if not done.failed and done.fatal is None:
            await runs.keep_result(ref.run_id, place, done.text)
            await runs.keep_result(ref.run_id, same, done.text)
        return done

    def _measure(self, ref: RunRef, tool: Tool, duration_s: float, *, failed: bool) -> None:
        """The runtime's own tools have metrics of their own besides."""
        recorder = self._services.recorder
        recorder.tool_call(ref, tool.name, duration_s, "failed" if failed else None)
        kind, _, name = tool.origin.partition(":")
        if kind == RETRIEVER:
            recorder.knowledge_call("retriever", duration_s, failed=failed, agent=ref.agent, retriever=name)
        elif tool.name == SAVE_MEMORY:
            recorder.knowledge_call("memory.store", duration_s, failed=failed, agent=ref.agent)

    async def _hooked(self, ref: RunRef, todo: RunTool, tool: Tool) -> ToolDone:
        about = HookContext(ref, todo.turn, tool.name, untrusted=bool(tool.origin))
        at_s = self._services.clock.now_s
        try:
            arguments, instead = await consult(self._spec.hooks, "before_tool", json.loads(todo.arguments), about)
            if instead is not None:
                return ToolDone(todo.call_id, text_of(instead.value), at_s=at_s())
            if (why := tool.arguments.problem(arguments)) is not None:
                return ToolDone(
                    todo.call_id, f"Not run: a hook left arguments that do not fit. {why}", True, at_s=at_s()
                )
            key = hashlib.sha256(f"{ref.run_id}:{todo.turn}:{todo.place}".encode()).hexdigest()[:32]
            context = ToolContext(ref, todo.call_id, key, self._services.memory)
            text = text_of(await self._attempts(tool, arguments, context))
            text, _ = await consult(self._spec.hooks, "after_tool", text, about)
        except GuardrailViolation as error:
            return ToolDone(todo.call_id, "", True, error.to_failure(), at_s())
        except ToolError as error:
            fatal = error.to_failure() if error.fatal else None
            return ToolDone(todo.call_id, f"Tool execution failed: {error.message}", True, fatal, at_s())
        except TimeoutError:
            text = f"Tool execution failed: no result within {tool.timeout_s:g} s."
            return ToolDone(todo.call_id, text, True, at_s=at_s())
        except Exception as error:  # noqa: BLE001 - the model reads it and goes on
            text = f"Tool execution failed: {type(error).__name__}: {error}"
            return ToolDone(todo.call_id, text, True, at_s=at_s())
        return ToolDone(todo.call_id, text, at_s=at_s())

    async def _attempts(self, tool: Tool, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        """Only what is declared idempotent is run again."""
        attempts_max = ATTEMPTS_MAX if tool.idempotent else 1
        for attempt in range(1, attempts_max + 1):
            try:
                async with asyncio.timeout(tool.timeout_s):
                    return await tool.run(arguments, context)
            except Exception as error:
                if attempt == attempts_max or (isinstance(error, ToolError) and error.fatal):
                    raise
                await self._services.clock.sleep_s(FIRST_WAIT_S * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")


def text_of(result: Any) -> str:
    """What the model reads: a text as it is, anything else as JSON."""
    match result:
        case None:
            return "Done."
        case str():
            return result
        case BaseModel():
            return result.model_dump_json()
        case _:
            return to_json(result, fallback=str).decode()


def _digest(arguments: str) -> str:
    return hashlib.sha256(arguments.encode()).hexdigest()
