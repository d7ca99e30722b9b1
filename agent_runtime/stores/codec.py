"""Stored values as JSON and back."""

import json

from pydantic import TypeAdapter

from agent_runtime.domain.shown import TERMINAL
from agent_runtime.domain.todo import Outcome, Shown
from agent_runtime.ports import RunEntry, Turn

TURN: TypeAdapter[Turn] = TypeAdapter(Turn)
ENTRY: TypeAdapter[RunEntry] = TypeAdapter(RunEntry)
OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)


def event_text(event: Shown) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def event_of(text: str) -> Shown:
    event: Shown = json.loads(text)
    return event


def ends(event: Shown) -> bool:
    return event["type"] in TERMINAL


def whose_key(tenant: str, user: str) -> str:
    """Lengths first: no tenant's name can make another's key."""
    return f"{len(tenant)}:{tenant}:{len(user)}:{user}"
