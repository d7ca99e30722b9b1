"""How much: what a budget allows, to whom, in which window, and what a request asks of it."""

from dataclasses import dataclass
from datetime import UTC, tzinfo

from gateway.domain.period import Period, Window, window_at
from gateway.domain.symbol import Symbol
from gateway.domain.value import value

AMOUNT_MAX = 2**52
"""Nano-USD or tokens of one window (4.5 million dollars): what a double counts exactly, with a bit to spare."""


class Unit(Symbol):
    NANO_USD = "nano_usd"
    TOKENS = "tokens"


class Mode(Symbol):
    """A shadow limit counts and tells, and refuses nothing."""

    ENFORCE = "enforce"
    SHADOW = "shadow"


class StoreAway(Symbol):
    """What a limit does while the shared store cannot be asked: refuse, go on with what is leased here, or let pass."""

    DENY = "deny"
    LOCAL = "local"
    ALLOW = "allow"


class WhenShort(Symbol):
    """What happens to a request whose worst case does not fit while a smaller output would."""

    CLAMP = "clamp"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Budget:
    """`amount` of `unit` in each window of `period`.

    `per` says who shares it: `tenant`, or each `key`, `user`, `run` (a tree of runs is one), `model` or `tag:NAME` for
    itself; `of` narrows that to one value. `thresholds` are percentages that are told once a window.
    """

    id: str
    tenant: str
    amount: int
    unit: Unit
    period: Period
    per: str = "tenant"
    of: str | None = None
    zone: tzinfo = UTC
    thresholds: tuple[int, ...] = (50, 80, 95)
    mode: Mode = Mode.ENFORCE
    store_away: StoreAway = StoreAway.LOCAL
    when_short: WhenShort = WhenShort.CLAMP

    def who(self, dimensions: "Dimensions") -> str | None:
        """Whose counter a request falls under; None where the budget does not concern it."""
        who = dimensions.of(self.per)
        return who if who is not None and (self.of is None or self.of == who) else None

    def window(self, wall_s: float) -> Window:
        return window_at(self.period, self.zone, wall_s)

    def counter(self, who: str, window: Window) -> str:
        """The name of what is counted: one budget, one of those that it is for, one window."""
        return f"{self.id}|{who}|{window.id}"


@value
class Dimensions:
    """Under what a request is booked. `run` is the root of its tree of runs."""

    tenant: str
    key: str
    model: str
    user: str | None = None
    run: str | None = None
    tags: tuple[tuple[str, str], ...] = ()

    def of(self, per: str) -> str | None:
        """The request's value of a budget's or limit's `per`; None where it has none."""
        match per:
            case "tenant":
                return self.tenant
            case "key":
                return self.key
            case "model":
                return self.model
            case "user":
                return self.user
            case "run":
                return self.run
            case _:
                wanted = per.removeprefix("tag:")
                return next((text for name, text in self.tags if name == wanted), None)


@value
class Claim:
    """What one request asks of one budget: `amount` in the budget's unit, for `who` (a key id, a run, ...)."""

    budget: Budget
    who: str
    amount: int


@value
class Shortage:
    """Why a claim was not granted. `left` could still be held; `spent` of the budget is gone for the window.

    What is neither left nor spent is held by requests that run, and may come back.
    """

    claim: Claim
    window: Window
    left: int
    spent: int
    store_away: bool = False

    @property
    def unspent(self) -> int:
        return self.claim.budget.amount - self.spent


@dataclass(frozen=True, slots=True)
class Crossing:
    """A budget's counter went over one of its thresholds."""

    budget: Budget
    who: str
    window: Window
    percent: int
    spent: int
