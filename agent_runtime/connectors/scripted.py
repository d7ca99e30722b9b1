"""A model that does what a script says, for tests, evaluations and benchmarks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent_runtime.domain.values import Call, Failure, Message, Usage
from agent_runtime.ports import Answer, Ask, Heard, LLMTrouble

PIECE_CHARS = 7


@dataclass(frozen=True, slots=True)
class Line:
    """One turn: a text, calls (name and arguments), or a failure."""

    text: str = ""
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    usage: Usage = field(default_factory=lambda: Usage(1, 600, 400, 0, 0, 1_000))
    fails: Failure | None = None


class ScriptedLLM:
    """Implements ports.LLM. Which line is said depends on the agent and the turn alone, so that a repetition gets
    the same; without tools only the text of a line is said, and after the last line the last one again.
    """

    def __init__(self, script: Mapping[str, Sequence[Line]]) -> None:
        self._script = script
        self.asked: list[Ask] = []

    async def complete(self, ask: Ask, heard: Heard | None = None) -> Answer:
        self.asked.append(ask)
        lines = self._script[ask.ref.agent]
        line = lines[min(ask.turn, len(lines)) - 1]
        if line.fails is not None:
            raise LLMTrouble(line.fails)
        calls = line.calls if ask.tools else ()
        text = line.text or ("" if calls else f"answer of turn {ask.turn}")
        if heard is not None:
            for at in range(0, len(text), PIECE_CHARS):
                await heard(text[at : at + PIECE_CHARS])
        called = tuple(
            Call(f"c{ask.turn}-{place}", name, json.dumps(given)) for place, (name, given) in enumerate(calls)
        )
        return Answer(Message("assistant", text, called), line.usage, "tool_calls" if called else "stop", "scripted")
