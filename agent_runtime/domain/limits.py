"""What a run may use, and whether these limits make sense together."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

APPROVAL_TIMEOUT_MAX_S = 31 * 86_400.0
APPROVAL_MARGIN_S = 30.0
OUTPUT_TOKENS = 4_096


class Mode(StrEnum):
    """Somebody waits for the answer, or nobody does."""

    INTERACTIVE = "interactive"
    AUTONOMOUS = "autonomous"


TIMEOUT_S = {Mode.INTERACTIVE: 300.0, Mode.AUTONOMOUS: 3_600.0}


@dataclass(frozen=True, slots=True)
class Limits:
    """None for a timeout means the default of the mode; for a budget it means none."""

    timeout_s: float | None = None
    approval_timeout_s: float | None = None
    iterations_max: int = 5
    extension_max: int = 0
    depth_max: int = 2
    delegations_max: int = 20
    fan_out_max: int = 5
    parallel_max: int = 8
    output_tokens: int = OUTPUT_TOKENS
    tokens_max: int | None = None
    nano_usd_max: int | None = None
    on_budget: Literal["stop", "approve", "degrade"] = "stop"
    top_ups_max: int = 5
    top_up_tokens: int = 50_000
    top_up_nano_usd: int = 1_000_000_000
    on_approval_timeout: Literal["skip", "fail"] = "skip"
    pause_while_asking: bool = False
    result_chars_max: int = 20_000

    def settled(self, mode: Mode) -> "Limits":
        """With the defaults of the mode in place of None."""
        timeout_s = TIMEOUT_S[mode] if self.timeout_s is None else self.timeout_s
        approval_s = self.approval_timeout_s
        if approval_s is None:
            approval_s = min(APPROVAL_TIMEOUT_MAX_S, max(1.0, timeout_s - APPROVAL_MARGIN_S))
        return replace(self, timeout_s=timeout_s, approval_timeout_s=approval_s)


POSITIVE = (
    "iterations_max",
    "fan_out_max",
    "parallel_max",
    "output_tokens",
    "result_chars_max",
    "top_up_tokens",
    "top_up_nano_usd",
)
NOT_NEGATIVE = ("extension_max", "depth_max", "delegations_max", "top_ups_max")
BUDGETS = ("tokens_max", "nano_usd_max")


def problems(limits: Limits, mode: Mode) -> list[str]:
    """Each names the field, the value and the remedy."""
    given = {name: getattr(limits, name) for name in (*POSITIVE, *NOT_NEGATIVE, *BUDGETS)}
    found = [f"limits.{name} is {given[name]!r}; give at least 1" for name in POSITIVE if given[name] < 1]
    found += [f"limits.{name} is {given[name]!r}; give 0 or more" for name in NOT_NEGATIVE if given[name] < 0]
    found += [
        f"limits.{name} is {given[name]!r}; give at least 1, or None for no budget"
        for name in BUDGETS
        if given[name] is not None and given[name] < 1
    ]
    return found + _timeouts(limits, mode)


def _timeouts(limits: Limits, mode: Mode) -> list[str]:
    timeout_s = TIMEOUT_S[mode] if limits.timeout_s is None else limits.timeout_s
    approval_s = limits.approval_timeout_s
    if timeout_s <= 0:
        return [f"limits.timeout_s is {timeout_s!r}; give more than 0 seconds"]
    if approval_s is None:
        return []
    if not 0 < approval_s <= APPROVAL_TIMEOUT_MAX_S:
        return [f"limits.approval_timeout_s is {approval_s!r}; give more than 0 seconds and at most 31 days"]
    if approval_s >= timeout_s and not limits.pause_while_asking:
        return [
            f"limits.approval_timeout_s is {approval_s!r}, not less than limits.timeout_s ({timeout_s!r}); "
            "shorten it, or set limits.pause_while_asking"
        ]
    return []
