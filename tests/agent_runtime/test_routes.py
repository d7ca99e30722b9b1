"""What the gateway does for agents: other targets, circuits, sessions that stay, quotas, the ledger."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from agent_runtime.api import Agent
from agent_runtime.contracts.errors import LLMFailed
from agent_runtime.domain.limits import Limits
from agent_runtime.domain.values import Principal
from agent_runtime.tools.access import AutoApprove
from sdk_client import CallContext, LLMClient, Message
from tests.agent_runtime.lab import Lab
from tests.workflows.troupe import agent as looper

ANN = Principal("demo", "ann")


@pytest.fixture
async def client(own_lab: Lab) -> AsyncIterator[LLMClient]:
    async with LLMClient(own_lab.url, own_lab.key) as client:
        yield client


def agent(client: LLMClient, model: str, **facts: Any) -> Agent:
    return Agent("main", client, "Go.", model=model, policy=AutoApprove(), principal=ANN, **facts)


async def test_row_07_08_a_route_has_a_second_target_and_the_result_names_who_answered(client: LLMClient) -> None:
    result = await agent(client, "second-helps").run("go")
    assert (result.finish_reason, result.target) == ("complete", "lab/kid")


async def test_row_09_a_target_whose_circuit_is_open_is_not_asked_any_more(own_lab: Lab, client: LLMClient) -> None:
    one = agent(client, "second-helps")
    asked = ["broken"]
    for number in range(60):
        own_lab.reset()
        assert (await one.run(f"go {number}")).target == "lab/kid"
        asked = [line["model"] for line in own_lab.bill()]
        if "broken" not in asked:
            break
    assert asked == ["kid"]


async def test_row_10_a_conversation_stays_with_its_target(client: LLMClient) -> None:
    one = agent(client, "either")
    targets = {c: {(await one.run("go", conversation_id=c)).target for _ in range(4)} for c in "abcdef"}
    assert all(len(found) == 1 for found in targets.values())
    assert len(set().union(*targets.values())) == 2


async def test_row_10_usage_says_how_often_another_provider_answered(client: LLMClient) -> None:
    one = agent(client, "elsewhere-helps")
    first = await one.run("go", conversation_id="moves")
    again = await one.run("go on", conversation_id="moves")
    async with one.stream("go") as events:
        streamed = await events.handle
    assert [(one.target, one.usage.provider_switches) for one in (first, again, streamed)] == [
        ("elsewhere/kid", 1),
        ("elsewhere/kid", 0),
        ("elsewhere/kid", 1),
    ]
    assert (await agent(client, "second-helps").run("go")).usage.provider_switches == 0, "the same provider"


async def test_row_32_a_quota_is_a_typed_error_with_the_time_to_wait(own_lab: Lab) -> None:
    async with LLMClient(own_lab.url, own_lab.environ["METERWAY_SLOW_KEY"]) as client:
        one = agent(client, "kid", limits=Limits(output_tokens=100))
        assert (await one.run("go")).finish_reason == "complete"
        with pytest.raises(LLMFailed) as caught:
            await one.run("go", timeout_s=3)
    assert caught.value.to_failure().kind == "rate_limited"
    assert (caught.value.retry_after_s or 0) > 1


async def test_row_39_every_call_is_in_the_ledger_by_run_parent_agent_and_model(
    own_lab: Lab, client: LLMClient
) -> None:
    context = CallContext(run_id="ledger-child", parent_run_id="ledger-root", tags={"agent": "kid"})
    await client.generate([Message.user("x")], model="kid", context=context)
    result = await agent(client, "kid").run("go")
    rows = own_lab.admin(f"runs/{result.run_id}")["items"]
    assert [(row["requests"], row["group"]["model"]) for row in rows] == [(1, "kid")]
    assert own_lab.admin("runs/ledger-root")["items"][0]["requests"] == 1
    headers = {"authorization": f"Bearer {own_lab.admin_key}"}
    url = f"{own_lab.admin_url}/admin/v1/usage?group_by=tenant,tag:agent"
    groups = httpx.get(url, headers=headers, trust_env=False).json()
    assert {"kid", "main"} <= {str(row["group"].get("tag:agent")) for row in groups["items"]}, groups
    entries = {entry["run_id"]: entry for entry in own_lab.admin("ledger?limit=1000")["items"]}
    child, mine = entries["ledger-child"], entries[result.run_id]
    assert (child["parent_run_id"], child["root_run_id"]) == ("ledger-root", "ledger-root")
    assert (mine["parent_run_id"], mine["session_id"]) == (None, result.run_id), "a run of its own is its conversation"
    assert {"provider", "model", "input_tokens", "cached_tokens", "reasoning_tokens", "usd"} <= set(mine)


async def test_row_38_iterations_bound_what_a_run_can_cost(own_lab: Lab, client: LLMClient) -> None:
    own_lab.reset()
    assert looper.spec.limits.iterations_max == 19
    one = Agent(
        "main",
        client,
        model="looper",
        tools=looper.spec.tools,
        policy=AutoApprove(),
        principal=ANN,
        hooks=looper.spec.hooks,
        limits=Limits(iterations_max=3),
    )
    assert (await one.run("go")).finish_reason == "max_iterations"
    assert len(own_lab.bill()) == 4
