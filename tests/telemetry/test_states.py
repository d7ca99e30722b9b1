"""Breakers, cooldowns and misconfigurations as metrics."""

from dataclasses import dataclass

from gateway.telemetry import names
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.states import watch_states


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
