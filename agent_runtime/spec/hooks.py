"""Hooks: code of the operator's at fixed points of a run, with a verdict each."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from agent_runtime.contracts.errors import GuardrailViolation
from agent_runtime.domain.values import RunRef

Point = Literal[
    "before_run",
    "before_llm",
    "after_llm",
    "before_tool",
    "after_tool",
    "before_retrieve",
    "after_retrieve",
    "before_memory_load",
    "after_memory_load",
    "before_memory_store",
    "after_memory_store",
    "on_budget_exceeded",
    "on_max_iterations",
    "on_approval",
    "after_run",
]


@dataclass(frozen=True, slots=True)
class HookContext:
    ref: RunRef
    turn: int = 0
    tool: str = ""
    untrusted: bool = False


@dataclass(frozen=True, slots=True)
class Modify:
    """Go on with this value instead."""

    value: Any


@dataclass(frozen=True, slots=True)
class Block:
    """End the run; it is not tried again."""

    reason: str


@dataclass(frozen=True, slots=True)
class ShortCircuit:
    """Do not ask the model (or the tool): this is the answer."""

    value: Any


Verdict = Modify | Block | ShortCircuit | None
"""None allows."""
Handler = Callable[[Any, HookContext], Verdict | Awaitable[Verdict]]
Span = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class StreamGuard:
    """Holds back the last characters of a stream, so that what spans two pieces is still found.

    `find` gives what has to be replaced; with `block`, anything found ends the run.
    """

    find: Callable[[str], list[Span]]
    hold_chars: int = 128
    block: bool = False


@dataclass(frozen=True, slots=True)
class Hook:
    """`version` is part of the fingerprint: raise it when the code behind it changes."""

    name: str
    points: Mapping[Point, Handler] = field(default_factory=dict)
    version: str = "1"
    stream: StreamGuard | None = None


async def consult(
    hooks: Sequence[Hook], point: Point, value: Any, about: HookContext
) -> tuple[Any, ShortCircuit | None]:
    """In order, each sees what the one before made of it. One that fails blocks."""
    for hook in hooks:
        handler = hook.points.get(point)
        if handler is None:
            continue
        try:
            verdict = handler(value, about)
            if inspect.isawaitable(verdict):
                verdict = await verdict
        except Exception as error:
            name = type(error).__name__
            raise GuardrailViolation(f"hook {hook.name!r} failed at {point} ({name})", ref=about.ref) from error
        match verdict:
            case Modify(changed):
                value = changed
            case Block(reason):
                raise GuardrailViolation(f"hook {hook.name!r} blocked at {point}: {reason}", ref=about.ref)
            case ShortCircuit():
                return value, verdict
            case None:
                pass
    return value, None


class HoldBack:
    """A stream of text on its way out through the guards."""

    def __init__(self, guards: Sequence[StreamGuard], ref: RunRef) -> None:
        self._guards = guards
        self._ref = ref
        self._held = ""
        self._hold_chars = max((guard.hold_chars for guard in guards), default=0)

    def push(self, piece: str) -> str:
        self._held += piece
        return self._release(len(self._held) - self._hold_chars)

    def end(self) -> str:
        return self._release(len(self._held))

    def _release(self, cut: int) -> str:
        spans = self._spans()
        for start, end, _ in spans:
            if start < cut < end:
                cut = start
        if cut <= 0:
            return ""
        out, at = [], 0
        for start, end, instead in spans:
            if start >= at and end <= cut:
                out += [self._held[at:start], instead]
                at = end
        out.append(self._held[at:cut])
        self._held = self._held[cut:]
        return "".join(out)

    def _spans(self) -> list[Span]:
        found: list[Span] = []
        for guard in self._guards:
            spans = guard.find(self._held)
            if spans and guard.block:
                raise GuardrailViolation("the answer was stopped by an output guardrail", ref=self._ref)
            found += spans
        return sorted(found)
