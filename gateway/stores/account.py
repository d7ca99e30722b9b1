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


NEVER = 2**60
"""More than can be spent."""


class Account:
    """One counter. Its credit is leased and free, `held` is with requests that run, `spent` is what this boot charged.

    It is `known` once the bank has told what this boot had spent before the account was there.

    Invariant (I2): credit + held + spent is what the bank has granted and was not given back; only a charge beyond its
    hold makes the credit negative.
    """

    __slots__ = (
        "_due",
        "_due_of",
        "_marks",
        "budget",
        "credit",
        "held",
        "known",
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
        self._marks = 0
        self._due = NEVER
        self._due_of: Budget | None = None
        self.used_s = used_s

    @property
    def total(self) -> int:
        """Spent by all processes, as far as is known here."""
        return self.others + self.spent

    @property
    def left(self) -> int:
        """Of the window, held amounts taken off."""
        return max(0, self.budget.amount - self.total - self.held)

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
        if self._due_of is not self.budget:
            self._look_ahead()
        if self.others + self.spent < self._due:
            return None
        percent = self.budget.thresholds[self._marks]
        self._marks += 1
        self._look_ahead()
        return percent

    def begin_anew(self) -> None:
        """All thresholds are told again."""
        self._marks = 0
        self._due_of = None

    def _look_ahead(self) -> None:
        """What is spent at the next threshold: found once, as products of amounts are too large to cost nothing."""
        self._due_of, marks = self.budget, self.budget.thresholds
        self._due = -(-marks[self._marks] * self.budget.amount // 100) if self._marks < len(marks) else NEVER

    def standing(self) -> Standing:
        return Standing(self.name, self.spent, max(0, self.credit) + self.held, self.budget.amount, self.ends_s)
