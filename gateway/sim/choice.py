"""Which behaviour of the script a request gets."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import msgspec

from gateway.sim.fault import Fault, Reset, Stall, Status, Truncate
from gateway.sim.script import Answer, Behaviour, Pace, Rule, Script, ToolCall, When, fits, within


@dataclass(frozen=True, slots=True)
class Facts:
    """What rules may look at."""

    path: str
    model: str
    key: str
    headers: Mapping[str, str]
    says: str
    stream: bool
    connection_request: int
    elapsed_s: float


@dataclass(slots=True)
class Progress:
    """How many requests each rule has seen; reset with the script."""

    seen: dict[int, int] = field(default_factory=dict)

    def next(self, place: int) -> int:
        number = self.seen.get(place, 0) + 1
        self.seen[place] = number
        return number


def choose(script: Script, progress: Progress, facts: Facts) -> Behaviour:
    """The first rule that takes the request, else the model name's wish, else `otherwise`."""
    for place, rule in enumerate(script.rules):
        if not (isinstance(rule.fault, Reset) and rule.fault.at == "accept") and _takes(script, place, progress, facts):
            return rule
    if facts.model.startswith("sim-"):
        return _steered(facts.model, script.otherwise)
    return script.otherwise


def choose_at_accept(script: Script, progress: Progress, elapsed_s: float) -> Rule | None:
    """The rule that ends a connection before it says anything; its `requests` counts connections."""
    facts = Facts("", "", "", {}, "", False, 0, elapsed_s)
    for place, rule in enumerate(script.rules):
        at_accept = isinstance(rule.fault, Reset) and rule.fault.at == "accept"
        if at_accept and _takes(script, place, progress, facts):
            return rule
    return None


def _takes(script: Script, place: int, progress: Progress, facts: Facts) -> bool:
    when = script.rules[place].when
    if not _describes(when, facts):
        return False
    number = progress.next(place)
    if when.requests is not None and not within(number, when.requests):
        return False
    if when.every is not None and number % when.every:
        return False
    return when.chance is None or random.Random(f"{script.seed}:{place}:{number}").random() < when.chance


def _describes(when: When, facts: Facts) -> bool:
    return (
        fits(bare(facts.path), when.path if when.path is None else bare(when.path))
        and fits(facts.model, when.model)
        and fits(facts.key, when.key)
        and fits(facts.says, when.says)
        and (when.stream is None or when.stream == facts.stream)
        and (when.after_s is None or facts.elapsed_s >= when.after_s)
        and (when.until_s is None or facts.elapsed_s < when.until_s)
        and (when.connection_requests is None or within(facts.connection_request, when.connection_requests))
        and all(fits(facts.headers.get(name.lower(), ""), pattern) for name, pattern in when.headers.items())
    )


def bare(path: str) -> str:
    """The path without the `/v1`, `/v1beta` or `/openai/v1` that clients may or may not send."""
    for base in ("/v1", "/v1beta", "/openai/v1"):
        if path.startswith(f"{base}/"):
            return path[len(base) :]
    return path


STEERS: Final = (
    "chars",
    "events",
    "ttftms",
    "eventms",
    "status",
    "stall",
    "truncate",
    "reset",
    "tool",
    "cached",
    "reasoning",
)
"""Words of a model name `sim-WORD-NUMBER-…`, e.g. `sim-chars-2000-events-50-eventms-20` or `sim-status-429`."""


def _steered(model: str, behaviour: Behaviour) -> Behaviour:
    parts = model.split("-")[1:]
    wish = {word: int(number) for word, number in pairwise(parts) if word in STEERS and number.isdigit()}
    if not wish:
        return behaviour
    answer, pace = behaviour.answer, behaviour.pace
    return msgspec.structs.replace(
        behaviour,
        answer=_steered_answer(answer, wish),
        pace=_steered_pace(pace, wish),
        fault=_steered_fault(wish) or behaviour.fault,
    )


def _steered_answer(answer: Answer, wish: Mapping[str, int]) -> Answer:
    return msgspec.structs.replace(
        answer,
        text_chars=wish.get("chars", answer.text_chars),
        events=max(1, wish["events"]) if "events" in wish else answer.events,
        cached_tokens=wish.get("cached", answer.cached_tokens),
        reasoning_tokens=wish.get("reasoning", answer.reasoning_tokens),
        tool_calls=tuple(ToolCall("", {}) for _ in range(min(wish["tool"], 16)))
        if "tool" in wish
        else answer.tool_calls,
    )


def _steered_pace(pace: Pace, wish: Mapping[str, int]) -> Pace:
    return msgspec.structs.replace(
        pace,
        first_event_s=wish["ttftms"] / 1000 if "ttftms" in wish else pace.first_event_s,
        event_s=wish["eventms"] / 1000 if "eventms" in wish else pace.event_s,
    )


def _steered_fault(wish: Mapping[str, int]) -> Fault | None:
    if "status" in wish:
        return Status(wish["status"])
    if "stall" in wish:
        return Stall(wish["stall"])
    if "truncate" in wish:
        return Truncate(wish["truncate"])
    if "reset" in wish:
        return Reset()
    return None
