"""A4: the limiter decides as exact arithmetic does, for any traffic."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.quota import Rate, adjust, put_back, take

GRID = 1_024
"""Steps of a second on which requests arrive, exact in floats too."""

LIMITS = st.lists(st.tuples(st.integers(1, 60_000), st.booleans()), min_size=1, max_size=4)
STEPS = st.lists(
    st.tuples(st.integers(0, 40 * GRID), st.integers(0, 5_000), st.sampled_from(["settle", "return", "keep"])),
    max_size=60,
)


class Exact:
    """GCRA over fractions: a bucket of one minute's worth that drains evenly."""

    def __init__(self, rates: list[Rate]) -> None:
        self.rates = rates
        self.owed = {rate.counter: Fraction(0) for rate in rates}
        self.now = Fraction(0)

    def pass_to(self, now: Fraction) -> None:
        for rate in self.rates:
            drained = (now - self.now) * rate.per_minute / 60
            self.owed[rate.counter] = max(Fraction(0), self.owed[rate.counter] - drained)
        self.now = now

    def take(self, tokens: int) -> bool:
        after = {rate.counter: self.owed[rate.counter] + (tokens if rate.by_tokens else 1) for rate in self.rates}
        if any(after[rate.counter] > rate.per_minute for rate in self.rates):
            return False
        self.owed = after
        return True

    def give(self, rate: Rate, units: int) -> None:
        self.owed[rate.counter] = max(Fraction(0), self.owed[rate.counter] - units)


@settings(max_examples=2_000)
@given(LIMITS, STEPS)
def test_a4_the_limiter_is_its_exact_oracle(limits: list[tuple[int, bool]], steps: list[tuple[int, int, str]]) -> None:
    rates = [
        Rate(f"c{n}", "tokens" if by_tokens else "requests", per_minute, by_tokens)
        for n, (per_minute, by_tokens) in enumerate(limits)
    ]
    exact, arrivals, now = Exact(rates), dict[str, float](), Fraction(0)
    for pause, tokens, then in steps:
        now += Fraction(pause, GRID)
        exact.pass_to(now)
        refusal = take(arrivals, tuple(rates), tokens, float(now))
        assert (refusal is None) == exact.take(tokens), (now, tokens)
        if refusal is not None or then == "keep":
            continue
        if then == "settle":
            adjust(arrivals, tuple(rates), tokens, tokens // 3, float(now))
        else:
            put_back(arrivals, tuple(rates), tokens, float(now))
        for rate in rates:
            if rate.by_tokens:
                exact.give(rate, tokens - tokens // 3 if then == "settle" else tokens)
            elif then == "return":
                exact.give(rate, 1)
