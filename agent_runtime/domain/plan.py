"""What the loop has to know about its agent."""

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from agent_runtime.domain.limits import Limits, Mode

T = TypeVar("T", int, float)
ToolKind = Literal["tool", "agent"]


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """`agent` is the sub-agent that a delegation goes to."""

    name: str
    kind: ToolKind = "tool"
    exclusive: bool = False
    idempotent: bool = False
    timeout_s: float = 0.0
    agent: str = ""


@dataclass(frozen=True, slots=True)
class LoopPlan:
    """`hears_approvals`: a hook wants to know when a person is asked."""

    agent: str
    fingerprint: str
    limits: Limits
    mode: Mode = Mode.INTERACTIVE
    tools: tuple[ToolFacts, ...] = ()
    sequential: bool = False
    approvers: tuple[str, ...] = ()
    hears_approvals: bool = False

    def tool(self, name: str) -> ToolFacts | None:
        return next((tool for tool in self.tools if tool.name == name), None)


def inherited(plan: LoopPlan, parent: LoopPlan, tokens_left: int | None, nano_usd_left: int | None) -> LoopPlan:
    """The plan of a child run: never more than its parent has left, and in its parent's way."""
    limits = replace(
        plan.limits,
        tokens_max=_least(plan.limits.tokens_max, tokens_left),
        nano_usd_max=_least(plan.limits.nano_usd_max, nano_usd_left),
        depth_max=parent.limits.depth_max,
        timeout_s=_least(plan.limits.timeout_s, parent.limits.timeout_s),
    )
    return replace(plan, limits=limits, mode=parent.mode, sequential=parent.sequential)


def _least(one: T | None, other: T | None) -> T | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
