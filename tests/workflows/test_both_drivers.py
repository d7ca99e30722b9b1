"""The same scripts in this process and on Temporal: the same transcripts, usage and ends."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_runtime.api import Agent, sqlite_services
from agent_runtime.connectors.scripted import Line, ScriptedLLM
from agent_runtime.contracts.errors import ToolError
from agent_runtime.domain.approval import Approval
from agent_runtime.domain.limits import Limits
from agent_runtime.domain.todo import Outcome
from agent_runtime.domain.values import Failure
from agent_runtime.tools.access import Allowed, AllowList, Denied, Use
from agent_runtime.tools.tool import Tool, tool
from tests.agent_runtime.cast import ANN
from tests.conftest import SEED
from tests.workflows.conftest import Stage

SCRIPTS = 200
AT_ONCE = 12
NAMES = ["look", "look", "write", "breaks", "alone", "nobody", "subagent_kid"]


def not_every_number(use: Use) -> Any:
    if use.arguments.get("number", 0) % 7 == 3:
        return Denied("not this number")
    return Allowed()


def tools() -> list[Tool]:
    @tool(risk="read", idempotent=True, authorizers=(not_every_number,))
    async def look(number: int) -> dict[str, int]:
        """Look."""
        return {"seen": number}

    @tool(risk="dangerous")
    async def write(number: int) -> str:
        """Write."""
        return f"wrote {number}"

    @tool
    async def breaks(number: int) -> str:
        """Breaks."""
        raise ToolError(f"cannot {number}")

    @tool(exclusive=True)
    async def alone(number: int) -> str:
        """Alone."""
        return f"alone {number}"

    return [look, write, breaks, alone]


def generated(dice: random.Random, *, depth: int) -> list[Line]:
    """Some rounds of calls, some of which are nonsense; at the end an answer, or a failure."""
    lines = []
    for _ in range(dice.randrange(4)):
        calls = []
        for _ in range(dice.randrange(1, 4)):
            name = dice.choice(NAMES[: len(NAMES) - depth])
            number = dice.randrange(50)
            arguments: dict[str, Any] = {"query": f"do {number}"} if name == "subagent_kid" else {"number": number}
            if dice.random() < 0.1:
                arguments = {"number": "many"}
            calls.append((name, arguments))
        lines.append(Line(dice.choice(["", "let me see"]), tuple(calls)))
    if dice.random() < 0.1:
        kind, category = dice.choice([("upstream_failed", "provider"), ("budget_exceeded", "denied")])
        return [*lines, Line(fails=Failure(kind, "it failed", category))]  # type: ignore[arg-type]
    return [*lines, Line(f"answer {dice.randrange(100)}")]


def decided(approval: Approval) -> bool:
    """By what is asked alone, so that it does not matter who is asked first."""
    return sum(map(ord, approval.name + approval.arguments)) % 3 > 0


def agent(script: dict[str, list[Line]], sequential: bool, services: Any) -> Agent:
    policy = AllowList("look", "breaks", "alone")
    kid = Agent("kid", tools=tools(), policy=policy)
    limits = Limits(iterations_max=3, delegations_max=2, timeout_s=120, tokens_max=7_500)
    facts: dict[str, Any] = {"sub_agents": [kid], "policy": policy, "limits": limits, "principal": ANN}
    llm = ScriptedLLM(script)
    return Agent("main", None, "Go.", services=services(llm), tools=tools(), sequential=sequential, **facts)


def comparable(outcome: Outcome) -> dict[str, Any]:
    """Everything but ids and times."""
    return {
        "reason": outcome.finish_reason,
        "text": outcome.text,
        "failure": outcome.failure,
        "messages": outcome.messages,
        "usage": (outcome.usage, outcome.total, outcome.by_agent),
        "counts": (outcome.tool_calls, outcome.tool_failures, outcome.delegations),
        "approvals": sorted((one.approval.name, one.approval.arguments, one.outcome) for one in outcome.approvals),
    }


@pytest.mark.timeout(300)
async def test_generated_scripts_end_alike_on_both_drivers(stage: Stage, tmp_path: Path) -> None:
    dice = random.Random(SEED)
    scripts = [
        ({"main": generated(dice, depth=0), "kid": generated(dice, depth=1)}, dice.random() < 0.3)
        for _ in range(SCRIPTS)
    ]
    inline: list[Outcome] = []
    for script, sequential in scripts:
        one = agent(script, sequential, lambda llm: sqlite_services(llm, tmp_path / "inline.db"))
        inline.append((await one.try_run(f"go {len(inline)}", on_approval=decided)).outcome)
    durable = await on_temporal(stage, scripts)
    for number, (one_end, other_end) in enumerate(zip(inline, durable, strict=True)):
        assert comparable(other_end) == comparable(one_end), f"script {number} of seed {SEED}"
    reasons = {end.finish_reason for end in inline}
    assert {"complete", "max_iterations", "failed", "budget_exceeded"} <= reasons
    assert any(end.delegations for end in inline)
    assert {record.outcome for end in inline for record in end.approvals} == {"approved", "rejected"}


class Dispatch:
    """Each run of one agent has its own script, told by its input."""

    def __init__(self, scripts: list[tuple[dict[str, list[Line]], bool]]) -> None:
        self._models = [ScriptedLLM(script) for script, _ in scripts]
        self._of_root: dict[str, int] = {}

    async def complete(self, ask: Any, heard: Any = None) -> Any:
        root = ask.ref.root_run_id
        if root not in self._of_root:
            first = next(message.text for message in ask.messages if message.role == "user")
            self._of_root[root] = int(first.split()[-1])
        return await self._models[self._of_root[root]].complete(ask, heard)


async def on_temporal(stage: Stage, scripts: list[tuple[dict[str, list[Line]], bool]]) -> list[Outcome]:
    """All of them with two sets of workers: those that work in parallel and those that do not."""
    model = Dispatch(scripts)
    free = asyncio.Semaphore(AT_ONCE)
    ends: dict[int, Outcome] = {}

    async def play(one: Agent, number: int) -> None:
        async with free:
            ends[number] = (await one.try_run(f"go {number}", on_approval=decided)).outcome

    for sequential in (False, True):
        one = agent({}, sequential, stage.services)
        assert one.services is not None
        one.services = replace(one.services, llm=model)
        async with stage.playing(one), asyncio.TaskGroup() as group:
            for number, (_, other) in enumerate(scripts):
                if other == sequential:
                    group.create_task(play(one, number))
    return [ends[number] for number in range(len(scripts))]
