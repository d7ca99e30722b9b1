"""Budgets over the real door: never overspent, well used, and clear words when they are empty."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.rows.house import House, standing
from tests.rows.talk import Seen
from tests.telemetry.test_webhooks import receiver

IN, OUT = 1_000, 2_000
"""Nano-USD for each token at the prices of the house."""

NANO = 1_000_000_000
REST_S = 0.01
"""Between a refusal for money that is only held and the next try: what holds it has to get on."""


WATCHED = {
    "id": "first",
    "keys": ["env:CALLER_ONE", "env:CALLER_TWO"],
    "budgets": [{"usd": 0.002, "per": "day", "thresholds": [10, 99]}],
}

PATIENT = {"connect_s": 10.0, "first_token_s": 20.0, "idle_s": 20.0, "total_s": 60.0}
"""Money is what is tried here: no slow machine shall end a call."""


@asynccontextmanager
async def spending(
    *budgets: Mapping[str, Any],
    answer: Mapping[str, Any] = {},
    pace: Mapping[str, Any] = {},
    prices: Sequence[Mapping[str, Any]] = (),
    **more: Any,
) -> AsyncIterator[House]:
    tenants = [
        {"id": "first", "keys": ["env:CALLER_ONE", "env:CALLER_TWO"], "budgets": list(budgets)},
        {"id": "second", "keys": ["env:CALLER_OTHER"]},
    ]
    script = {"otherwise": {"answer": dict(answer), "pace": dict(pace)}}
    more.setdefault("route", {"timeouts": PATIENT})
    extra: dict[str, Any] = {"tenants": tenants, "database": "memory", **more.pop("kept", {})}
    if prices:
        extra["prices"] = {"overrides": prices}
    async with standing(a=script, extra=extra, **more) as house:
        yield house


def spent(house: House) -> int:
    """What the records say; the provider's bill must say the same."""
    charged = sum(record.cost_nano_usd or 0 for record in house.records)
    bill = sum(line.input_tokens * IN + line.output_tokens * OUT for line in house.sims["a"].bill)
    assert charged == bill
    return charged


def left(house: House, number: int = 0) -> int:
    tenant = next(key.tenant for key in house.gateway.door.catalog.keys.values() if key.tenant.id == "first")
    return house.gateway.books.accounts.left(tenant.budgets[number], "first")


async def test_a_request_is_charged_what_it_cost_and_says_what_is_left() -> None:
    async with spending({"usd": 1, "per": "day"}) as house:
        seen = await house.ask(max_tokens=100)
        cost = spent(house)
        assert cost > 0
        second = await house.ask(max_tokens=100)
        assert seen.headers["x-gateway-budget-remaining-usd"] == f"{(NANO - cost) / NANO:.9f}".rstrip("0")
        assert second.status == 200


async def test_an_empty_budget_is_402_with_scope_and_reset() -> None:
    async with spending({"usd": 0.0001, "per": "day", "when_short": "refuse"}) as house:
        seen = await house.ask(max_tokens=100)
        assert (seen.status, seen.error["code"], seen.error["scope"]) == (402, "budget_exceeded", "tenant")
        assert seen.error["resets_at"].endswith("T00:00:00+00:00")
        assert (seen.headers["x-should-retry"], seen.error["retryable"]) == ("false", False)
        assert house.calls("a") == 0
        other = await house.ask(caller="other", max_tokens=100)
        assert other.status == 200


async def test_what_fits_only_smaller_is_cut_down_and_said() -> None:
    async with spending({"usd": 0.0005, "per": "day"}, answer={"text_chars": 4_000}) as house:
        seen = await house.ask(max_tokens=1_000)
        limit = int(seen.headers["x-gateway-output-limit"])
        assert 16 <= limit < 250
        assert seen.json["usage"]["completion_tokens"] == limit
        assert seen.json["choices"][0]["finish_reason"] == "length"
        assert 0 < spent(house) <= 500_000


@pytest.mark.parametrize("declared", [{"max_tokens": 40}, {}])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("callers", [20, 200])
async def test_a1_a_race_for_a_budget_overspends_nothing_and_uses_nearly_all(
    callers: int, stream: bool, declared: dict[str, Any]
) -> None:
    async with spending({"usd": 0.02, "per": "day"}, answer={"text_chars": 100}) as house:

        async def spend() -> None:
            for _ in range(1_000):
                seen = await house.ask(stream=stream, **declared)
                assert seen.status in (200, 402), seen
                if seen.status == 402:
                    if not seen.error["retryable"]:
                        return
                    await asyncio.sleep(REST_S)
            raise AssertionError("the budget never ends")

        await asyncio.gather(*(spend() for _ in range(callers)))
        assert 0.95 * 0.02 * NANO <= spent(house) <= 0.02 * NANO


async def test_reg6_the_largest_of_two_output_limits_is_held() -> None:
    async with spending({"usd": 0.001, "per": "day", "when_short": "refuse"}) as house:
        seen = await house.ask(max_tokens=1, max_completion_tokens=10_000)
        assert seen.status == 402
        seen = await house.ask(max_tokens=100, n=10)
        assert seen.status == 402


async def test_u31_under_a_budget_in_dollars_a_model_without_a_price_is_refused() -> None:
    prices = {"prices": {"unknown": "refuse"}}
    tenants = [
        {"id": "first", "keys": ["env:CALLER_ONE"], "budgets": [{"usd": 1, "per": "day"}]},
        {"id": "second", "keys": ["env:CALLER_OTHER"], "budgets": [{"tokens": 10_000, "per": "day"}]},
    ]
    async with standing(a={}, extra={"database": "memory", "tenants": tenants, **prices}) as house:
        seen = await house.ask()
        assert (seen.status, seen.error["code"]) == (400, "model_not_priced")
        assert house.calls("a") == 0
        assert (await house.ask(caller="other")).status == 200


async def run(house: House, run_id: str, parent: str | None = None, **more: Any) -> Seen:
    headers = {"x-run-id": run_id} | ({"x-parent-run-id": parent} if parent else {})
    return await house.ask(headers=headers, max_tokens=50, **more)


async def test_a_tree_of_runs_shares_one_budget() -> None:
    async with spending({"usd": 0.001, "per": "lifetime", "for": "run"}, answer={"text_chars": 200}) as house:
        chain = [("root", None), ("child", "root"), ("grandchild", "child")]
        statuses = [(await run(house, *chain[number % 3])).status for number in range(30)]
        assert statuses[0] == 200
        assert statuses[-3:] == [402, 402, 402]
        assert 0.85 * 1_000_000 <= spent(house) <= 1_000_000
        assert (await run(house, "another")).status == 200


async def test_a_tree_of_runs_is_one_tree_also_after_a_restart(tmp_path: Path) -> None:
    kept = {"database": f"sqlite:///{tmp_path}/books.db", "journal": f"{tmp_path}/journal"}
    budget, long = {"usd": 0.001, "per": "lifetime", "for": "run"}, {"text_chars": 200}
    async with spending(budget, answer=long, kept=kept) as house:
        for pair in [("root", None), ("child", "root"), ("grandchild", "child")]:
            assert (await run(house, *pair)).status == 200
        while (await run(house, "root")).status == 200:
            pass
    async with spending(budget, answer=long, kept=kept) as house:
        for pair in [("grandchild", "child"), ("child", "root"), ("another", "grandchild")]:
            assert (await run(house, *pair)).status == 402, pair
        assert (await run(house, "a tree of its own")).status == 200


async def test_a_stream_that_goes_on_beyond_its_reservation_is_cut() -> None:
    answer = {"text_chars": 4_000, "ignore_output_limit": True}
    async with spending({"usd": 0.0005, "per": "day"}, answer=answer, pace={"event_s": 0.001}) as house:
        seen = await house.ask(stream=True, max_tokens=50)
        assert (seen.status, seen.whole, seen.error["code"]) == (200, True, "reservation_exhausted")
        record = house.record
        assert record.provenance.value == "counted"
        assert record.usage.output * 4 - 3 <= len(seen.text) <= record.usage.output * 4
        assert 0 < (record.cost_nano_usd or 0) <= 50 * OUT + 2 * record.usage.input * IN


async def test_a1_a_provider_that_ignores_limits_cannot_overspend_with_streams() -> None:
    answer = {"text_chars": 2_000, "ignore_output_limit": True}
    async with spending({"usd": 0.01, "per": "day"}, answer=answer, pace={"event_s": 0.001}) as house:

        async def spend() -> None:
            for _ in range(200):
                seen = await house.ask(stream=True, max_tokens=60)
                if seen.status == 402 and not seen.error["retryable"]:
                    return

        await asyncio.gather(*(spend() for _ in range(50)))
        charged = sum(record.cost_nano_usd or 0 for record in house.records)
        assert 0.95 * 0.01 * NANO <= charged <= 0.01 * NANO


BOUNDLESS = {"text_chars": 2_000, "ignore_output_limit": True}
LAX = {"a": {"enforces_output_limit": False}}


async def test_a1_a_provider_that_ignores_limits_cannot_overspend_with_whole_answers() -> None:
    budget, pace = {"usd": 0.01, "per": "day"}, {"event_s": 0.001}
    async with spending(budget, answer=BOUNDLESS, pace=pace, providers=LAX) as house:

        async def spend() -> None:
            for _ in range(200):
                seen = await house.ask(max_tokens=60)
                if seen.status == 402 and not seen.error["retryable"]:
                    return

        await asyncio.gather(*(spend() for _ in range(50)))
        charged = sum(record.cost_nano_usd or 0 for record in house.records)
        assert 0.95 * 0.01 * NANO <= charged <= 0.01 * NANO


async def test_a_whole_answer_is_cut_where_its_provider_has_gone_beyond_a_limit_before() -> None:
    """The first one is a surprise, and told as an overrun."""
    async with spending({"usd": 1, "per": "day"}, answer=BOUNDLESS, pace={"event_s": 0.001}) as house:
        first = await house.ask(max_tokens=50)
        assert (first.json["usage"]["completion_tokens"], house.record.overrun) == (500, True)
        second = await house.ask(max_tokens=50)
        assert second.json["choices"][0]["finish_reason"] == "length"
        assert 0 < second.json["usage"]["completion_tokens"] <= 50
        assert (house.record.overrun, house.record.provenance.value) == (False, "counted")


async def test_an_answer_within_its_limit_is_the_same_read_as_a_stream() -> None:
    answer = {"text_chars": 100, "tool_calls": [{"name": "look", "arguments": {"city": "Rome"}, "fragments": 3}]}
    answers = []
    for providers in ({}, LAX):
        async with spending({"usd": 1, "per": "day"}, answer=answer, providers=providers) as house:
            seen = await house.ask(max_tokens=500)
            assert seen.status == 200, seen
            assert house.record.provenance.value == "exact"
            (choice,), usage = seen.json["choices"], seen.json["usage"]
            calls = [call["function"] for call in choice["message"]["tool_calls"]]
            tokens = usage["prompt_tokens"], usage["completion_tokens"]
            answers.append((choice["message"]["content"], calls, choice["finish_reason"], tokens))
            assert json.loads(house.sims["a"].requests[0].body).get("stream", False) == bool(providers)
    assert answers[0] == answers[1]


async def test_failed_attempts_cost_nothing_where_no_bill_can_be() -> None:
    script = {"otherwise": {"fault": {"kind": "status", "status": 500}}}
    tenants = [{"id": "first", "keys": ["env:CALLER_ONE"], "budgets": [{"usd": 1, "per": "day"}]}]
    async with standing(a=script, b={}, extra={"tenants": tenants, "database": "memory"}) as house:
        seen = await house.ask(max_tokens=10)
        assert seen.status == 200
        served = sum(line.input_tokens * IN + line.output_tokens * OUT for line in house.sims["b"].bill)
        assert house.record.cost_nano_usd == served
        assert left(house) == NANO - served


async def test_a_threshold_that_is_crossed_is_told_once_to_the_webhook() -> None:
    async with receiver(200) as made:
        webhooks = [{"url": made.url}]
        extra = {"tenants": [WATCHED], "database": "memory", "webhooks": webhooks}
        async with standing(a={"otherwise": {"answer": {"text_chars": 100}}}, extra=extra) as house:
            while not made.got:
                assert (await house.ask(max_tokens=50)).status == 200
            for _ in range(3):
                await house.ask(max_tokens=50)
        assert [json.loads(body)["percent"] for _, body in made.got] == [10]


USUAL = {"provider": "a", "model": "gpt", "input_usd_per_million": 1, "output_usd_per_million": 2}
FLEX = {**USUAL, "service_tier": "flex", "input_usd_per_million": 0.5, "output_usd_per_million": 1}
SOON = {**USUAL, "service_tier": "priority", "input_usd_per_million": 5, "output_usd_per_million": 10}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("asked", "served", "times"), [("flex", "flex", 0.5), ("priority", "default", 1), (None, "default", 1)]
)
async def test_a_service_tier_is_charged_at_what_was_served(
    asked: str | None, served: str, times: float, stream: bool
) -> None:
    answer = {"text_chars": 100, "service_tier": served}
    async with spending({"usd": 1, "per": "day"}, answer=answer, prices=[USUAL, FLEX, SOON]) as house:
        before = left(house)
        more = {} if asked is None else {"service_tier": asked}
        seen = await house.ask(stream=stream, max_tokens=50, **more)
        (line,) = house.sims["a"].bill
        cost = round(times * (line.input_tokens * IN + line.output_tokens * OUT))
        assert seen.status == 200
        assert (house.record.cost_nano_usd, before - left(house)) == (cost, cost)
