"""Agents that worker processes of the tests load."""

from typing import Any

from agent_runtime.api import Agent
from agent_runtime.domain.limits import Limits
from agent_runtime.domain.values import Message
from agent_runtime.spec.hooks import Hook, HookContext, Modify
from agent_runtime.tools.access import AutoApprove
from agent_runtime.tools.tool import tool

TURNS = 20


@tool(risk="read", idempotent=True)
async def look(city: str) -> str:
    """Look at a city."""
    return f"{city} is there"


def go_on(messages: Any, about: HookContext) -> Modify:
    """The simulator calls no tool behind a tool's result; the turn in the text makes each request another one."""
    return Modify((*messages, Message("user", f"go on after {about.turn}")))


agent = Agent(
    "looper",
    model="looper",
    instructions="Loop.",
    tools=[look],
    policy=AutoApprove(),
    limits=Limits(iterations_max=TURNS - 1, output_tokens=100),
    hooks=[Hook("go_on", {"before_llm": go_on})],
)


@tool(risk="dangerous")
async def erase(path: str) -> str:
    """Erase a file."""
    return f"erased {path}"


asker = Agent(
    "asker",
    model="eraser",
    instructions="Erase.",
    tools=[erase],
    approvers=["lead"],
    limits=Limits(output_tokens=100, timeout_s=120),
)
