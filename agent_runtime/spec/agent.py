"""The whole of an agent as one frozen value, loaded alike by whoever starts runs and whoever works on them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agent_runtime.contracts.errors import ConfigError
from agent_runtime.domain import limits as limit_rules
from agent_runtime.domain.limits import Limits, Mode
from agent_runtime.domain.plan import LoopPlan, ToolFacts
from agent_runtime.ports import Retriever, ToolCard
from agent_runtime.spec.hooks import Hook
from agent_runtime.tools.access import Authorizer, Policy, RequireAll
from agent_runtime.tools.tool import NAME, Tool

HISTORY_SIZE = 20
QUERY_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"query": {"type": "string", "description": "The whole task; the specialist sees nothing else."}},
    "required": ["query"],
    "additionalProperties": False,
}
KEY_LIKE = re.compile(r"\b(?:sk|gw|pk|rk|gsk|xai|ghp|AKIA)[-_]?[A-Za-z0-9]{4,}[A-Za-z0-9_-]{12,}")


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """How long-term memory is used: recalled before a run, stored by the tool `save_memory`."""

    recall: bool = True
    limit: int = 10
    score_min: float = 0.35
    save_tool: bool = True


@dataclass(frozen=True, slots=True)
class AgentSpec:
    name: str
    model: str
    instructions: str = ""
    description: str = ""
    tools: tuple[Tool, ...] = ()
    sub_agents: tuple["AgentSpec", ...] = ()
    mode: Mode = Mode.INTERACTIVE
    limits: Limits = field(default_factory=Limits)
    policy: Policy = field(default_factory=RequireAll)
    authorizers: tuple[Authorizer, ...] = ()
    approvers: tuple[str, ...] = ()
    sequential: bool = False
    output: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    hooks: tuple[Hook, ...] = ()
    retrievers: tuple[Retriever, ...] = ()
    retrieval: Literal["agentic", "prefetch", "hybrid"] = "agentic"
    memory: MemoryUse | None = None
    history_size: int = HISTORY_SIZE
    cheaper_model: str = ""
    version: str = "1"

    def __post_init__(self) -> None:
        found = list(problems(self))
        if found:
            raise ConfigError(f"agent {self.name!r}: " + "; ".join(found))

    @property
    def settled(self) -> Limits:
        return self.limits.settled(self.mode)

    def tool(self, name: str) -> Tool | None:
        return next((tool for tool in self.tools if tool.name == name), None)

    def below(self) -> Iterator["AgentSpec"]:
        """This agent and all under it."""
        yield self
        for one in self.sub_agents:
            yield from one.below()

    def cards(self) -> tuple[ToolCard, ...]:
        """The tools as the model sees them; sub-agents are tools too."""
        own = tuple(ToolCard(tool.name, tool.description, tool.schema) for tool in self.tools)
        return own + tuple(
            ToolCard(
                delegation(one.name),
                f"Delegate to specialist sub-agent: {one.description or one.name}",
                QUERY_SCHEMA,
            )
            for one in self.sub_agents
        )


def delegation(agent: str) -> str:
    """The name of the tool that hands a task to this agent."""
    return "subagent_" + re.sub(r"[^A-Za-z0-9]+", "_", agent)


def plan_of(spec: AgentSpec, fingerprint: str) -> LoopPlan:
    own = tuple(ToolFacts(tool.name, "tool", tool.exclusive, tool.idempotent, tool.timeout_s) for tool in spec.tools)
    others = tuple(ToolFacts(delegation(one.name), "agent", agent=one.name) for one in spec.sub_agents)
    hears = any("on_approval" in hook.points for hook in spec.hooks)
    return LoopPlan(
        spec.name, fingerprint, spec.settled, spec.mode, own + others, spec.sequential, spec.approvers, hears
    )


def problems(spec: AgentSpec) -> Iterator[str]:
    """Each names the field, the value and the remedy."""
    if not NAME.fullmatch(spec.name):
        yield f"name is {spec.name!r}; take 1 to 64 letters, digits, '_' or '-'"
    if not spec.model:
        yield "model is empty; name one that the gateway's GET /v1/models lists"
    if spec.history_size < 1:
        yield f"history_size is {spec.history_size!r}; give at least 1 message"
    if KEY_LIKE.search(spec.instructions):
        yield "instructions hold something that looks like a key; take it out and let a tool read it from env: or file:"
    yield from limit_rules.problems(spec.limits, spec.mode)
    yield from _cheaper(spec)
    yield from _names_twice(spec)
    yield from _tree(spec)


def _cheaper(spec: AgentSpec) -> Iterator[str]:
    degrades = spec.limits.on_budget == "degrade"
    if degrades and spec.cheaper_model in ("", spec.model):
        yield f"cheaper_model is {spec.cheaper_model!r}; name another model for limits.on_budget 'degrade'"
    if spec.cheaper_model and not degrades:
        yield f"cheaper_model is {spec.cheaper_model!r} and nothing would use it; set limits.on_budget to 'degrade'"


def _names_twice(spec: AgentSpec) -> Iterator[str]:
    names = [tool.name for tool in spec.tools] + [delegation(one.name) for one in spec.sub_agents]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"tools has {name!r} {names.count(name)} times; rename all but one"
    hooks = [hook.name for hook in spec.hooks]
    for name in sorted({name for name in hooks if hooks.count(name) > 1}):
        yield f"hooks has {name!r} {hooks.count(name)} times; rename all but one"


def _tree(spec: AgentSpec) -> Iterator[str]:
    stack: list[tuple[AgentSpec, tuple[str, ...]]] = [(one, (spec.name,)) for one in spec.sub_agents]
    seen: dict[str, AgentSpec] = {spec.name: spec}
    while stack:
        one, above = stack.pop()
        path = " > ".join((*above, one.name))
        if one.name in above:
            yield f"sub_agents make a cycle ({path}); take {one.name!r} out of {above[-1]!r}"
        elif seen.setdefault(one.name, one) != one:
            yield f"sub_agents has two different agents named {one.name!r}; rename one"
        if len(above) > spec.limits.depth_max:
            yield f"sub_agents go {len(above)} levels deep ({path}); raise limits.depth_max or flatten them"
        stack += [(lower, (*above, one.name)) for lower in one.sub_agents]
