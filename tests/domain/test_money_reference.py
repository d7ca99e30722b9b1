"""Cost against an independent reckoning in decimal dollars."""

import random

from gateway.domain.catalog import Price
from gateway.domain.money import cost_nano_usd
from gateway.domain.reply import Usage
from tests.domain.money_values import random_price, random_usage, reference_nano_usd

USAGES_OF_A_PRICE = 20


def differences(vectors: int) -> list[tuple[Price, Usage]]:
    dice = random.Random(random.getrandbits(64))
    found = []
    for _ in range(vectors // USAGES_OF_A_PRICE):
        price = random_price(dice)
        for _ in range(USAGES_OF_A_PRICE):
            usage = random_usage(dice, price)
            if cost_nano_usd(price, usage) != reference_nano_usd(price, usage):
                found.append((price, usage))
    return found


def test_a3_a_million_random_usages_cost_what_the_reference_says() -> None:
    assert differences(1_000_000) == []


def test_kinds_without_a_price_of_their_own_cost_what_the_whole_does() -> None:
    kinds = dict.fromkeys(("cached_input", "cache_write_5m", "cache_write_1h", "audio_input", "image_input"), 100)
    price = Price(3_000_000, 5_000_000)
    assert cost_nano_usd(price, Usage(1_000, 10, reasoning=10, **kinds)) == cost_nano_usd(price, Usage(1_000, 10))


def test_the_highest_tier_reached_holds_for_all_tokens_of_a_request() -> None:
    price = Price(1_000_000, 0, tiers=((100, Price(2_000_000, 0)), (200, Price(3_000_000, 0))))
    tokens = (100, 101, 200, 201)
    assert [cost_nano_usd(price, Usage(count)) for count in tokens] == [100, 202, 400, 603]


def test_a_fee_for_each_request_is_paid_once() -> None:
    assert cost_nano_usd(Price(1_000_000, 1_000_000, per_request=7), Usage(2, 3)) == 12


def test_half_a_nano_dollar_is_rounded_up_once_at_the_end() -> None:
    price = Price(500_000, 500_000, cached_input=500_000, reasoning=499_999)
    assert cost_nano_usd(price, Usage(1)) == 1
    assert cost_nano_usd(price, Usage(1, 1, cached_input=1)) == 1
    assert cost_nano_usd(price, Usage(0, 1, reasoning=1)) == 0
