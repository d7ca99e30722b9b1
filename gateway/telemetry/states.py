"""Makes the states of deployments, which their keeper lists on demand, the values of the pulled metrics."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from gateway.domain.catalog import Catalog
from gateway.domain.quota import Gates, Room
from gateway.telemetry import names
from gateway.telemetry.cells import Labels, Number
from gateway.telemetry.metrics import Metrics

_CIRCUITS = {"closed": 0, "half-open": 1, "half_open": 1, "open": 2}
_COOLDOWN = "cooldown"


class DeploymentState(Protocol):
    """One deployment as its keeper tells it."""

    @property
    def deployment(self) -> str: ...
    @property
    def circuit(self) -> str: ...
    @property
    def transitions(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def pause(self) -> str | None: ...
    @property
    def pause_left_s(self) -> float: ...


def watch_states(metrics: Metrics, states: Callable[[], Iterable[DeploymentState]]) -> None:
    """`states` is asked in the loop's thread before each collection."""

    def each(value: Callable[[DeploymentState], Number]) -> Callable[[], Mapping[Labels, Number]]:
        return lambda: {(state.deployment,): value(state) for state in states()}

    metrics.source(names.BREAKER_STATE, each(lambda state: _CIRCUITS.get(state.circuit, 2)))
    metrics.source(names.BREAKER_MOVES, each(lambda state: state.transitions))
    metrics.source(names.UPSTREAM_IN_FLIGHT, each(lambda state: state.in_flight))
    metrics.source(
        names.COOLDOWN,
        lambda: {(state.deployment,): state.pause_left_s for state in states() if state.pause == _COOLDOWN},
    )
    metrics.source(
        names.MISCONFIGURED,
        lambda: {
            (state.deployment, state.pause): state.pause_left_s
            for state in states()
            if state.pause is not None and state.pause != _COOLDOWN
        },
    )


def watch_limits(metrics: Metrics, catalog: Callable[[], Catalog], rooms: Callable[[Gates], list[Room]]) -> None:
    """Of provider keys alone: there are few, and tenants see theirs in each answer."""

    def used() -> Mapping[Labels, Number]:
        deployments = {one.credential.id: one for route in catalog().routes.values() for one in route.deployments}
        return {
            (key, room.dimension): 1 - room.remaining / room.limit
            for key, one in deployments.items()
            for room in rooms(one.gates)
        }

    metrics.source(names.LIMIT_USED, used)
