"""How much a load needs: calls, tokens and places, held against what there is."""

import math
from dataclasses import dataclass

HOUR_S = 3_600.0
HEADROOM = 0.8
"""Nothing is planned to be fuller than this."""


@dataclass(frozen=True, slots=True)
class Load:
    runs_per_hour: float
    llm_calls_per_run: float
    tokens_per_call: float
    seconds_per_call: float
    seconds_per_run: float


@dataclass(frozen=True, slots=True)
class Quota:
    requests_per_minute: float
    tokens_per_minute: float
    llm_slots_per_worker: int = 100
    runs_per_worker: int = 200


@dataclass(frozen=True, slots=True)
class Sizing:
    requests_per_minute: float
    tokens_per_minute: float
    concurrent_calls: float
    concurrent_runs: float
    workers: int
    used_share: float
    fits: bool
    runs_per_hour_max: float


def sizing(load: Load, quota: Quota) -> Sizing:
    """Little's law: what is under way at once is what comes in times how long it stays."""
    calls_per_s = load.runs_per_hour * load.llm_calls_per_run / HOUR_S
    requests = calls_per_s * 60
    tokens = requests * load.tokens_per_call
    calls_at_once = calls_per_s * load.seconds_per_call
    runs_at_once = load.runs_per_hour / HOUR_S * load.seconds_per_run
    used = max(requests / quota.requests_per_minute, tokens / quota.tokens_per_minute)
    workers = max(calls_at_once / quota.llm_slots_per_worker, runs_at_once / quota.runs_per_worker) / HEADROOM
    return Sizing(
        requests_per_minute=requests,
        tokens_per_minute=tokens,
        concurrent_calls=calls_at_once,
        concurrent_runs=runs_at_once,
        workers=max(1, math.ceil(workers)),
        used_share=used,
        fits=used <= HEADROOM,
        runs_per_hour_max=load.runs_per_hour * HEADROOM / used if used else math.inf,
    )
