"""Cost in integers against exact fractions."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.catalog import Price
from gateway.domain.money import cost_nano_usd, usd_text
from gateway.domain.reply import Usage


@settings(max_examples=400)
@given(
    st.integers(0, 10**13),
    st.integers(0, 10**13),
    st.none() | st.integers(0, 10**13),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
)
def test_a3_cost_equals_the_exact_fraction_rounded_half_up(
    price_in: int, price_out: int, price_cached: int | None, tokens_in: int, tokens_out: int, cached: int
) -> None:
    cached = min(cached, tokens_in)
    exact = Fraction(
        (tokens_in - cached) * price_in
        + cached * (price_in if price_cached is None else price_cached)
        + tokens_out * price_out,
        10**6,
    )
    cost = cost_nano_usd(Price(price_in, price_out, price_cached), Usage(tokens_in, tokens_out, cached))
    assert cost == int(exact + Fraction(1, 2))


@given(st.integers(0, 10**18))
def test_usd_text_is_exact(nano_usd: int) -> None:
    assert Fraction(usd_text(nano_usd)) == Fraction(nano_usd, 10**9)
