"""The turnstiles: may this caller use this model, and is there room and money for the request now."""

from dataclasses import replace
from datetime import UTC, datetime

from gateway.domain.budget import Dimensions, Shortage, Unit, WhenShort
from gateway.domain.catalog import Deployment
from gateway.domain.errors import (
    BudgetExceeded,
    InvalidKey,
    ModelForbidden,
    ModelNotPriced,
    PolicyError,
    RateLimited,
    StoreAway,
)
from gateway.domain.hold import OPEN, HoldState
from gateway.domain.money import usd_text
from gateway.domain.quota import OPEN as NO_GATES
from gateway.domain.quota import Gates, Refusal
from gateway.domain.request import Caller, ModelRequest, Priority
from gateway.domain.tokens import SAFETY
from gateway.pipeline.desk import Desk
from gateway.pipeline.worst_case import WorstCase, ceiling, claims_of, clamped, prices_of, worst_case
from gateway.ports import Hold, Quota

OUTPUT_TOKENS_UNDECLARED = 1_024
"""What a request without an output limit takes from the tokens of a minute until its usage is known."""

RETRY_AFTER_MAX_S = 60.0
HELD_RETRY_S = 1.0
"""When to come back for money that is only held by requests that run."""

CLAMPS_MAX = 4


class Place:
    """What an attempt or a request holds of rates and slots; `settle` gives back what it did not use, exactly once.

    Without gates there is nothing to give back, and nobody is asked.
    """

    __slots__ = ("_open", "_quota", "_taken", "gates")

    def __init__(self, quota: Quota, gates: Gates, taken: int) -> None:
        self._quota = quota
        self._taken = taken
        self._open = gates is not NO_GATES
        self.gates = gates

    def settle(self, tokens: int) -> None:
        """`tokens` is what was used in the end."""
        if self._open:
            self._open = False
            self._quota.settle(self.gates, self._taken, tokens)

    def put_back(self) -> None:
        """As if it had never been taken."""
        if self._open:
            self._open = False
            self._quota.put_back(self.gates, self._taken)


class Ticket:
    """What an admitted request holds: its place within the limits, and its worst case on the budgets."""

    __slots__ = ("hold", "place", "worst")

    def __init__(self, place: Place, hold: Hold | None, worst: WorstCase) -> None:
        self.place = place
        self.hold = hold
        self.worst = worst

    @property
    def gates(self) -> Gates:
        return self.place.gates

    def dispatched(self) -> None:
        if self.hold is not None and self.hold.state is HoldState.HELD:
            self.hold.dispatch()

    def settle(self, cost_nano_usd: int, tokens: int) -> bool:
        """Whether it came to more than was held."""
        self.place.settle(tokens)
        hold = self.hold
        if hold is None or hold.state not in OPEN:
            return False
        if hold.state is HoldState.HELD:
            hold.void()
            return False
        overrun = hold.settle(cost_nano_usd, tokens)
        assert hold.state not in OPEN, "I5: a request has ended and its hold has not"
        return overrun


def worst_case_tokens(request: ModelRequest) -> int:
    output = request.needs.output_tokens
    return ceiling(request.needs.input_tokens * SAFETY) + (OUTPUT_TOKENS_UNDECLARED if output is None else output)


async def admit(
    desk: Desk,
    caller: Caller,
    dimensions: Dimensions,
    request: ModelRequest,
    targets: tuple[Deployment, ...],
    deadline_s: float,
) -> Ticket:
    """As `admit_now`; a background request waits in line for what comes back, within its deadline."""
    try:
        return await admit_now(desk, caller, dimensions, request, targets)
    except PolicyError as error:
        if caller.priority is Priority.INTERACTIVE or not error.again:
            raise
        waiter = desk.waiting.enter(dimensions.tenant)
        if waiter is None:
            raise
        refusal = error
    with waiter:
        while (left_s := deadline_s - desk.clock.monotonic_s()) > 0:
            if await waiter.turn(left_s):
                try:
                    return await admit_now(desk, caller, dimensions, request, targets)
                except PolicyError as error:
                    refusal = error
    raise refusal


async def admit_now(
    desk: Desk, caller: Caller, dimensions: Dimensions, request: ModelRequest, targets: tuple[Deployment, ...]
) -> Ticket:
    """Everything that was taken is on the ticket. Raises a PolicyError or StoreAway, and holds nothing then."""
    check_key(caller, request, desk.clock.wall_s())
    tenant = caller.key.tenant
    gates = tenant.gates_for(dimensions) if tenant.paces else tenant.gates
    if caller.priority is Priority.AUTONOMOUS:
        gates = gates.for_background()
    tokens = worst_case_tokens(request)
    if gates is not NO_GATES and not desk.quota.take_now(gates, tokens):
        refusal = await desk.quota.take(gates, tokens)
        if refusal is not None:
            raise _limited(refusal)
    place = Place(desk.quota, gates, tokens)
    try:
        return await _reserve(desk, place, dimensions, request, targets, caller)
    except BaseException:
        place.put_back()
        raise


def check_key(caller: Caller, request: ModelRequest, now_s: float) -> None:
    key = caller.key
    if key.expires_at_s is not None and key.expires_at_s <= now_s:
        raise InvalidKey("this API key has expired; ask for a new one")
    if key.tenant.blocked:
        raise InvalidKey("the tenant of this API key is blocked; the operator can unblock it")
    for allowed in (key.tenant.models, key.models):
        if allowed and request.model not in allowed:
            raise ModelForbidden(f"this key may not use model {request.model!r}", param="model")


async def _reserve(
    desk: Desk,
    place: Place,
    dimensions: Dimensions,
    request: ModelRequest,
    targets: tuple[Deployment, ...],
    caller: Caller,
) -> Ticket:
    """Holds the worst case on every budget; the output limit shrinks where only a smaller answer is affordable."""
    wall_s = caller.started_at_s
    budgets = caller.key.tenant.budgets
    worst = worst_case(request, targets, desk.calibration, wall_s if budgets else None)
    claims = claims_of(budgets, dimensions, worst) if budgets else []
    if not claims:
        return Ticket(place, None, replace(worst, output_limit=None) if worst.output_limit else worst)
    if not desk.unpriced_allowed and any(claim.budget.unit is Unit.NANO_USD for claim in claims):
        _check_priced(request, targets, wall_s)
    held = desk.accounts.hold_now(dimensions.tenant, claims)
    if held is not None:
        return Ticket(place, held, worst)
    answer = await desk.accounts.hold(dimensions.tenant, claims)
    clamps = 0
    while isinstance(answer, Shortage):
        smaller = later = None
        if answer.claim.budget.when_short is WhenShort.CLAMP and not answer.store_away:
            prices = prices_of(request, targets, wall_s)
            later = clamped(worst, answer.claim, answer.unspent, prices)
            smaller = clamped(worst, answer.claim, answer.left, prices) if clamps < CLAMPS_MAX else None
        if smaller is None:
            raise _short(answer, again=later is not None or answer.unspent >= answer.claim.amount)
        worst, clamps = smaller, clamps + 1
        answer = await desk.accounts.hold(dimensions.tenant, claims_of(budgets, dimensions, worst))
    return Ticket(place, answer, worst)


def _check_priced(request: ModelRequest, targets: tuple[Deployment, ...], wall_s: float) -> None:
    """An unknown price is never a silent zero: a budget in dollars could not see it."""
    for deployment in targets:
        if deployment.price_at(wall_s) is None:
            raise ModelNotPriced(
                f"model {request.model!r} may be answered by {deployment.target}, which has no price, and a budget in "
                "dollars applies; the operator can add one under prices.overrides",
                param="model",
            )


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


def _short(shortage: Shortage, *, again: bool) -> BudgetExceeded | StoreAway:
    """`again` says that it may fit once requests that run have settled."""
    budget, claim = shortage.claim.budget, shortage.claim
    if shortage.store_away:
        return StoreAway("the budget cannot be checked at the moment; retry shortly", retry_after_s=HELD_RETRY_S)
    unit = budget.unit is Unit.NANO_USD
    amount, left, need = (
        (f"{usd_text(x)} USD" if unit else f"{x} tokens") for x in (budget.amount, shortage.left, claim.amount)
    )
    scope = budget.per if budget.per == "tenant" else f"{budget.per}:{claim.who}"
    ends_s = shortage.window.ends_s
    resets_at = None if budget.period.value == "lifetime" else datetime.fromtimestamp(ends_s, UTC).isoformat()
    message = (
        f"the budget of {amount} per {budget.period.value} ({scope}) has {left} left and this request may cost {need}"
        + (f"; it begins anew at {resets_at}" if resets_at else "")
    )
    return BudgetExceeded(message, scope=scope, resets_at=resets_at, retry_after_s=HELD_RETRY_S if again else None)
