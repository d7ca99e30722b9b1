"""Prices over the real door: reloaded as a whole, and a zero that the provider said stays zero."""

import pytest

from tests.rows.house import House, standing

DOLLARS = {"usd": 1, "per": "day"}
TENANTS = [{"id": "first", "keys": ["env:CALLER_ONE"], "budgets": [DOLLARS]}]
KEPT = {"database": "memory", "tenants": TENANTS}


def priced(house: House, provider: str, usd: int, **more: object) -> None:
    """From the next reload on."""
    row = {"provider": provider, "model": "gpt", "input_usd_per_million": usd, "output_usd_per_million": usd, **more}
    rows = [item for item in house.document["prices"]["overrides"] if item["provider"] != provider]
    house.document["prices"] = {**house.document["prices"], "overrides": [*rows, row]}


async def test_reg17_a_reload_updates_prices_costs_and_the_cheapest_route() -> None:
    route = {"strategy": "cheapest"}
    same = {"a": {"priority": 1}, "b": {"priority": 1}}
    async with standing(a={}, b={}, route=route, targets=same, extra={"database": "memory"}) as house:
        for cheap, dear in (("a", "b"), ("b", "a"), ("a", "b")):
            priced(house, cheap, 2)
            priced(house, dear, 3)
            house.reload()
            seen = await house.ask(max_tokens=50)
            assert seen.headers["x-gateway-target"] == f"{cheap}/gpt"
            assert house.record.cost_nano_usd == 2_000 * house.record.usage.total


async def test_reg17_a_reload_updates_what_an_unknown_price_means() -> None:
    async with standing(a={}, extra={**KEPT, "prices": {"unknown": "refuse", "overrides": []}}) as house:
        for unknown, status in (("refuse", 400), ("unpriced", 200), ("refuse", 400)):
            house.document["prices"] = {"unknown": unknown}
            house.reload()
            assert (await house.ask(max_tokens=50)).status == status
        house.document["prices"] = {"unknown": {"input_usd_per_million": 7, "output_usd_per_million": 7}}
        house.reload()
        assert (await house.ask(max_tokens=50)).status == 200
        assert house.record.cost_nano_usd == 7_000 * house.record.usage.total


@pytest.mark.parametrize("stream", [False, True])
async def test_reg10_explicit_zero_usage_is_not_replaced_by_an_estimate(stream: bool) -> None:
    async with standing(a={"otherwise": {"answer": {"usage": "zero"}}}, extra=KEPT) as house:
        house.honest = False
        priced(house, "a", 1_000)
        house.reload()
        assert (await house.ask(stream=stream, max_tokens=50)).status == 200
        record = house.record
        assert (record.usage.total, record.cost_nano_usd, record.provenance.value) == (0, 0, "exact")
        priced(house, "a", 1_000, per_request_usd=0.25)
        house.reload()
        assert (await house.ask(stream=stream, max_tokens=50)).status == 200
        assert (house.record.usage.total, house.record.cost_nano_usd) == (0, 250_000_000)
