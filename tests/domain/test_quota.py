"""GCRA with cost and refund against a slow exact bucket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.domain.quota import MINUTE_S, Rate, Refusal, adjust, room, take


def rate(per_minute: int = 60, counter: str = "c") -> Rate:
    return Rate(counter, "tokens", per_minute, by_tokens=True)


def test_a_whole_limit_may_burst_and_then_drips() -> None:
    arrivals: dict[str, float] = {}
    assert all(take(arrivals, (rate(),), 1, 0.0) is None for _ in range(60))
    refusal = take(arrivals, (rate(),), 1, 0.0)
    assert refusal is not None
    assert refusal.wait_s == pytest.approx(1.0)
    assert take(arrivals, (rate(),), 1, 1.0) is None


def test_a_cost_above_the_limit_can_never_wait_it_out() -> None:
    assert take({}, (rate(),), 61, 0.0) == Refusal("tokens", 60, 61, None)


def test_a4_admissions_in_a_minute_of_twice_the_load_stay_within_limit_and_burst() -> None:
    arrivals: dict[str, float] = {}
    admitted = sum(take(arrivals, (rate(600),), 1, i * 0.05) is None for i in range(1200))
    assert 600 - 1 <= admitted <= 600 + 600


@given(st.lists(st.integers(0, 80), max_size=30))
def test_i6_a_refusal_changes_nothing(costs: list[int]) -> None:
    arrivals: dict[str, float] = {}
    for tokens in costs:
        before = dict(arrivals)
        if take(arrivals, (rate(100, "l"), rate(60, "r")), tokens, 5.0) is not None:
            assert arrivals == before


class AgainstExactBucket(RuleBasedStateMachine):
    """The oracle is a leaky bucket that is drained by arithmetic, in units instead of times."""

    LIMIT = 100

    def __init__(self) -> None:
        super().__init__()
        self.arrivals: dict[str, float] = {}
        self.now_s = 0.0
        self.level = 0.0
        self.taken: list[int] = []

    @rule(gap_s=st.floats(0, 90))
    def wait(self, gap_s: float) -> None:
        self.now_s += gap_s
        self.level = max(0.0, self.level - gap_s * self.LIMIT / MINUTE_S)

    @rule(cost=st.integers(0, 120))
    def ask(self, cost: int) -> None:
        fits = self.level + cost <= self.LIMIT + 1e-6
        doubtful = abs(self.level + cost - self.LIMIT) < 1e-5
        refusal = take(self.arrivals, (rate(self.LIMIT),), cost, self.now_s)
        assert doubtful or (refusal is None) == fits
        if refusal is None:
            self.level += cost
            self.taken.append(cost)

    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        if self.taken:
            cost = self.taken.pop()
            actual = data.draw(st.integers(0, 150))
            adjust(self.arrivals, (rate(self.LIMIT),), cost, actual, self.now_s)
            self.level = max(0.0, self.level + actual - cost)

    @invariant()
    def the_room_is_what_the_bucket_has_left(self) -> None:
        left = room(self.arrivals, rate(self.LIMIT), self.now_s).remaining
        assert abs(left - max(0.0, min(self.LIMIT, self.LIMIT - self.level))) <= 1.0 + 1e-6


TestAgainstExactBucket = AgainstExactBucket.TestCase
