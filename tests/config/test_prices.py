"""Where a target's price comes from, day by day, and what a reload changes."""

import json
import random
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.effective import effective
from gateway.config.load import ConfigInvalid, load_text
from gateway.config.prices import day_of
from gateway.config.settings import Loaded
from gateway.domain.catalog import Deployment, Price, Strategy
from gateway.domain.money import cost_nano_usd
from gateway.domain.reply import Usage
from gateway.domain.request import Needs
from gateway.domain.routing import Conditions, plan

FILE = Path("/etc/meterway/gateway.yaml")
ENVIRON = {"KEY": "sk-1", "TENANT": "a-tenant-key-of-some-length"}
TODAY = date(2026, 11, 20)
GPT = {"provider": "openai", "model": "gpt-4.1"}
QWEN = {"provider": "local", "model": "qwen3"}
COSTS = {"input_usd_per_million": 1, "output_usd_per_million": 2}
USD = 10**9


def loaded(
    *overrides: dict[str, Any], unknown: object = "refuse", today: date | None = TODAY, budgets: object = ()
) -> Loaded:
    """Model `m` may be answered by openai/gpt-4.1 and local/qwen3; the list knows the first one only."""
    document = {
        "providers": {
            "openai": {"kind": "openai", "keys": ["env:KEY"]},
            "local": {"kind": "openai", "base_url": "http://127.0.0.1:9/v1", "keys": ["none"]},
        },
        "models": {"m": {"targets": [GPT, QWEN], "strategy": "cheapest"}},
        "tenants": [{"id": "t", "keys": ["env:TENANT"], "budgets": list(budgets)}],  # type: ignore[call-overload]
        "prices": {"unknown": unknown, "overrides": list(overrides)},
    }
    return load_text(yaml.safe_dump(document), FILE, ENVIRON, today=today)


def gpt(*overrides: dict[str, Any], **more: Any) -> Deployment:
    return loaded(*overrides, **more).catalog.routes["m"].deployments[0]


def qwen(*overrides: dict[str, Any], **more: Any) -> Deployment:
    return loaded(*overrides, **more).catalog.routes["m"].deployments[1]


def at(day: date) -> float:
    return datetime.combine(day, time(0), UTC).timestamp()


def name_at(deployment: Deployment, day: date, service_tier: str | None = None) -> str | None:
    price = deployment.price_at(at(day), service_tier)
    return None if price is None else price.id


def usd(cost: int, **more: Any) -> dict[str, Any]:
    return {"input_usd_per_million": cost, "output_usd_per_million": cost, **more}


def test_every_part_of_an_override_becomes_an_exact_integer() -> None:
    parts = {
        "cached_input": 0.02,
        "cache_write_5m": 0.125,
        "cache_write_1h": 0.2,
        "reasoning": 0.5,
        "audio_input": 40,
        "image_input": 8,
        "audio_output": 80,
        "image_output": 0.000000001,
    }
    figures = {f"{name}_usd_per_million": value for name, value in parts.items()}
    found = qwen({**QWEN, **COSTS, **figures, "per_request_usd": 0.012}).price
    assert found == Price(
        USD, 2 * USD,
        cached_input=20_000_000, cache_write_5m=125_000_000, cache_write_1h=200_000_000, reasoning=500_000_000,
        audio_input=40 * USD, image_input=8 * USD, audio_output=80 * USD, image_output=1,
        per_request=12_000_000, id="override/local/qwen3",
    )  # fmt: skip


def test_a_tier_says_what_changes_and_the_rest_is_as_below_it() -> None:
    tiers = [
        {"above_input_tokens": 100, "input_usd_per_million": 3},
        {"above_input_tokens": 200, "output_usd_per_million": 9},
    ]
    price = qwen({**QWEN, **COSTS, "cached_input_usd_per_million": 0.5, "per_request_usd": 1, "tiers": tiers}).price
    assert price is not None
    rates = [(above, tier.input, tier.output, tier.cached_input) for above, tier in price.tiers]
    assert rates == [(100, 3 * USD, 2 * USD, USD // 2), (200, 3 * USD, 9 * USD, USD // 2)]
    assert cost_nano_usd(price, Usage(201, 1)) == 201 * 3_000 + 9_000 + USD


def test_an_override_beats_the_list_while_it_holds() -> None:
    bounds = {"from": date(2026, 12, 1), "until": date(2027, 1, 1)}
    target = gpt({**GPT, **COSTS, **bounds})
    named = [name_at(target, day) for day in (TODAY, date(2026, 11, 30), date(2026, 12, 1), date(2026, 12, 31))]
    assert named[0] == named[1]
    assert str(named[0]).startswith("genai-prices/openai/gpt-4.1@")
    assert named[2:] == ["override/openai/gpt-4.1@2026-12-01"] * 2
    assert name_at(target, date(2027, 1, 1)) == named[0]


def test_the_override_that_began_last_holds() -> None:
    rows = [{**QWEN, **usd(cost), "from": date(2026, month, 1)} for cost, month in ((1, 1), (2, 6), (3, 12))]
    target = qwen(*rows)
    assert target.price is not None
    assert target.price.id == "override/local/qwen3@2026-06-01"
    assert [wall_s for wall_s, _ in target.later_prices] == [at(date(2026, 12, 1))]
    assert name_at(target, date(2026, 12, 1)) == "override/local/qwen3@2026-12-01"


DAYS = st.none() | st.dates(date(2026, 10, 1), date(2026, 12, 31))


@given(st.lists(st.tuples(DAYS, DAYS), max_size=4, unique_by=lambda bounds: bounds[0]), DAYS, st.booleans())
def test_each_day_has_the_price_that_the_rows_say(
    bounds: list[tuple[date | None, date | None]], today: date | None, listed: bool
) -> None:
    """By a look at each row for each day from today on, the plainest way."""
    rows = [(start, end) for start, end in bounds if start is None or end is None or start < end]
    model = GPT if listed else QWEN
    overrides = [{**model, **usd(1), "from": start, "until": end} for start, end in rows]
    today = today or TODAY
    target = (gpt if listed else qwen)(*overrides, today=today)
    for number in range(120):
        day = today + timedelta(days=number)
        holding = [start or date.min for start, end in rows if (start or date.min) <= day < (end or date.max)]
        name = name_at(target, day)
        if holding:
            first = max(holding)
            suffix = "" if first == date.min else f"@{first}"
            assert name == f"override/{model['provider']}/{model['model']}{suffix}"
        else:
            assert (name is None) is not listed
            assert name is None or name.startswith("genai-prices/")


def test_a_service_tier_has_its_own_price_from_the_list_or_an_override() -> None:
    day = date(2026, 12, 1)
    plain = gpt()
    assert name_at(plain, day, "priority") == "genai-prices/openai/gpt-4.1:priority@2026-10-12"
    assert name_at(plain, day, "batch") == "genai-prices/openai/gpt-4.1:batch@2026-10-14"
    assert name_at(plain, day, "auto") == name_at(plain, day)
    flex = gpt({**GPT, **COSTS, "service_tier": "flex"})
    assert name_at(flex, day, "flex") == "override/openai/gpt-4.1:flex"
    assert name_at(flex, day, "priority") == name_at(plain, day, "priority")
    assert name_at(flex, day) == name_at(plain, day)


def test_an_override_without_a_service_tier_prices_the_model_at_all_of_them() -> None:
    target = gpt({**GPT, **COSTS, "from": date(2026, 12, 1)}, {**GPT, **usd(9), "service_tier": "flex"})
    assert name_at(target, TODAY, "priority") == "genai-prices/openai/gpt-4.1:priority@2026-10-12"
    assert name_at(target, date(2026, 12, 1), "priority") == "override/openai/gpt-4.1@2026-12-01"
    assert name_at(target, date(2026, 12, 1), "flex") == "override/openai/gpt-4.1:flex"
    always = gpt({**GPT, **COSTS})
    assert name_at(always, TODAY, "priority") == "override/openai/gpt-4.1"


def test_a_service_tier_may_get_its_price_later() -> None:
    start = TODAY + timedelta(days=9)
    target = qwen({**QWEN, **COSTS}, {**QWEN, **COSTS, "service_tier": "flex", "from": start})
    names = [name_at(target, day, "flex") for day in (TODAY, start)]
    assert names == ["override/local/qwen3", f"override/local/qwen3:flex@{start}"]


def test_prices_on_the_way_are_compiled_in_from_the_list_too() -> None:
    document = {
        "providers": {"g": {"kind": "gemini", "keys": ["env:KEY"]}},
        "models": {"m": {"targets": [{"provider": "g", "model": "gemini-3.8-flash-tts"}]}},
        "tenants": [{"id": "t", "keys": ["env:TENANT"]}],
    }
    target = load_text(json.dumps(document), FILE, ENVIRON, today=TODAY).catalog.routes["m"].deployments[0]
    start = date(2027, 1, 1)
    before, after = target.price_at(at(start) - 1, "flex"), target.price_at(at(start), "flex")
    assert before is not None
    assert after is not None
    assert after.input == 2 * before.input
    assert target.price_at(at(start)) != target.price


def test_u31_a_model_without_a_price_is_a_policy_and_never_free() -> None:
    for policy in ("refuse", "unpriced"):
        known = loaded(unknown=policy)
        assert known.settings.prices.unknown == policy
        assert known.catalog.routes["m"].deployments[1].price is None
    known = loaded(unknown={**COSTS, "reasoning_usd_per_million": 3})
    assert known.settings.prices.unknown == Price(USD, 2 * USD, reasoning=3 * USD, id="fallback")
    first, second = known.catalog.routes["m"].deployments
    assert second.price == known.settings.prices.unknown
    assert first.price is not None
    assert first.price.id.startswith("genai-prices/")


def test_u31_after_the_last_day_of_an_override_the_policy_holds_again() -> None:
    row = {**QWEN, **COSTS, "until": date(2026, 12, 1)}
    assert [name_at(qwen(row), day) for day in (TODAY, date(2026, 12, 1))] == ["override/local/qwen3", None]
    assert name_at(qwen(row, unknown=COSTS), date(2026, 12, 1)) == "fallback"


def test_u31_who_has_a_budget_in_dollars_is_told_of_targets_without_a_price() -> None:
    dollars, tokens = {"usd": 1, "per": "day"}, {"tokens": 1, "per": "day"}
    assert [warning.where for warning in loaded(budgets=[tokens, dollars]).warnings] == ["models.m"]
    assert "local/qwen3" in loaded(budgets=[dollars]).warnings[0].message
    for silent in (
        loaded(budgets=[tokens]),
        loaded(),
        loaded(unknown="unpriced", budgets=[dollars]),
        loaded(unknown=COSTS, budgets=[dollars]),
        loaded({**QWEN, **COSTS}, budgets=[dollars]),
    ):
        assert silent.warnings == ()


def test_u32_a_request_that_runs_keeps_the_price_of_the_catalog_it_began_with() -> None:
    before = loaded({**QWEN, **usd(1)}).catalog.routes["m"].deployments[1]
    after = loaded({**QWEN, **usd(5), "from": TODAY}).catalog.routes["m"].deployments[1]
    began_s, later_s = at(TODAY), at(TODAY) + 3_600
    assert [before.price_at(wall_s) for wall_s in (began_s, later_s)] == [before.price] * 2
    assert (name_at(before, TODAY), name_at(after, TODAY)) == (
        "override/local/qwen3",
        f"override/local/qwen3@{TODAY}",
    )


def test_u32_a_price_that_begins_at_midnight_leaves_what_began_before_it() -> None:
    target = qwen({**QWEN, **usd(1)}, {**QWEN, **usd(5), "from": TODAY + timedelta(days=1)})
    midnight_s = at(TODAY + timedelta(days=1))
    prices = [target.price_at(wall_s) for wall_s in (midnight_s - 0.001, midnight_s)]
    assert [price.input for price in prices if price] == [USD, 5 * USD]


def test_reg17_a_reload_updates_prices_and_all_that_derives_from_them() -> None:
    """Old price maps with new model sets (or the other way round) made access outages elsewhere."""
    cheap, dear = {**QWEN, **usd(1)}, {**QWEN, **usd(50)}
    for row, first, unknown in ((cheap, "local", "refuse"), (dear, "openai", "unpriced"), (cheap, "local", COSTS)):
        known = loaded(row, unknown=unknown)
        route = known.catalog.routes["m"]
        assert route.strategy is Strategy.CHEAPEST
        now = Conditions(blocked=lambda _: None, latency_s=lambda _: 0.0, dice=random.random)
        assert plan(route, Needs(input_tokens=1_000), now).order[0].provider.name == first
        wanted = row["input_usd_per_million"] * USD
        assert [item.price.input for item in known.settings.prices.overrides] == [wanted]
        assert all(target in route.deployments for tier in route.tiers for target in tier)
        prices = [target.price for tier in route.tiers for target in tier if target.provider.name == "local"]
        assert [price.input for price in prices if price] == [wanted]
        shown = json.dumps(effective(known))
        assert f'"input_usd_per_million": "{row["input_usd_per_million"]}"' in shown
        assert isinstance(known.settings.prices.unknown, Price) is (unknown == COSTS)


def test_the_window_of_the_list_is_the_default_of_context_tokens() -> None:
    assert gpt().capabilities.context_tokens == 1_000_000
    assert gpt({**GPT, **COSTS}).capabilities.context_tokens is None
    assert qwen().capabilities.context_tokens is None


def test_without_a_day_what_begins_last_holds_always() -> None:
    target = qwen({**QWEN, **usd(1)}, {**QWEN, **usd(2), "from": date(2099, 1, 1)}, today=None)
    assert (name_at(target, TODAY), target.later_prices) == ("override/local/qwen3@2099-01-01", ())


def test_what_is_in_force_is_told_in_the_words_of_the_file() -> None:
    row = {**QWEN, **COSTS, "per_request_usd": 0.5, "tiers": [{"above_input_tokens": 9, "input_usd_per_million": 3}]}
    later = {**QWEN, **usd(7), "from": date(2027, 1, 1)}
    told = json.loads(json.dumps(effective(loaded(row, later, {**QWEN, **usd(8), "service_tier": "flex"}))))
    target = told["models"]["m"]["deployments"][1]
    tier = {"above_input_tokens": 9, "id": "", "input_usd_per_million": "3", "output_usd_per_million": "2"}
    whole = {"id": "override/local/qwen3", "input_usd_per_million": "1", "output_usd_per_million": "2"}
    assert target["price"] == {**whole, "per_request_usd": "0.5", "tiers": [{**tier, "per_request_usd": "0.5"}]}
    assert [item["from"] for item in target["later_prices"]] == ["2027-01-01"]
    assert target["service_prices"]["flex"][0]["price"]["id"] == "override/local/qwen3:flex"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tiers": [{"above_input_tokens": 2}, {"above_input_tokens": 1}]}, "do not ascend"),
        ({"tiers": [{"above_input_tokens": 2}, {"above_input_tokens": 2}]}, "do not ascend"),
        ({"tiers": [{"above_input_tokens": 0}]}, "out of range"),
        ({"from": TODAY, "until": TODAY}, "before it begins"),
        ({"service_tier": "Flex!"}, "service_tier"),
        ({"reasoning_usd_per_million": -1}, "out of range"),
        ({"per_request_usd": 0.00000000001}, "nine decimals"),
        ({"reasonning_usd_per_million": 1}, "did you mean 'reasoning_usd_per_million'"),
    ],
)
def test_what_cannot_be_meant_is_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        loaded({**QWEN, **COSTS, **row})
    assert message in str(caught.value)


def test_two_service_tiers_may_have_prices_from_the_same_day_and_one_may_not_have_two() -> None:
    flex = {**QWEN, **COSTS, "service_tier": "flex"}
    assert len(loaded({**QWEN, **COSTS}, flex).settings.prices.overrides) == 2
    with pytest.raises(ConfigInvalid, match="a second price"):
        loaded(flex, flex)


def test_days_are_counted_in_utc() -> None:
    assert [day_of(at(TODAY) + offset_s) for offset_s in (-0.001, 0, 86_399.9)] == [
        TODAY - timedelta(days=1),
        TODAY,
        TODAY,
    ]
