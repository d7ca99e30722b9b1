"""What went wrong elsewhere does not here; the numbers are those of the list."""

import asyncio
from typing import Any

import msgspec
import pytest

from gateway.domain.request import Operation
from gateway.http.endpoints import BY_PATH
from gateway.stores.redis.address import CONNECT_TIMEOUT_S, TIMEOUT_S, address_of, client_of
from tests.money.test_budgets import NANO, left, spending, spent
from tests.rows.house import CALLERS, standing
from tests.rows.talk import hang_up, request, talk


async def test_reg2_tokens_of_a_running_request_count_before_it_has_ended() -> None:
    tenants = [
        {"id": "first", "keys": ["env:CALLER_ONE", "env:CALLER_TWO"], "limits": {"tokens_per_minute": 1_000}},
        {"id": "second", "keys": ["env:CALLER_OTHER"]},
    ]
    script = {"otherwise": {"pace": {"head_gate": "go"}}}
    async with standing(a=script, extra={"tenants": tenants, "database": "memory"}) as house:
        running = asyncio.create_task(house.ask(max_tokens=900))
        while house.calls("a") < 1:
            await asyncio.sleep(0.01)
        seen = await house.ask(caller="two", max_tokens=900)
        assert (seen.status, seen.error["code"]) == (429, "rate_limit_exceeded")
        house.sims["a"].open("go")
        assert (await running).status == 200


async def test_reg3_nothing_stays_held_whatever_way_a_request_ends() -> None:
    fault = {"kind": "status", "status": 500}
    async with spending({"usd": 1, "per": "day"}, route={"attempts": 1}) as house:
        await house.ask(max_tokens=50)
        house.script("a", otherwise={"fault": fault})
        for stream in (False, True):
            assert (await house.ask(stream=stream, max_tokens=50)).status >= 500
        house.script("a", otherwise={"pace": {"head_gate": "never"}})
        _, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(house.message(max_tokens=50))
        while house.calls("a") < 4:
            await asyncio.sleep(0.01)
        await hang_up(writer)
        while len(house.records) < 4:
            await asyncio.sleep(0.01)
        charged = sum(record.cost_nano_usd or 0 for record in house.records)
        assert left(house) == NANO - charged


async def test_reg7_i10_a_crowd_of_first_requests_of_an_unknown_user_shares_one_budget() -> None:
    budget = {"usd": 0.0005, "per": "day", "for": "user"}
    async with spending(budget, answer={"text_chars": 100}) as house:
        asking = (house.ask(f"question {n}", user="nobody knew", max_tokens=40) for n in range(60))
        statuses = [seen.status for seen in await asyncio.gather(*asking)]
        assert 0 < statuses.count(200) < 60
        assert spent(house) <= 500_000


@pytest.mark.parametrize("more", [{}, {"user": "somebody"}, {"headers": {"x-run-id": "r1"}}])
async def test_reg11_every_budget_of_a_request_is_checked_whatever_else_it_names(more: dict[str, Any]) -> None:
    tight = {"usd": 0.00001, "per": "day", "for": "key", "when_short": "refuse"}
    roomy = [{"usd": 1, "per": "day", "for": name} for name in ("user", "run", "tenant")]
    async with spending(tight, *roomy) as house:
        seen = await house.ask(max_tokens=100, **more)
        assert (seen.status, seen.error["scope"], house.calls("a")) == (402, "key:first#0", 0)


PAID = [path.decode() for path, each in BY_PATH.items() if each.operation is not Operation.COUNT_TOKENS]


@pytest.mark.parametrize("path", PAID)
async def test_reg13_no_kind_of_call_goes_past_the_budget(path: str) -> None:
    async with spending({"usd": 0.000001, "per": "day", "when_short": "refuse"}) as house:
        said = {"input": "a text of some words", "messages": [{"role": "user", "content": "a text of some words"}]}
        body = msgspec.json.encode({"model": "m", "max_tokens": 50, "max_output_tokens": 50, **said})
        seen = await talk(house.port, request(body, {"authorization": f"Bearer {CALLERS['one']}"}, path))
        assert (seen.status, house.calls("a")) == (402, 0), path


@pytest.mark.parametrize(
    "url",
    ["redis://h", "rediss://u:p@h:1/2", "redis+sentinel://h,i/gw", "redis+cluster://h:1,i:2", "rediss+cluster://h"],
)
def test_reg15_every_way_to_name_the_store_has_the_same_patience(url: str) -> None:
    client = client_of(address_of(url))
    pool = getattr(client, "connection_pool", None)
    words = pool.connection_kwargs if pool is not None else client.connection_kwargs  # type: ignore[union-attr]
    assert (words["socket_timeout"], words["socket_connect_timeout"]) == (TIMEOUT_S, CONNECT_TIMEOUT_S)
    retry = words["retry"] if pool is not None else client.retry  # type: ignore[union-attr]
    assert retry._retries == 0


async def test_reg16_a_reload_that_drops_a_provider_does_not_end_its_live_streams() -> None:
    pace = {"event_gate": "go", "gate_after_events": 1}
    async with standing(["a", "b"], a={"otherwise": {"pace": pace}}, b={}) as house:
        running = asyncio.create_task(house.ask(stream=True))
        while house.calls("a") < 1:
            await asyncio.sleep(0.01)
        del house.document["providers"]["a"]
        house.document["models"]["m"]["targets"].pop(0)
        house.document["prices"]["overrides"].pop(0)
        house.reload()
        assert (await house.ask()).headers["x-gateway-target"] == "b/gpt"
        house.sims["a"].open("go")
        assert (await running).done
