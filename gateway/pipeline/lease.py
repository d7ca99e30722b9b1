"""What one attempt holds at a deployment: its permit and its place within the provider key's limits."""

from gateway.domain.catalog import Deployment
from gateway.domain.failure import Failure
from gateway.pipeline.admission import Place
from gateway.ports import Evidence, Health, Permit


class Lease:
    """`close` gives everything back, exactly once; a verdict may be told before it."""

    __slots__ = ("_health", "_open", "_permit", "_told", "place")

    def __init__(self, health: Health, permit: Permit, place: Place) -> None:
        self._health = health
        self._permit = permit
        self._told = False
        self._open = True
        self.place = place

    @property
    def deployment(self) -> Deployment:
        return self._permit.deployment

    def success(self, first_token_s: float) -> None:
        self._told = True
        self._health.success(self._permit, first_token_s)

    def failure(self, failure: Failure, evidence: Evidence) -> None:
        self._told = True
        self._health.failure(self._permit, failure, evidence)

    def proof(self) -> None:
        self._health.proof(self._permit)

    def close(self, tokens: int) -> None:
        """`tokens` is what was used."""
        if not self._open:
            return
        self._open = False
        if not self._told:
            self._health.neutral(self._permit)
        self._health.release(self._permit)
        self.place.settle(tokens)
