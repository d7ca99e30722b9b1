"""What the loop has to know about its agent."""

from dataclasses import dataclass
from typing import Literal

from agent_runtime.domain.limits import Limits, Mode

ToolKind = Literal["tool", "agent"]


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """`agent` is the sub-agent that a delegation goes to."""

    name: str
    kind: ToolKind = "tool"
    exclusive: bool = False
    agent: str = ""


@dataclass(frozen=True, slots=True)
class LoopPlan:
    agent: str
    fingerprint: str
    limits: Limits
    mode: Mode = Mode.INTERACTIVE
    tools: tuple[ToolFacts, ...] = ()
    sequential: bool = False
    approvers: tuple[str, ...] = ()

    def tool(self, name: str) -> ToolFacts | None:
        return next((tool for tool in self.tools if tool.name == name), None)
