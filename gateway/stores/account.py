"""One budget counter as this process sees it."""

from gateway.domain.budget import Budget, Unit
from gateway.domain.period import Window
from gateway.ports import Grant, Standing

CHUNK_PERCENT = 1
CHUNK_NANO_USD_MAX = 1_000_000_000
NARROW_PERCENT = 5
"""Below this part of a budget, credit is leased request by request."""

IDLE_S = 5.0
"""What nobody has asked for that long is lent to other processes."""

FORGET_S = 600.0
"""An account at rest is forgotten that long after its last request: the bank knows what was spent on it."""

RUN_KEPT_S = 7 * 86_400.0
"""A run's lifetime budget is forgotten that long after its last request."""


class Account:
    """One counter. Its credit is leased and free, `held` is with requests that run, `spent` is what this boot charged.

    It is `known` once the bank has told what this boot had spent before the account was there.

    Invariant (I2): credit + held + spent is what the bank has granted and was not given back; only a charge beyond its
    hold makes the credit negative.
    """

    __slots__ = (
        "budget",
        "credit",
        "held",
        "known",
        "marks",
        "name",
        "others",
        "reported",
        "running",
        "spent",
        "used_s",
        "who",
        "window",
    )

    def __init__(self, budget: Budget, who: str, window: Window, used_s: float = 0.0) -> None:
        self.budget = budget
        self.who = who
        self.window = window
        self.name = budget.counter(who, window)
        self.credit = 0
        self.held = 0
        self.known = False
        self.spent = 0
        self.others = 0
        self.reported = 0
        self.running = 0
        self.marks = 0
        self.used_s = used_s

    @property
    def total(self) -> int:
        """Spent by all processes, as far as is known here."""
        return self.others + self.spent

    def wish(self, need: int) -> int:
        """A chunk of what is left: large enough to save calls, small enough not to be missed elsewhere."""
        left = self.budget.amount - self.total
        if left * 100 < self.budget.amount * NARROW_PERCENT:
            return need
        chunk = left * CHUNK_PERCENT // 100
        if self.budget.unit is Unit.NANO_USD:
            chunk = min(chunk, CHUNK_NANO_USD_MAX)
        return max(need, chunk)

    @property
    def ends_s(self) -> float:
        ends_s = self.window.ends_s
        return min(ends_s, self.used_s + RUN_KEPT_S) if self.budget.per == "run" else ends_s

    def counts_as(self, budget: Budget) -> bool:
        """Whether a budget that was changed still counts the same thing in the same window."""
        mine = self.budget
        if mine is budget:
            return True
        return (mine.period, mine.zone, mine.unit) == (budget.period, budget.zone, budget.unit)

    def idle(self, now_s: float) -> bool:
        return abs(now_s - self.used_s) >= IDLE_S

    def at_rest(self, now_s: float) -> bool:
        """Whether the bank knows all of it."""
        moving = self.running or self.credit or self.spent != self.reported
        return not moving and abs(now_s - self.used_s) >= FORGET_S

    def learn(self, grant: Grant) -> None:
        """What this boot has told of thresholds before is not told again."""
        self.credit += grant.amount
        again = grant.mine > 0 and not self.known
        if not self.known:
            self.known = True
            self.spent += grant.mine
            self.reported = grant.mine
        self.others = grant.spent - self.reported
        while again and self.passed() is not None:
            pass

    def passed(self) -> int | None:
        """The next threshold, in percent, once it is reached; each of them once."""
        marks, at = self.budget.thresholds, self.marks
        if at == len(marks) or self.total * 100 < marks[at] * self.budget.amount:
            return None
        self.marks = at + 1
        return marks[at]

    def standing(self) -> Standing:
        return Standing(self.name, self.spent, max(0, self.credit) + self.held, self.budget.amount, self.ends_s)
