"""The verdict after a failure, and the retry budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.failure import RULES, Failure, FailureKind
from gateway.domain.retry import (
    WAIT_IN_PROCESS_MAX_S,
    Again,
    Next,
    RetryBudget,
    Situation,
    Stop,
    backoff_s,
    decide,
)


def failure(kind: FailureKind, hint_s: float | None = None) -> Failure:
    return Failure(kind, "m", hint_s=hint_s)


def test_every_kind_has_a_rule() -> None:
    assert set(RULES) == set(FailureKind)


@pytest.mark.parametrize(
    ("kind", "hint_s", "at", "expected"),
    [
        (FailureKind.REFUSED, None, Situation(1, 2, 60, others=True), Next()),
        (FailureKind.REFUSED, None, Situation(1, 2, 60, others=False), Stop("no_other_target")),
        (FailureKind.SERVER_ERROR, None, Situation(1, 2, 60, others=True), Next()),
        (FailureKind.SERVER_ERROR, None, Situation(1, 2, 60, others=False), Again(0.025)),
        (FailureKind.SERVER_ERROR, None, Situation(2, 1, 60, others=False), Stop("no_other_target")),
        (FailureKind.SERVER_ERROR, None, Situation(1, 0, 60, others=True), Stop("attempts_used_up")),
        (FailureKind.SERVER_ERROR, None, Situation(1, 2, 0, others=True), Stop("deadline")),
        (FailureKind.INVALID_REQUEST, None, Situation(1, 2, 60, others=True), Stop("not_retryable")),
        (FailureKind.STALLED, None, Situation(1, 2, 60, others=True), Next()),
        (FailureKind.THROTTLED, 1.5, Situation(1, 2, 60, others=True), Next()),
        (FailureKind.THROTTLED, 1.5, Situation(1, 2, 60, others=False), Again(1.5)),
        (FailureKind.THROTTLED, 1.5, Situation(1, 2, 60, others=False, opens_in_s=1.8), Again(1.8)),
        (FailureKind.THROTTLED, None, Situation(1, 2, 60, others=False), Stop("no_other_target")),
        (FailureKind.THROTTLED, 1.5, Situation(1, 2, 4, others=False), Stop("wait_too_long")),
        (FailureKind.THROTTLED, 2.5, Situation(1, 2, 60, others=False), Stop("wait_too_long")),
        (FailureKind.DNS, None, Situation(1, 2, 60, others=False), Again(0.0)),
    ],
)
def test_verdicts(kind: FailureKind, hint_s: float | None, at: Situation, expected: object) -> None:
    assert decide(failure(kind, hint_s), at, 0.5) == expected


@given(
    st.sampled_from(list(FailureKind)),
    st.none() | st.floats(0, 1e5),
    st.integers(1, 5),
    st.integers(0, 5),
    st.floats(-1, 600),
    st.booleans(),
    st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_short_and_leaves_time(
    kind: FailureKind, hint_s: float | None, here: int, left: int, remaining_s: float, others: bool, dice: float
) -> None:
    verdict = decide(failure(kind, hint_s), Situation(here, left, remaining_s, others), dice)
    if isinstance(verdict, Again):
        assert 0 <= verdict.wait_s <= min(WAIT_IN_PROCESS_MAX_S, remaining_s / 4)
    if not isinstance(verdict, Stop):
        assert left > 0
        assert remaining_s > 0
    if not RULES[kind].fallback and RULES[kind].again == 0:
        assert isinstance(verdict, Stop)


@given(st.integers(1, 60), st.floats(0, 1, exclude_max=True), st.booleans())
def test_backoff_is_bounded(tries: int, dice: float, throttled: bool) -> None:
    assert 0 <= backoff_s(tries, dice, throttled=throttled) <= 20


def test_the_budget_allows_its_floor_and_then_a_fifth_of_the_traffic() -> None:
    budget = RetryBudget()
    assert sum(budget.spend(100.0) for _ in range(100)) == 30
    for _ in range(1000):
        budget.request(101.0)
    assert sum(budget.spend(101.0) for _ in range(1000)) == 170


def test_the_budget_forgets_after_its_window() -> None:
    budget = RetryBudget()
    assert all(budget.spend(100.0) for _ in range(30))
    assert not budget.spend(109.9)
    assert budget.spend(110.0)


@given(st.lists(st.tuples(st.floats(0, 0.5), st.booleans()), max_size=300))
def test_retries_never_exceed_the_budget_of_any_window(steps: list[tuple[float, bool]]) -> None:
    budget, now_s = RetryBudget(), 0.0
    requests: list[float] = []
    retries: list[float] = []
    for gap_s, wants_retry in steps:
        now_s += gap_s
        budget.request(now_s)
        requests.append(now_s)
        if wants_retry and budget.spend(now_s):
            retries.append(now_s)
            since_s = int(now_s) - RetryBudget.WINDOW_S + 1
            spent = sum(at >= since_s for at in retries)
            seen = sum(int(at) > int(now_s) - 2 * RetryBudget.WINDOW_S for at in requests)
            assert spent <= max(30, 0.2 * seen) + 1
