"""Agents and tools that the tests of both drivers play with."""

import asyncio
from typing import Any

from agent_runtime.api import Agent, Handle
from agent_runtime.connectors.scripted import Line, ScriptedLLM
from agent_runtime.contracts.errors import ToolError
from agent_runtime.domain.approval import Approval
from agent_runtime.domain.values import Principal
from agent_runtime.stores.clock import SystemClock
from agent_runtime.tools.access import AutoApprove
from agent_runtime.tools.tool import Tool, ToolContext, tool

ANN = Principal("acme", "ann")
BOSS = Principal("acme", "boss", ("lead",))


def calls(*names: str, **arguments: Any) -> Line:
    return Line(calls=tuple((name, arguments) for name in names))


class Props:
    """Tools that remember how they were used."""

    def __init__(self) -> None:
        self.used: list[str] = []
        self.keys: list[str] = []
        self.running = 0
        self.running_max = 0
        self.fail_times = 0

    def tools(self) -> list[Tool]:
        @tool(risk="read", idempotent=True)
        async def look(city: str = "Paris") -> dict[str, str]:
            """Look at a city."""
            self.used.append(f"look {city}")
            return {"city": city}

        @tool(risk="dangerous")
        async def delete(path: str) -> str:
            """Delete a file."""
            self.used.append(f"delete {path}")
            return "deleted"

        @tool
        async def breaks() -> str:
            """Fails."""
            self.used.append("breaks")
            raise ToolError("it is broken")

        @tool(idempotent=True)
        async def flaky(context: ToolContext) -> str:
            """Works after some failures."""
            self.used.append("flaky")
            self.keys.append(context.idempotency_key)
            if self.fail_times > 0:
                self.fail_times -= 1
                raise OSError("away")
            return "at last"

        @tool
        async def slow() -> str:
            """Takes as long as others run."""
            self.running += 1
            self.running_max = max(self.running_max, self.running)
            for _ in range(20):
                await asyncio.sleep(0)
            self.running -= 1
            return "slow"

        @tool(exclusive=True)
        async def alone() -> str:
            """Runs by itself."""
            self.used.append(f"alone {self.running}")
            return "alone"

        @tool
        async def forever() -> str:
            """Never ends."""
            await asyncio.Event().wait()
            return ""

        return [look, delete, breaks, flaky, slow, alone, forever]


class Moving(SystemClock):
    """Time passes when a test says so, too."""

    passed_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.passed_s


def agent(script: list[Line], props: Props | None = None, **facts: Any) -> Agent:
    """Approves everything by itself unless `policy` says otherwise."""
    facts.setdefault("policy", AutoApprove())
    facts.setdefault("principal", ANN)
    facts.setdefault("tools", (props or Props()).tools())
    name = facts.pop("name", "main")
    scripts = {name: script, **facts.pop("scripts", {})}
    return Agent(name, ScriptedLLM(scripts), "Be brief.", **facts)


def asked(one: Agent) -> Any:
    """What the scripted model was asked."""
    assert one.services is not None
    llm: Any = one.services.llm
    return llm.asked


async def approval_of(handle: Handle) -> Approval:
    async for _, event in handle.events():
        if event["type"] == "CUSTOM":
            return (await handle.status()).pending_approvals[0]
    raise AssertionError("nobody was asked")
