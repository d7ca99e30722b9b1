"""The turnstiles: may this caller use this model, and is there room for the request now."""

import math

from gateway.domain.errors import ModelForbidden, RateLimited
from gateway.domain.quota import Gates, Refusal
from gateway.domain.request import Caller, ModelRequest
from gateway.domain.tokens import SAFETY
from gateway.ports import Quota

OUTPUT_TOKENS_UNDECLARED = 1_024
"""What a request without an output limit takes from the tokens of a minute until its usage is known."""

RETRY_AFTER_MAX_S = 60.0


class Ticket:
    """What a request holds; `settle` gives back what it did not use, exactly once."""

    __slots__ = ("_open", "_quota", "_taken", "gates")

    def __init__(self, quota: Quota, gates: Gates, taken: int) -> None:
        self._quota = quota
        self._taken = taken
        self._open = True
        self.gates = gates

    def settle(self, tokens: int) -> None:
        """`tokens` is what was used in the end."""
        if self._open:
            self._open = False
            self._quota.settle(self.gates, self._taken, tokens)


def worst_case_tokens(request: ModelRequest) -> int:
    output = request.needs.output_tokens
    return math.ceil(request.needs.input_tokens * SAFETY) + (OUTPUT_TOKENS_UNDECLARED if output is None else output)


async def admit(quota: Quota, caller: Caller, request: ModelRequest) -> Ticket:
    """Raises ModelForbidden or RateLimited; otherwise everything that was taken is on the ticket."""
    tenant = caller.key.tenant
    if tenant.models and request.model not in tenant.models:
        raise ModelForbidden(f"this key may not use model {request.model!r}", param="model")
    tokens = worst_case_tokens(request)
    refusal = await quota.take(tenant.gates, tokens)
    if refusal is not None:
        raise _limited(refusal)
    return Ticket(quota, tenant.gates, tokens)


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
