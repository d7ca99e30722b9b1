"""What a tree of runs may spend, enforced by the gateway."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from agent_runtime.api import Agent, local_services
from agent_runtime.api.config import config_of, services_of
from agent_runtime.connectors.scripted import Line, ScriptedLLM
from agent_runtime.connectors.treasury import GatewayTreasurer
from agent_runtime.contracts.errors import ConfigError
from agent_runtime.domain.approval import Approval
from agent_runtime.domain.limits import Limits
from agent_runtime.domain.values import Principal, Usage
from agent_runtime.inline.runtime import InlineRuntime
from agent_runtime.tools.access import AutoApprove
from sdk_client import LLMClient
from tests.agent_runtime.cast import agent, calls
from tests.agent_runtime.lab import CHILDREN, Lab
from tests.workflows.troupe import look

ANN = Principal("demo", "ann")
BUDGET_NANO_USD = 1_000_000_000
"""A dollar: by the lab's prices, room for about ten of fifty children."""

TOP_UP_NANO_USD = 20 * BUDGET_NANO_USD
DEAR_ANSWER_NANO_USD = 900_000_000


@pytest.fixture
async def services(own_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    monkeypatch.setenv("LAB_ADMIN_KEY", own_lab.admin_key)
    treasurer = GatewayTreasurer(own_lab.admin_url, "env:LAB_ADMIN_KEY")
    async with LLMClient(own_lab.url, own_lab.key) as client:
        yield replace(local_services(client), treasurer=treasurer)
    await treasurer.close()


def parent(services: Any, **limits: Any) -> Agent:
    room: dict[str, Any] = {"fan_out_max": CHILDREN, "delegations_max": CHILDREN, "parallel_max": CHILDREN}
    known = Limits(output_tokens=200, nano_usd_max=BUDGET_NANO_USD, **room, **limits)
    kid = Agent("kid", model="kid", limits=Limits(output_tokens=200))
    facts: dict[str, Any] = {"policy": AutoApprove(), "principal": ANN}
    return Agent("main", services=services, model="family", sub_agents=[kid], limits=known, **facts)


def spent_nano_usd(lab: Lab, run_id: str) -> int:
    rows = lab.admin(f"runs/{run_id}")["items"]
    return int(sum(Decimal(row["usd"]) for row in rows) * 10**9)


async def test_row_37_fifty_children_at_once_do_not_overspend_the_budget_of_their_tree(
    services: Any, own_lab: Lab
) -> None:
    result = await parent(services).run("go")
    assert result.finish_reason == "budget_exceeded"
    spent = spent_nano_usd(own_lab, result.run_id)
    assert 0 < spent <= BUDGET_NANO_USD
    assert result.usage.cost_nano_usd == spent
    assert result.delegations == CHILDREN
    assert len([message for message in result.messages if message.role == "tool"]) == CHILDREN


async def test_row_37_a_top_up_lets_the_run_go_on(services: Any, own_lab: Lab) -> None:
    one = parent(services, on_budget="approve", top_up_nano_usd=TOP_UP_NANO_USD)
    result = await one.run("go", on_approval=lambda approval: approval.kind == "budget")
    assert result.finish_reason == "complete"
    assert result.text == "all done"
    assert [record.approval.kind for record in result.approvals] == ["budget"]
    assert spent_nano_usd(own_lab, result.run_id) > BUDGET_NANO_USD - 120_000_000
    assert spent_nano_usd(own_lab, result.run_id) == result.usage.cost_nano_usd
    budgets = own_lab.admin("tenants/demo/budgets")["items"]
    assert [budget for budget in budgets if budget["of"] == result.run_id] == []


async def test_row_37_a_cheaper_model_goes_on_with_what_is_left(services: Any, own_lab: Lab) -> None:
    """The first answer is dear and calls many tools; to read what they gave costs more than is left."""
    limits = Limits(output_tokens=1_000, nano_usd_max=DEAR_ANSWER_NANO_USD, on_budget="degrade")
    facts: dict[str, Any] = {"policy": AutoApprove(), "principal": ANN, "cheaper_model": "words", "limits": limits}
    result = await Agent("main", services=services, model="family", tools=[look], **facts).run("go")
    assert (result.finish_reason, result.target, result.usage.llm_calls) == ("complete", "lab/words", 2)
    assert spent_nano_usd(own_lab, result.run_id) == result.usage.cost_nano_usd <= DEAR_ANSWER_NANO_USD


async def test_row_33_the_gateway_alone_repeats_calls(own_lab: Lab) -> None:
    own_lab.reset()
    async with LLMClient(own_lab.url, own_lab.key) as client:
        one = Agent("main", client, model="broken", policy=AutoApprove(), principal=ANN)
        outcome = await one.try_run("go", timeout_s=20)
    assert outcome.outcome.finish_reason == "failed"
    assert 1 <= len(own_lab.bill()) <= 3


async def test_row_37_the_commands_keep_a_runs_budget_at_the_gateway_also_for_streams(
    own_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {
        "METERWAY_GATEWAY_URL": own_lab.url,
        "METERWAY_AGENT_KEY": own_lab.key,
        "METERWAY_ADMIN_URL": own_lab.admin_url,
        "METERWAY_ADMIN_KEY": own_lab.admin_key,
        "METERWAY_AGENT_STORE": "memory",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    services = services_of(config_of(environ))
    async with parent(services).stream("go") as events:
        async for _ in events:
            pass
        ended = (await events.handle.outcome()).outcome
    await services.close()
    assert ended.finish_reason == "budget_exceeded"
    assert 0 < spent_nano_usd(own_lab, ended.ref.run_id) <= BUDGET_NANO_USD


async def test_row_37_dollars_that_nothing_would_hold_are_refused_before_a_run_begins() -> None:
    """Whether the services come with the agent, later, or are another runtime's."""
    limits = Limits(nano_usd_max=5)
    said = r"agent 'kid': limits\.nano_usd_max is 5 .*METERWAY_ADMIN_URL\), or set limits\.tokens_max"
    with pytest.raises(ConfigError, match=said):
        agent([], sub_agents=[Agent("kid", limits=limits)])
    late = Agent("main", sub_agents=[Agent("kid", limits=limits)], principal=ANN)
    with pytest.raises(ConfigError, match=said):
        await late.on(InlineRuntime(local_services(ScriptedLLM({})))).start("go")


async def test_row_37_approving_more_tokens_says_how_many_and_needs_nobody_else() -> None:
    used = Usage(1, 600, 400)
    limits = Limits(tokens_max=1_000, on_budget="approve", top_up_tokens=5_000)
    script = [replace(calls("look"), usage=used), Line("done", usage=used)]
    one = agent(script, limits=limits)
    told: list[str] = []

    def decide(approval: Approval) -> bool:
        told.append(approval.arguments)
        return True

    result = await one.run("go", on_approval=decide)
    assert (result.finish_reason, result.text) == ("complete", "done")
    assert [json.loads(text)["addsTokens"] for text in told] == [5_000]
    assert [json.loads(text)["addsNanoUsd"] for text in told] == [0]
