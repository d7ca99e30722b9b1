"""The agents of a benchmark: a scripted model that takes its time, mock tools, a tree of sub-agents."""

import random
from collections.abc import Mapping
from typing import Any

from agent_runtime.api.agent import Agent
from agent_runtime.connectors.scripted import Line, ScriptedLLM
from agent_runtime.domain.limits import Limits
from agent_runtime.domain.values import Principal, Usage
from agent_runtime.evaluation.plan import Plan
from agent_runtime.ports import Answer, Ask, Clock, Heard
from agent_runtime.spec.agent import delegation
from agent_runtime.tools.access import AutoApprove
from agent_runtime.tools.tool import Tool, ToolContext, schema_tool

SCHEMA: Mapping[str, Any] = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
INPUT_SHARE = 0.6
EVALUATOR = Principal("evaluation", "harness")


class SlowLLM:
    """Implements ports.LLM: a scripted one behind a latency."""

    def __init__(self, inner: ScriptedLLM, plan: Plan, clock: Clock) -> None:
        self._inner = inner
        self._plan = plan
        self._clock = clock
        self._dice = random.Random(plan.seed)
        self.calls = 0

    async def complete(self, ask: Ask, heard: Heard | None = None) -> Answer:
        self.calls += 1
        llm = self._plan.llm
        await self._clock.sleep_s(max(0.0, llm.latency_ms + self._dice.uniform(-1, 1) * llm.jitter_ms) / 1000)
        return await self._inner.complete(ask, heard)


def usage_of(plan: Plan) -> Usage:
    given = int(plan.llm.mock_tokens * INPUT_SHARE)
    return Usage(1, given, plan.llm.mock_tokens - given, int(given * plan.llm.cached_share))


def script_of(plan: Plan) -> dict[str, list[Line]]:
    """Two turns for each agent: all its tools and sub-agents, then the answer."""
    usage = usage_of(plan)
    scripts: dict[str, list[Line]] = {}
    for name, below in _tree(plan).items():
        calls: list[tuple[str, Mapping[str, Any]]] = [
            (f"mock_tool_{number}", {"number": number}) for number in range(plan.agent.tools.count)
        ]
        calls += [(delegation(one), {"query": f"do your part, {one}"}) for one in below]
        scripts[name] = [Line("", tuple(calls), usage), Line("eval complete", (), usage)]
    return scripts


def _tree(plan: Plan) -> dict[str, list[str]]:
    """Each agent with those below it."""
    tree: dict[str, list[str]] = {"eval-agent": []}
    level = ["eval-agent"]
    for _ in range(plan.agent.subagents.levels if plan.agent.subagents.count else 0):
        made = {name: [f"{name}-{number}" for number in range(plan.agent.subagents.count)] for name in level}
        for name, below in made.items():
            tree[name] = below
            tree.update({one: [] for one in below})
        level = [one for below in made.values() for one in below]
    return tree


def tools_of(plan: Plan, clock: Clock) -> list[Tool]:
    dice = random.Random(plan.seed)

    async def run(given: Mapping[str, Any], context: ToolContext) -> str:
        del context
        await clock.sleep_s(max(0.0, plan.tool.latency_ms + dice.uniform(-1, 1) * plan.tool.jitter_ms) / 1000)
        return f"result of {given['number']}"

    return [
        schema_tool(f"mock_tool_{number}", f"Mock tool {number}.", SCHEMA, run, idempotent=True)
        for number in range(plan.agent.tools.count)
    ]


def agent_of(plan: Plan, services: Any) -> Agent:
    tools, tree = tools_of(plan, services.clock), _tree(plan)
    limits = Limits(depth_max=5, delegations_max=100, fan_out_max=10)

    def made(name: str) -> Agent:
        return Agent(
            name,
            model="assistant" if plan.gateway is None else plan.gateway.model,
            instructions="You are an evaluation agent.",
            services=services if name == "eval-agent" else None,
            principal=EVALUATOR,
            tools=tools,
            sub_agents=[made(one) for one in tree[name]],
            sequential=plan.agent.tools.execution == "sequential",
            policy=AutoApprove(),
            limits=limits,
        )

    return made("eval-agent")
