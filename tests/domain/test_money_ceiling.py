"""What a request may cost at most, and how much output an amount pays for."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.catalog import Price
from gateway.domain.money import TOKENS_MAX, affordable_output, ceiling_nano_usd, cost_nano_usd
from gateway.domain.reply import Usage
from tests.domain.money_values import INPUT_KINDS, OUTPUT_KINDS
from tests.domain.values import deployment

RATES = st.one_of(st.just(0), st.integers(1, 10**4), st.integers(1, 10**13))
TOKENS = st.one_of(st.integers(0, 50), st.integers(0, 10**7))


@st.composite
def prices(draw: st.DrawFn, *, tiered: bool = True) -> Price:
    rates = {kind: draw(st.none() | RATES) for kind in (*INPUT_KINDS, *OUTPUT_KINDS)}
    tiers: tuple[tuple[int, Price], ...] = ()
    if tiered:
        thresholds = sorted(draw(st.sets(st.integers(1, 10**6), max_size=3)))
        tiers = tuple((above, draw(prices(tiered=False))) for above in thresholds)
    fee = draw(st.just(0) | RATES)
    return Price(draw(RATES), draw(RATES), per_request=fee, tiers=tiers, **rates)  # type: ignore[arg-type]  # ints


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    kinds = {kind: draw(st.just(0) | TOKENS) for kind in (*INPUT_KINDS, *OUTPUT_KINDS)}
    return Usage(draw(TOKENS), draw(TOKENS), **kinds)


@given(prices(), usages(), st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_usage_within_these_tokens_costs_more_than_the_ceiling(
    price: Price, usage: Usage, more_input: int, more_output: int
) -> None:
    ceiling = ceiling_nano_usd(price, usage.input + more_input, usage.output + more_output)
    assert cost_nano_usd(price, usage) <= ceiling


@given(prices(tiered=False), TOKENS, TOKENS)
def test_without_tiers_some_usage_costs_the_ceiling_but_for_the_rounding(
    price: Price, tokens_in: int, tokens_out: int
) -> None:
    wholes_in = (Usage(tokens_in, 0, **{kind: tokens_in}) for kind in INPUT_KINDS)
    wholes_out = (Usage(0, tokens_out, **{kind: tokens_out}) for kind in OUTPUT_KINDS)
    dear_in = max(cost_nano_usd(price, usage) for usage in (Usage(tokens_in), *wholes_in)) - price.per_request
    dear_out = max(cost_nano_usd(price, usage) for usage in (Usage(0, tokens_out), *wholes_out)) - price.per_request
    ceiling = ceiling_nano_usd(price, tokens_in, tokens_out) - price.per_request
    assert 0 <= ceiling - (dear_in + dear_out) + 1 <= 3


@given(prices(), TOKENS, st.integers(0, 10**15))
def test_what_is_affordable_fits_and_one_token_more_does_not(price: Price, tokens_in: int, nano_usd: int) -> None:
    output = affordable_output(price, tokens_in, nano_usd)
    if output == -1:
        assert ceiling_nano_usd(price, tokens_in, 0) > nano_usd
        return
    assert ceiling_nano_usd(price, tokens_in, output) <= nano_usd
    assert output == TOKENS_MAX or ceiling_nano_usd(price, tokens_in, output + 1) > nano_usd


@given(prices(), TOKENS, TOKENS)
def test_a_ceiling_pays_for_the_output_that_it_was_reckoned_with(price: Price, tokens_in: int, tokens_out: int) -> None:
    assert affordable_output(price, tokens_in, ceiling_nano_usd(price, tokens_in, tokens_out)) >= tokens_out


@given(prices(), TOKENS, TOKENS, st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_tokens_never_lower_the_ceiling(
    price: Price, tokens_in: int, tokens_out: int, more_in: int, more_out: int
) -> None:
    least = ceiling_nano_usd(price, tokens_in, tokens_out)
    assert least <= ceiling_nano_usd(price, tokens_in + more_in, tokens_out + more_out)


@given(prices(), TOKENS, st.integers(0, 10**15), st.integers(0, 10**12))
def test_more_money_never_affords_less(price: Price, tokens_in: int, nano_usd: int, more: int) -> None:
    assert affordable_output(price, tokens_in, nano_usd) <= affordable_output(price, tokens_in, nano_usd + more)


def test_a_price_holds_from_its_second_on() -> None:
    first, second = Price(1, 1), Price(2, 2)
    dated = deployment("a", price=first, later_prices=((100.0, second), (200.0, None)))
    assert [dated.price_at(wall_s) for wall_s in (0, 99.9, 100, 199.9, 200)] == [first, first, second, second, None]


def test_a_service_tier_without_a_price_on_a_day_costs_what_all_others_do() -> None:
    default, flex = Price(2, 2), Price(1, 1)
    dated = deployment("a", price=default, service_prices={"flex": ((0.0, None), (100.0, flex))})
    assert [dated.price_at(wall_s, "flex") for wall_s in (99, 100)] == [default, flex]
    assert dated.price_at(100, "scale") is default
    assert dated.price_at(100) is default


def test_a_request_that_declares_a_tier_may_be_charged_at_the_default_one() -> None:
    default, flex = Price(2, 2), Price(1, 1)
    priced = deployment("a", price=default, service_prices={"flex": ((0.0, flex),)})
    assert priced.prices_at(0) == (default,)
    assert priced.prices_at(0, "flex") == (default, flex)
    assert priced.prices_at(0, "scale") == (default,)
    unknown = deployment("a", service_prices={"flex": ((0.0, flex),)})
    assert (unknown.prices_at(0), unknown.prices_at(0, "flex")) == ((), (flex,))
