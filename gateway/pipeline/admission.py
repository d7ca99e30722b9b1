"""The turnstiles: may this caller use this model, and is there room for the request now."""

import math
from dataclasses import dataclass

from gateway.domain.catalog import Limits
from gateway.domain.errors import ModelForbidden, RateLimited
from gateway.domain.quota import Rate, Refusal, Room
from gateway.domain.request import Caller, ModelRequest
from gateway.domain.tokens import SAFETY
from gateway.ports import Quota, Slot

OUTPUT_TOKENS_UNDECLARED = 1_024
"""What a request without an output limit takes from the tokens of a minute until its usage is known."""

RETRY_AFTER_MAX_S = 60.0


@dataclass(slots=True)
class Ticket:
    """What a request holds; `settle` gives back what it did not use, exactly once."""

    quota: Quota
    rates: tuple[Rate, ...]
    slots: tuple[Slot, ...]
    open: bool = True

    def settle(self, tokens: int | None) -> None:
        """`tokens` is what was used in the end; None when the request never reached a provider."""
        if not self.open:
            return
        self.open = False
        actual = tuple([_used(rate, tokens) for rate in self.rates])
        self.quota.settle(self.rates, actual, self.slots)

    def rooms(self) -> list[Room]:
        return [self.quota.room(rate) for rate in self.rates]


def _used(rate: Rate, tokens: int | None) -> int:
    if rate.dimension == "requests":
        return rate.cost
    return 0 if tokens is None else tokens


def rates_of(scope: str, limits: Limits, tokens: int) -> tuple[Rate, ...]:
    rates = []
    if limits.requests_per_minute is not None:
        rates.append(Rate(f"{scope}:requests", "requests", limits.requests_per_minute, 1))
    if limits.tokens_per_minute is not None:
        rates.append(Rate(f"{scope}:tokens", "tokens", limits.tokens_per_minute, tokens))
    return tuple(rates)


def slots_of(scope: str, limits: Limits) -> tuple[Slot, ...]:
    return () if limits.concurrent is None else (Slot(f"{scope}:concurrent", limits.concurrent),)


def worst_case_tokens(request: ModelRequest) -> int:
    output = request.needs.output_tokens
    return math.ceil(request.needs.input_tokens * SAFETY) + (OUTPUT_TOKENS_UNDECLARED if output is None else output)


async def admit(quota: Quota, caller: Caller, request: ModelRequest) -> Ticket:
    """Raises ModelForbidden or RateLimited; otherwise everything that was taken is on the ticket."""
    tenant = caller.key.tenant
    if tenant.models and request.model not in tenant.models:
        raise ModelForbidden(f"this key may not use model {request.model!r}", param="model")
    if tenant.limits.empty:
        return Ticket(quota, (), ())
    scope = "tenant:" + tenant.id
    rates = rates_of(scope, tenant.limits, worst_case_tokens(request))
    slots = slots_of(scope, tenant.limits)
    refusal = await quota.take(rates, slots)
    if refusal is not None:
        raise _limited(refusal)
    return Ticket(quota, rates, slots)


def _limited(refusal: Refusal) -> RateLimited:
    if refusal.wait_s is None:
        error = RateLimited(
            f"this request may need {refusal.cost} tokens and the limit is {refusal.limit} a minute; "
            "send less or declare a smaller max_tokens"
        )
        error.again = False  # type: ignore[misc]  # waiting cannot help this one
        return error
    unit = "concurrent requests" if refusal.dimension == "concurrent" else f"{refusal.dimension} a minute"
    return RateLimited(
        f"the limit of {refusal.limit} {unit} is reached; retry in {refusal.wait_s:.1f} s",
        retry_after_s=min(refusal.wait_s, RETRY_AFTER_MAX_S),
    )
