"""One deployment's circuit: pybreaker keeps the state, our window decides when to trip and who may probe."""

import sys
from typing import Protocol

from gateway.domain.breaker import TripRule, TripWindow

_redis_is_loaded = "redis" in sys.modules
if not _redis_is_loaded:
    # It would load the whole client for a storage of its own in Redis, which is not used here: 80 ms, 6 MB.
    sys.modules["redis"] = None  # type: ignore[assignment]  # says: not to be had
import pybreaker  # noqa: E402

if not _redis_is_loaded:
    del sys.modules["redis"]

GATE_S = 0.05
"""When to look again while another process may be probing."""


class Told(Protocol):
    """Hears of every change of state."""

    def __call__(self, name: str, *, closed: bool) -> None: ...


class _StateChanges(pybreaker.CircuitBreakerListener):
    def __init__(self, circuit: "Circuit") -> None:
        self._circuit = circuit

    def state_change(self, cb: object, old_state: object, new_state: pybreaker.CircuitBreakerState) -> None:
        del cb, old_state
        self._circuit.moved(new_state.name)


class Circuit:
    """Permits carry a generation, so that a verdict from before a state change cannot move the new state.

    Where circuits are shared, `gated` ones probe only under a right that was granted from outside, until it ends.
    """

    __slots__ = (
        "_breaker",
        "_name",
        "_opened_s",
        "_probing",
        "_right_until_s",
        "_rule",
        "_told",
        "asked_s",
        "gated",
        "generation",
        "now_s",
        "state",
        "transitions",
        "window",
    )

    def __init__(self, name: str, rule: TripRule, told: Told) -> None:
        self._rule = rule
        self._name = name
        self._told = told
        self.state = pybreaker.STATE_CLOSED
        self.generation = 0
        self.transitions = 0
        self.now_s = 0.0
        self.window = TripWindow(rule)
        self.gated = False
        self.asked_s = -1.0
        self._opened_s = 0.0
        self._probing = 0
        self._right_until_s = 0.0
        self._breaker = pybreaker.CircuitBreaker(
            name=name, listeners=[_StateChanges(self)], throw_new_error_on_trip=False
        )

    def moved(self, state: str) -> None:
        """Called by pybreaker after every change of state."""
        self.state = state
        self.generation += 1
        self.transitions += 1
        self._probing = 0
        self._right_until_s = 0.0 if state != pybreaker.STATE_HALF_OPEN else self._right_until_s
        self._opened_s = self.now_s
        self.window = TripWindow(self._rule)
        self._told(self._name, closed=self.closed)

    @property
    def closed(self) -> bool:
        return self.state == pybreaker.STATE_CLOSED

    def opens_at_s(self, now_s: float) -> float | None:
        """When the next probe may go; None when a request may go now."""
        if self.state == pybreaker.STATE_CLOSED:
            return None
        if self.state == pybreaker.STATE_OPEN:
            due_s = self._opened_s + self._rule.open_s
            if self.gated:
                self.asked_s = now_s
                return max(due_s, now_s + GATE_S) if now_s < due_s or now_s >= self._right_until_s else None
            return due_s if now_s < due_s else None
        if self.gated and now_s >= self._right_until_s:
            self.asked_s = now_s
            return now_s + GATE_S
        return now_s + self._rule.open_s if self._probing >= self._rule.probes else None

    @property
    def probing(self) -> bool:
        """Whether a probe is under way."""
        return self._probing > 0

    def due_in_s(self, now_s: float) -> float:
        return self._opened_s + self._rule.open_s - now_s

    def may_probe(self, now_s: float) -> bool:
        """Whether the right to probe is still here."""
        return now_s < self._right_until_s

    def grant(self, until_s: float) -> None:
        """The right to probe, of all processes."""
        self._right_until_s = until_s

    def follow(self, now_s: float, *, due_in_s: float | None) -> None:
        """Another process opened this circuit until then, or closed it (None)."""
        self.now_s = now_s
        if due_in_s is None:
            if not self.closed:
                self._breaker.close()
        elif not self._probing:
            if self.state != pybreaker.STATE_OPEN:
                self._breaker.open()
            self._opened_s = now_s + due_in_s - self._rule.open_s

    def admit(self, now_s: float) -> int | None:
        """A generation to report under, or None."""
        if self.state == pybreaker.STATE_CLOSED:
            return self.generation
        if self.opens_at_s(now_s) is not None:
            return None
        if self.state == pybreaker.STATE_OPEN:
            self.now_s = now_s
            self._breaker.half_open()
        self._probing += 1
        return self.generation

    def success(self, generation: int, now_s: float) -> None:
        if generation != self.generation:
            return
        if self.state == pybreaker.STATE_CLOSED:
            self.window.success(now_s)
            return
        self.now_s = now_s
        self._breaker.close()

    def failure(self, generation: int, now_s: float, *, caller: str, body: str, proven: bool) -> None:
        if generation != self.generation:
            return
        if self.state == pybreaker.STATE_CLOSED:
            self.window.failure(now_s, caller=caller, body=body, proven=proven)
            self._trip(now_s)
        elif self.state == pybreaker.STATE_HALF_OPEN:
            self.now_s = now_s
            self._breaker.open()

    def proof(self, generation: int, now_s: float) -> None:
        """The request that failed here worked elsewhere: the failure was not its own doing."""
        if generation == self.generation and self.closed:
            self.window.proof()
            self._trip(now_s)

    def neutral(self, generation: int) -> None:
        """The attempt says nothing about the deployment; a probe gives its place back."""
        if generation == self.generation and self._probing:
            self._probing -= 1

    def _trip(self, now_s: float) -> None:
        if self.window.trips(now_s):
            self.now_s = now_s
            self._breaker.open()
