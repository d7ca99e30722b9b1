"""What is known about the deployments now: circuits, cooldowns, misconfigurations and latency, never mixed."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway import ports
from gateway.domain.breaker import TripRule
from gateway.domain.catalog import Catalog, Deployment
from gateway.domain.failure import CONNECT_KINDS, Failure, FailureKind, Health, Scope
from gateway.domain.hints import clamped_s
from gateway.domain.latency import PeakEwma
from gateway.domain.routing import Block
from gateway.ports import Clock, Evidence, Permit
from gateway.stores.circuit import Circuit

COOLDOWN_MIN_S = 1.0
OVERLOAD_MIN_S = 5.0
COOLDOWN_MAX_S = 60.0
MISCONFIGURED_S = 600.0
PANIC_EVERY_S = 5.0
FORCED = {"open": "forced_open", "drain": "drained"}
FORCED_S = 10 * 365 * 86_400.0
KEPT_PAUSES = frozenset({"cooldown", *FORCED.values()})


@dataclass(slots=True)
class _Pause:
    """A scope that is not to be used until `until_s`; `strikes` in a row lengthen it."""

    reason: str
    until_s: float
    strikes: int
    panic_ok: bool
    since_s: float
    panic_at_s: float = 0.0


@dataclass(slots=True)
class Line:
    """One deployment as operators see it."""

    deployment: str
    circuit: str
    transitions: int
    in_flight: int
    pause: str | None
    pause_left_s: float


class MemoryHealth(ports.Health):
    """Health of this process. A request never waits to learn it."""

    def __init__(self, clock: Clock, rule: TripRule | None = None) -> None:
        self._clock = clock
        self._rule = rule or TripRule()
        self._circuits: dict[str, Circuit] = {}
        self._latency: dict[str, PeakEwma] = {}
        self._pauses: dict[str, _Pause] = {}
        self._broken: set[str] = set()
        self._gated = False
        self.changed: Callable[[], None] | None = None

    @property
    def calm(self) -> bool:
        return not self._pauses and not self._broken

    def blocked(self, deployment: Deployment) -> Block | None:
        now_s = self._clock.monotonic_s()
        if self._pauses and (pause := self._pause(deployment, now_s)) is not None:
            return Block(pause.reason, pause.until_s, pause.panic_ok and now_s >= pause.panic_at_s)
        circuit = self._circuits.get(deployment.id)
        if circuit is None or circuit.closed:
            return None
        opens_at_s = circuit.opens_at_s(now_s)
        return None if opens_at_s is None else Block("circuit_open", opens_at_s, panic_ok=True)

    def latency_s(self, deployment: Deployment) -> float:
        known = self._latency.get(deployment.id)
        return known.load_s(self._clock.monotonic_s()) if known else 0.0

    def admit(self, deployment: Deployment, *, panic: bool) -> Permit | None:
        now_s = self._clock.monotonic_s()
        pause = self._pause(deployment, now_s) if self._pauses else None
        if pause is not None and not panic:
            return None
        circuit = self._circuit(deployment)
        generation = circuit.admit(now_s)
        if generation is None:
            if not panic:
                return None
            generation = circuit.generation
        if pause is not None:
            pause.panic_at_s = now_s + PANIC_EVERY_S
        self._latency[deployment.id].in_flight += 1
        return Permit(deployment, generation, now_s)

    def success(self, permit: Permit, first_token_s: float) -> None:
        now_s = self._clock.monotonic_s()
        name = permit.deployment.id
        self._latency[name].observe(first_token_s, now_s)
        self._circuits[name].success(permit.generation, now_s)
        if self._pauses:
            for scope in _scopes(permit.deployment):
                if scope in self._pauses and self._pauses[scope].since_s <= permit.since_s:
                    del self._pauses[scope]
                    self._told()

    def failure(self, permit: Permit, failure: Failure, evidence: Evidence) -> None:
        now_s = self._clock.monotonic_s()
        deployment, rule = permit.deployment, failure.rule
        circuit = self._circuits[deployment.id]
        if rule.health in (Health.BREAKER, Health.SLOW):
            proven = failure.kind in CONNECT_KINDS
            circuit.failure(permit.generation, now_s, caller=evidence.caller, body=evidence.body, proven=proven)
            return
        circuit.neutral(permit.generation)
        if rule.health is Health.COOLDOWN:
            self._cool(permit, failure, now_s)
        elif rule.health is Health.MISCONFIGURED:
            until_s = now_s + max(failure.hint_s or 0.0, MISCONFIGURED_S)
            panic_at_s = now_s + PANIC_EVERY_S
            scope = _scope(deployment, rule.scope)
            self._pauses[scope] = _Pause(f"misconfigured_{failure.kind.value}", until_s, 1, True, now_s, panic_at_s)
            self._told()

    def neutral(self, permit: Permit) -> None:
        self._circuits[permit.deployment.id].neutral(permit.generation)

    def release(self, permit: Permit) -> None:
        self._latency[permit.deployment.id].in_flight -= 1

    def proof(self, permit: Permit) -> None:
        self._circuits[permit.deployment.id].proof(permit.generation, self._clock.monotonic_s())

    def gate(self, *, gated: bool) -> None:
        """From now on circuits probe only under a right that all processes share, or again as each likes."""
        self._gated = gated
        for circuit in self._circuits.values():
            circuit.gated = gated

    def broken(self) -> dict[str, Circuit]:
        """Circuits that are not closed."""
        return {name: self._circuits[name] for name in self._broken}

    def pauses(self) -> dict[str, tuple[str, float]]:
        """Reason and end of what is paused, by scope."""
        now_s = self._clock.monotonic_s()
        return {scope: (pause.reason, pause.until_s) for scope, pause in self._pauses.items() if pause.until_s > now_s}

    def follow_circuit(self, name: str, *, due_in_s: float | None) -> None:
        """Another process opened it, or closed it (None)."""
        circuit = self._circuits.get(name)
        if circuit is None and due_in_s is not None:
            circuit = self._new_circuit(name)
        if circuit is not None:
            circuit.follow(self._clock.monotonic_s(), due_in_s=due_in_s)

    def follow_pause(self, scope: str, reason: str, left_s: float) -> None:
        """Another process paused it. It has no strikes here, and ends when that one says so."""
        now_s = self._clock.monotonic_s()
        known = self._pauses.get(scope)
        if known is None or known.until_s < now_s + left_s:
            panic_ok, strikes = reason not in KEPT_PAUSES, known.strikes if known else 0
            self._pauses[scope] = _Pause(reason, now_s + left_s, strikes, panic_ok, now_s, now_s + PANIC_EVERY_S)

    def follow_resume(self, scope: str) -> None:
        known = self._pauses.get(scope)
        if known is not None and known.strikes == 0:
            del self._pauses[scope]

    def adopt(self, catalog: Catalog) -> None:
        """A new configuration: keep what is known of deployments that stay; keys may have been mended."""
        names = {deployment.id for route in catalog.routes.values() for deployment in route.deployments}
        names |= {name for name, latency in self._latency.items() if latency.in_flight}
        self._circuits = {name: circuit for name, circuit in self._circuits.items() if name in names}
        self._latency = {name: self._latency[name] for name in self._circuits}
        self._broken.intersection_update(self._circuits)
        self._pauses = {scope: pause for scope, pause in self._pauses.items() if pause.reason in KEPT_PAUSES}

    def force(self, catalog: Catalog, name: str, state: str) -> bool:
        """`open` and `drain` take it out until it is told to serve again (`closed`, `serve`); whether it is there."""
        found = next((d for route in catalog.routes.values() for d in route.deployments if d.id == name), None)
        if found is None:
            return False
        self._pauses = {scope: p for scope, p in self._pauses.items() if scope not in _scopes(found)}
        if state in FORCED:
            now_s = self._clock.monotonic_s()
            self._pauses[name] = _Pause(FORCED[state], now_s + FORCED_S, 1, panic_ok=False, since_s=now_s)
        else:
            self._circuits[name] = Circuit(name, self._rule, self._moved)
            self._latency.setdefault(name, PeakEwma())
            self._broken.discard(name)
        return True

    def lines(self, catalog: Catalog) -> list[Line]:
        now_s = self._clock.monotonic_s()
        unique = {d.id: d for route in catalog.routes.values() for d in route.deployments}
        lines = []
        for deployment in unique.values():
            circuit, pause = self._circuits.get(deployment.id), self._pause(deployment, now_s)
            lines.append(
                Line(
                    deployment.id,
                    circuit.state if circuit else "closed",
                    circuit.transitions if circuit else 0,
                    self._latency[deployment.id].in_flight if circuit else 0,
                    pause.reason if pause else None,
                    pause.until_s - now_s if pause else 0.0,
                )
            )
        return lines

    def _moved(self, name: str, *, closed: bool) -> None:
        if closed:
            self._broken.discard(name)
        else:
            self._broken.add(name)
        self._told()

    def _told(self) -> None:
        if self.changed is not None:
            self.changed()

    def _circuit(self, deployment: Deployment) -> Circuit:
        circuit = self._circuits.get(deployment.id)
        return self._new_circuit(deployment.id) if circuit is None else circuit

    def _new_circuit(self, name: str) -> Circuit:
        circuit = self._circuits[name] = Circuit(name, self._rule, self._moved)
        circuit.gated = self._gated
        self._latency[name] = PeakEwma()
        return circuit

    def _pause(self, deployment: Deployment, now_s: float) -> _Pause | None:
        found: _Pause | None = None
        for scope in _scopes(deployment):
            pause = self._pauses.get(scope)
            if pause is not None and now_s < pause.until_s and (found is None or pause.until_s > found.until_s):
                found = pause
        return found

    def _cool(self, permit: Permit, failure: Failure, now_s: float) -> None:
        """Until the hint, but never shorter than our own doubling back-off with jitter.

        Requests that were under way together are turned away together: that is one strike.
        """
        scope = _scope(permit.deployment, failure.rule.scope)
        known = self._pauses.get(scope)
        if known is not None and permit.since_s < known.since_s:
            known.until_s = max(known.until_s, now_s + (clamped_s(failure.hint_s) or 0.0))
            self._told()
            return
        strikes = known.strikes + 1 if known else 1
        least_s = OVERLOAD_MIN_S if failure.kind is FailureKind.OVERLOADED else COOLDOWN_MIN_S
        backoff_s = min(COOLDOWN_MAX_S, least_s * 2 ** min(strikes - 1, 10))
        jittered_s = backoff_s * (0.5 + self._clock.dice() / 2)
        until_s = now_s + max(clamped_s(failure.hint_s) or 0.0, jittered_s)
        self._pauses[scope] = _Pause("cooldown", until_s, strikes, panic_ok=False, since_s=now_s)
        self._told()


def _scopes(deployment: Deployment) -> tuple[str, str, str]:
    return deployment.id, deployment.target, deployment.credential.id


def _scope(deployment: Deployment, scope: Scope) -> str:
    if scope is Scope.CREDENTIAL:
        return deployment.credential.id
    return deployment.target if scope is Scope.MODEL else deployment.id
