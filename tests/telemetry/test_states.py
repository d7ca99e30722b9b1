"""Breakers, cooldowns and misconfigurations as metrics."""

from dataclasses import dataclass

from gateway.domain.catalog import Catalog, Limits
from gateway.stores.quota import MemoryQuota
from gateway.telemetry import names
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.states import watch_limits, watch_states
from tests.clock import ToldClock
from tests.domain.values import deployment, route


@dataclass
class State:
    deployment: str
    circuit: str = "closed"
    transitions: int = 0
    in_flight: int = 0
    pause: str | None = None
    pause_left_s: float = 0.0


def test_states_become_values_and_end_with_their_deployment() -> None:
    states = [
        State("a", "open", 3, 1),
        State("b", "half-open", pause="cooldown", pause_left_s=7.5),
        State("c", pause="misconfigured_auth", pause_left_s=600.0),
    ]
    metrics = Metrics()
    watch_states(metrics, lambda: states)
    metrics.sample()
    for instrument, expected in {
        names.BREAKER_STATE: {("a",): 2, ("b",): 1, ("c",): 0},
        names.BREAKER_MOVES: {("a",): 3, ("b",): 0, ("c",): 0},
        names.UPSTREAM_IN_FLIGHT: {("a",): 1, ("b",): 0, ("c",): 0},
        names.COOLDOWN: {("b",): 7.5},
        names.MISCONFIGURED: {("c", "misconfigured_auth"): 600.0},
    }.items():
        assert dict(metrics.numbers[instrument].snapshot()) == expected, instrument.name
    states.clear()
    metrics.sample()
    assert metrics.numbers[names.BREAKER_STATE].snapshot() == []


async def test_row_34_how_full_the_limits_of_provider_keys_are_is_measured() -> None:
    limits = Limits(requests_per_minute=10, tokens_per_minute=1000)
    one, other = deployment("a", model="m", limits=limits), deployment("a", model="n", limits=limits)
    quota, metrics = MemoryQuota(ToldClock()), Metrics()
    watch_limits(metrics, lambda: Catalog(1, {"r": route(one, other, deployment("b"))}), quota.rooms)
    await quota.take(one.gates, 600)
    await quota.take(other.gates, 350)
    metrics.sample()
    used = {labels: round(float(value), 3) for labels, value in metrics.numbers[names.LIMIT_USED].snapshot()}
    assert used == {("a#0", "requests"): 0.2, ("a#0", "tokens"): 0.95}
