"""What a request may come to at most: tokens, and money at the dearest of the targets that may answer it."""

from collections.abc import Sequence

from gateway.domain.budget import Budget, Claim, Dimensions, Unit
from gateway.domain.catalog import Deployment, Price, Route
from gateway.domain.money import affordable_output, ceiling_nano_usd
from gateway.domain.request import ModelRequest, Operation
from gateway.domain.tokens import SAFETY, Calibration
from gateway.domain.value import value

OUTPUT_TOKENS_UNKNOWN = 4_096
"""The output limit that a request without one gets at a model whose own limit is not known."""

OUTPUT_TOKENS_MIN = 16
"""Less than that for each choice is no answer, so it is refused instead."""


@value
class WorstCase:
    """`output_limit` is the limit for each choice that the gateway has to write into the request, None for none."""

    input_tokens: int
    output_tokens: int
    choices: int
    nano_usd: int
    output_limit: int | None = None
    clamped: bool = False

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


def worst_case(
    request: ModelRequest, deployments: Sequence[Deployment], calibration: Calibration, wall_s: float | None
) -> WorstCase:
    """Over all targets, at the prices of `wall_s`; None where no budget asks for money.

    A target without a price adds nothing: whether it may be used is decided elsewhere.
    """
    factor = 0.0
    for deployment in deployments:
        factor = max(factor, calibration.factor(deployment.target))
    input_tokens = ceiling(max(1, request.needs.input_tokens) * (factor or 1.0) * SAFETY)
    choices = request.needs.choices
    output_tokens, output_limit = 0, None
    if request.operation is not Operation.EMBEDDINGS:
        output_tokens, output_limit = _output(request, deployments, choices)
    nano_usd = 0 if wall_s is None else _ceiling(prices_of(request, deployments, wall_s), input_tokens, output_tokens)
    return WorstCase(input_tokens, output_tokens, choices, nano_usd, output_limit)


def ceiling(positive: float) -> int:
    """As `math.ceil`, which compiled code asks for by name and with an object."""
    whole = int(positive)
    return whole if whole == positive else whole + 1


def prices_of(request: ModelRequest, deployments: Sequence[Deployment], wall_s: float) -> list[Price]:
    """All that the request may be charged at."""
    if request.service_tier is None:
        prices = [deployment.price_at(wall_s) for deployment in deployments]
        return [price for price in prices if price is not None]
    return [price for deployment in deployments for price in deployment.prices_at(wall_s, request.service_tier)]


def _ceiling(prices: Sequence[Price], input_tokens: int, output_tokens: int) -> int:
    dearest = 0
    for price in prices:
        dearest = max(dearest, ceiling_nano_usd(price, input_tokens, output_tokens))
    return dearest


def _output(request: ModelRequest, deployments: Sequence[Deployment], choices: int) -> tuple[int, int | None]:
    """Tokens of all choices, and the limit to write where neither the caller nor the model has one."""
    declared = request.needs.output_tokens
    caps = [deployment.capabilities.output_tokens for deployment in deployments]
    known = [cap for cap in caps if cap is not None]
    if declared is not None:
        most = choices * max(known) if known and len(known) == len(caps) else declared
        return min(declared, most), None
    if known and len(known) == len(caps):
        return choices * max(known), None
    limit = max(OUTPUT_TOKENS_UNKNOWN, *known) if known else OUTPUT_TOKENS_UNKNOWN
    return choices * limit, limit


def clamped(worst: WorstCase, claim: Claim, left: int, prices: Sequence[Price]) -> WorstCase | None:
    """The largest smaller request that fits into `left` of the claim's budget; None when none is worth sending."""
    if claim.budget.unit is Unit.TOKENS:
        output = left - worst.input_tokens
    else:
        output = min((affordable_output(price, worst.input_tokens, left) for price in prices), default=-1)
    limit = min(output, worst.output_tokens - 1) // worst.choices
    if limit < OUTPUT_TOKENS_MIN or worst.output_tokens == 0:
        return None
    output = limit * worst.choices
    nano_usd = _ceiling(prices, worst.input_tokens, output)
    return WorstCase(worst.input_tokens, output, worst.choices, nano_usd, limit, clamped=True)


def claims_of(budgets: Sequence[Budget], dimensions: Dimensions, worst: WorstCase) -> list[Claim]:
    """One claim on each budget that the request falls under."""
    claims: list[Claim] = []
    for budget in budgets:
        if (who := budget.who(dimensions)) is not None:
            amount = worst.nano_usd if budget.unit is Unit.NANO_USD else worst.tokens
            claims.append(Claim(budget, who, amount))
    return claims


def candidates(routes: Sequence[Route]) -> tuple[Deployment, ...]:
    """Every target that may come to answer."""
    if len(routes) == 1:
        return routes[0].deployments
    return tuple(deployment for route in routes for deployment in route.deployments)
