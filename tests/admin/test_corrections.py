"""What puts the books right: by a price, and by what providers say."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.sim.script import parse_script
from tests.admin.test_api import FIRST_KEY, PREFIX, House, standing

NOW = datetime.now(UTC)
YESTERDAY = (NOW - timedelta(days=1)).isoformat()
TOMORROW = (NOW + timedelta(days=1)).isoformat()
WRONG = {"provider": "a", "model": "gpt", "from": YESTERDAY, "cause": "the list was wrong"}


async def spent(house: House) -> Decimal:
    rows = (await house.root.get(f"{PREFIX}/usage?group_by=tenant")).json()["items"]
    return sum((Decimal(row["usd"]) for row in rows), Decimal(0))


async def priced(house: House, usd: float) -> None:
    """Both directions cost this much for each million tokens from now on."""
    override = house.document["prices"]["overrides"][0]
    override |= {"input_usd_per_million": usd, "output_usd_per_million": usd}
    assert (await house.root.post(f"{PREFIX}/config/reload")).json()["in_force"] is True


async def test_a_wrong_price_is_put_right_once_and_again_when_it_was_wrong_again(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        await house.ask(FIRST_KEY)
        line = next(iter(house.sim.bill))
        tokens = line.input_tokens + line.output_tokens
        for usd in (3, 5):
            await priced(house, usd)
            for added in (1, 0):
                answer = await house.root.post(f"{PREFIX}/ledger/rerate", json=WRONG)
                assert (answer.status_code, answer.json()) == (200, {"entries": added})
                assert await spent(house) == Decimal(tokens * usd) / 1_000_000
        assert (await house.root.get(f"{PREFIX}/ledger/verify")).json()["agree"] is True
        entries = (await house.root.get(f"{PREFIX}/ledger")).json()["items"]
        assert [entry["kind"] for entry in entries] == ["post", "adjust", "adjust"]
        usage = (await house.root.get(f"{PREFIX}/usage")).json()["items"][0]
        assert (usage["requests"], usage["input_tokens"] + usage["output_tokens"]) == (1, tokens)
        lines = (await house.root.get(f"{PREFIX}/audit?limit=1")).json()["items"]
        assert [(one["actor"], one["action"]) for one in lines] == [("root", "rerate")]


async def test_a_price_is_put_right_at_the_tier_that_served(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        house.sim.script = parse_script({"otherwise": {"answer": {"service_tier": "flex"}}})
        overrides = house.document["prices"]["overrides"]
        flex = {**overrides[0], "service_tier": "flex", "input_usd_per_million": 0.5, "output_usd_per_million": 0.5}
        overrides.append(flex)
        await priced(house, 1)
        await house.ask(FIRST_KEY, service_tier="flex")
        line = next(iter(house.sim.bill))
        tokens = line.input_tokens + line.output_tokens
        assert await spent(house) == Decimal(tokens) / 2_000_000
        flex |= {"input_usd_per_million": 0.25, "output_usd_per_million": 0.25}
        await priced(house, 2)
        answer = await house.root.post(f"{PREFIX}/ledger/rerate", json=WRONG)
        assert answer.json() == {"entries": 1}
        assert await spent(house) == Decimal(tokens) / 4_000_000
        entries = (await house.root.get(f"{PREFIX}/ledger")).json()["items"]
        assert [entry["service_tier"] for entry in entries] == ["flex", "flex"]


async def test_nothing_is_rerated_without_a_price_or_a_span(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        unknown = await house.root.post(f"{PREFIX}/ledger/rerate", json={**WRONG, "model": "another"})
        assert unknown.status_code == 404
        backwards = await house.root.post(f"{PREFIX}/ledger/rerate", json={**WRONG, "to": YESTERDAY})
        assert (backwards.status_code, backwards.json()["errors"][0]["field"]) == (422, "to")


async def compared(house: House, rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    answer = await house.root.post(f"{PREFIX}/ledger/reconcile", json={"provider": "a", "rows": rows, **more})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_a_providers_export_stands_beside_the_books_by_day_and_model(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        await house.ask(FIRST_KEY)
        await house.ask(FIRST_KEY)
        lines = list(house.sim.bill)
        row: dict[str, Any] = {
            "day": datetime.now(UTC).date().isoformat(),
            "model": "gpt",
            "input_tokens": sum(line.input_tokens for line in lines),
            "output_tokens": sum(line.output_tokens for line in lines),
        }
        usd = f"{await spent(house):f}"
        assert (await compared(house, [row]))["agree"] is True
        assert (await compared(house, [{**row, "usd": usd}]))["agree"] is True
        assert (await compared(house, [{**row, "day": None}]))["agree"] is True
        assert (await compared(house, [{**row, "usd": "0.5"}]))["agree"] is False
        short = {**row, "output_tokens": row["output_tokens"] - 1}
        told = await compared(house, [short])
        assert (told["agree"], told["lines"][0]["ours"]["output_tokens"]) == (False, row["output_tokens"])
        halves = [{**row, "input_tokens": 0, "output_tokens": 0}, row]
        assert (await compared(house, halves))["agree"] is True, "rows of one day and model are added up"
        told = await compared(house, [{**row, "model": "unheard-of"}])
        assert [(line["model"], line["agree"]) for line in told["lines"]] == [("gpt", False), ("unheard-of", False)]
        assert (await compared(house, [row], **{"from": TOMORROW}))["agree"] is False


@pytest.mark.parametrize("usd", ["0.000000001", "-0.25"])
async def test_an_adjustment_of_a_budget_counts_there_alone_and_is_no_usage(usd: str, tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        budget = (await house.root.get(f"{PREFIX}/tenants/first/budgets")).json()["items"][0]
        body = {"tenant": "first", "usd": usd, "cause": "agreed by telephone", "budget": budget["id"]}
        assert (await house.root.post(f"{PREFIX}/ledger/adjust", json=body)).status_code == 201
        shown = (await house.root.get(f"{PREFIX}/tenants/first/budgets/{budget['id']}")).json()
        assert (shown["spent"], await spent(house)) == ({"first": usd}, Decimal(0))
