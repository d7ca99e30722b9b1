"""Every model of genai-prices, converted, costs what genai-prices itself reckons."""

import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import genai_prices
import pytest
from genai_prices.data import providers as vendors
from genai_prices.data_units import unit_data
from genai_prices.types import ModelInfo, ModelPrice, StartDateConstraint, TieredPrices, TimeOfDateConstraint
from genai_prices.types import Provider as Vendor
from genai_prices.types import Usage as TheirUsage

from gateway.config.price_list import Dates, Listed, convert, listed, read
from gateway.domain.catalog import Origin, Price
from gateway.domain.money import cost_nano_usd
from gateway.domain.reply import Usage

MODELS = [(vendor, info) for vendor in vendors for info in vendor.models]
SERVICES = ("service_tier", "processing", "speed")
NOTHING = {key: 0 for key in unit_data if key != "requests"}
ROOT = Path(__file__).parents[2]


def on(dates: Dates, day: date) -> Price | None:
    return [price for starts, price in dates if starts <= day][-1] if dates else None


def ours_of(known: Listed, service: str | None, day: date) -> Price | None:
    special = on(known.services.get(service, ()), day) if service else None
    return special or on(known.prices, day)


def hourly(info: ModelInfo) -> bool:
    conditional = info.prices if isinstance(info.prices, list) else []
    return any(isinstance(item.constraint, TimeOfDateConstraint) for item in conditional)


def moments(info: ModelInfo, dice: random.Random) -> Iterator[datetime]:
    """Both sides of each day on which something begins, at some hour, and some other time."""
    conditional = info.prices if isinstance(info.prices, list) else []
    constraints = [item.constraint for item in (*conditional, *(info.price_variants or ()))]
    days = {constraint.start_date for constraint in constraints if isinstance(constraint, StartDateConstraint)}
    days |= {day - timedelta(days=1) for day in days}
    days.add(date(2020, 1, 1) + timedelta(days=dice.randrange(4_000)))
    for day in sorted(days):
        yield datetime.combine(day, time(dice.randrange(24), dice.randrange(60)), UTC)


def contexts(vendor: Vendor, info: ModelInfo) -> list[tuple[str | None, dict[str, str]]]:
    cases: list[tuple[str | None, dict[str, str]]] = [(None, {})]
    for variant in info.price_variants or ():
        (key, value), *more = variant.when.items()
        if key in SERVICES and not more:
            cases.append((value, {key: value}))
    return cases


def usage_for(prices: ModelPrice, dice: random.Random) -> tuple[Usage, TheirUsage]:
    """One usage in both forms: disjoint parts of kinds that both sides price alike."""
    starts = [tier.start for price in vars(prices).values() if isinstance(price, TieredPrices) for tier in price.tiers]
    whole = dice.choice([dice.randrange(1_000), dice.randrange(10**6), *starts, *(start + 1 for start in starts)])
    output = dice.randrange(10**5) if prices.output_mtok is not None else 0
    cuts = sorted(dice.randrange(whole + 1) for _ in range(5))
    cached, write_5m, write_1h, audio, image = (end - start for start, end in zip([0, *cuts], cuts, strict=False))
    out_cuts = sorted(dice.randrange(output + 1) for _ in range(3))
    thought, voice, picture = (end - start for start, end in zip([0, *out_cuts], out_cuts, strict=False))
    ours = Usage(whole, output, cached, thought, write_5m, write_1h, audio, image, voice, picture)
    theirs = TheirUsage(
        **{
            **NOTHING,
            "input_tokens": whole,
            "output_tokens": output,
            "cache_read_tokens": cached,
            "cache_write_tokens": write_5m + write_1h,
            "cache_write_1h_tokens": write_1h,
            "input_audio_tokens": audio,
            "input_image_tokens": image,
            "output_reasoning_tokens": thought,
            "output_audio_tokens": voice,
            "output_image_tokens": picture,
        }
    )
    return ours, theirs


def their_nano_usd(prices: ModelPrice, usage: TheirUsage) -> int:
    return int((prices.calc_price(usage)["total_price"] * 10**9).to_integral_value(ROUND_HALF_UP))


def exact(prices: ModelPrice) -> bool:
    """Not with the noise of binary fractions."""
    every = [price for price in vars(prices).values() if isinstance(price, Decimal)]
    tiered = [price for price in vars(prices).values() if isinstance(price, TieredPrices)]
    every += [price for item in tiered for price in (item.base, *(tier.price for tier in item.tiers))]
    return all((price * 10**9) % 1 == 0 for price in every)


def test_every_model_of_the_list_costs_what_the_list_itself_reckons() -> None:
    dice = random.Random(random.getrandbits(64))
    compared = 0
    for vendor, info in MODELS:
        known = read(vendor, info)
        for service, context in contexts(vendor, info):
            for moment in moments(info, dice):
                prices = info.get_prices(moment, context)
                price = ours_of(known, service, moment.date())
                if prices.input_mtok is None:
                    assert price is None, (vendor.id, info.id)
                    continue
                assert price is not None, (vendor.id, info.id)
                for _ in range(3):
                    ours, theirs = usage_for(prices, dice)
                    cost, wanted = cost_nano_usd(price, ours), their_nano_usd(prices, theirs)
                    compared += 1
                    where = (vendor.id, info.id, service, moment, ours)
                    if hourly(info):
                        assert cost >= wanted, where
                    else:
                        assert abs(cost - wanted) <= (0 if exact(prices) else 1), where
    assert compared > 3 * len(MODELS)


def test_where_the_hour_counts_the_dearest_one_is_taken_whole() -> None:
    vendor, info = next((vendor, info) for vendor, info in MODELS if hourly(info) and not info.price_variants)
    days = {datetime.combine(date(2026, 11, 20), time(hour), UTC) for hour in range(24)}
    dearest = max(their_nano_usd(info.get_prices(day), TheirUsage(input_tokens=10**6)) for day in days)
    price = on(read(vendor, info).prices, date(2026, 11, 20))
    assert price is not None
    assert price.input == dearest


def test_ids_name_the_source_the_model_the_service_and_the_day() -> None:
    known = listed(Origin("https", "api.openai.com", 443), "/v1", "gpt-4.1")
    assert known is not None
    assert [price.id for _, price in known.prices if price] == [
        f"genai-prices/openai/gpt-4.1@{genai_prices.__version__}"
    ]
    assert [price.id for _, price in known.services["priority"] if price] == [
        "genai-prices/openai/gpt-4.1:priority@2026-10-12"
    ]


def test_an_id_stands_for_one_price() -> None:
    seen: dict[str, Price] = {}
    for vendor, info in MODELS:
        known = read(vendor, info)
        for _, price in (*known.prices, *(item for dates in known.services.values() for item in dates)):
            if price is not None:
                assert seen.setdefault(price.id, price) == price


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({}, None),
        ({"input_mchars": Decimal(1)}, None),
        ({"input_mtok": Decimal(0), "output_mtok": Decimal(0)}, Price(0, 0, id="x")),
        ({"input_mtok": Decimal(2)}, Price(2 * 10**9, 2 * 10**9, id="x")),
        (
            {"input_mtok": Decimal(1), "output_mtok": Decimal(2), "cache_write_mtok": Decimal(3)},
            Price(10**9, 2 * 10**9, cache_write_5m=3 * 10**9, cache_write_1h=3 * 10**9, id="x"),
        ),
        (
            {"input_mtok": Decimal(1), "output_mtok": Decimal(2), "requests_kcount": Decimal(5)},
            Price(10**9, 2 * 10**9, per_request=5_000_000, id="x"),
        ),
    ],
)
def test_parts_that_the_list_leaves_out(parts: dict[str, Decimal], expected: Price | None) -> None:
    assert convert("x", ModelPrice(**parts)) == expected


@pytest.mark.parametrize(
    ("scheme", "host", "port", "vendor"),
    [
        ("https", "api.openai.com", 443, "openai"),
        ("https", "api.openai.com", 8443, None),
        ("http", "api.openai.com", 443, None),
        ("https", "10.0.0.1", 443, None),
        ("https", "localhost", 443, None),
        ("https", "proxy.example.org", 443, None),
        ("https", "mine.openai.azure.com", 443, "azure"),
    ],
)
def test_a_host_is_known_by_its_address(scheme: str, host: str, port: int, vendor: str | None) -> None:
    known = listed(Origin(scheme, host, port), "/v1", "gpt-4.1")
    assert (None if known is None or known.prices[0][1] is None else known.prices[0][1].id.split("/")[1]) == vendor


def test_only_what_writes_has_a_window_for_the_whole_request() -> None:
    origin = Origin("https", "api.openai.com", 443)
    chat, vectors = listed(origin, "/v1", "gpt-4.1"), listed(origin, "/v1", "text-embedding-3-small")
    assert chat is not None
    assert vectors is not None
    assert chat.context_tokens is not None
    assert vectors.context_tokens is None


def test_the_list_is_loaded_only_for_a_public_host_without_an_override() -> None:
    code = """
import sys
from pathlib import Path
import gateway.app
from gateway.config.load import load_text
from tests.config.samples import SMALL, SMALL_ENVIRON
def loaded(text):
    load_text(text, Path("g.yaml"), SMALL_ENVIRON)
    return "genai_prices" in sys.modules
override = "{provider: p, model: x, input_usd_per_million: 1, output_usd_per_million: 1}"
assert not loaded(SMALL.replace("kind: openai", "kind: openai, base_url: 'http://127.0.0.1:1/v1'"))
assert not loaded(SMALL + f"prices: {{overrides: [{override}]}}")
assert loaded(SMALL)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
