"""A tree of fifty child workflows on one budget, kept by the gateway."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from agent_runtime.api import redis_services
from agent_runtime.connectors.treasury import GatewayTreasurer
from sdk_client import LLMClient
from tests.agent_runtime.conftest import redis_url
from tests.agent_runtime.lab import CHILDREN, Lab
from tests.agent_runtime.test_budget import BUDGET_NANO_USD, TOP_UP_NANO_USD, parent, spent_nano_usd
from tests.workflows.conftest import Stage

__all__ = ["redis_url"]


@pytest.fixture
async def services(lab: Lab, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    monkeypatch.setenv("LAB_ADMIN_KEY", lab.admin_key)
    treasurer = GatewayTreasurer(lab.admin_url, "env:LAB_ADMIN_KEY")
    async with LLMClient(lab.url, lab.key) as client:
        made = replace(redis_services(client, redis_url), treasurer=treasurer)
        yield made
        await made.close()
    await treasurer.close()


async def test_row_37_fifty_child_workflows_do_not_overspend_their_tree(services: Any, stage: Stage, lab: Lab) -> None:
    one = parent(services)
    async with stage.playing(one):
        result = await one.run("go")
    assert result.finish_reason == "budget_exceeded"
    assert result.delegations == CHILDREN
    spent = spent_nano_usd(lab, result.run_id)
    assert 0 < spent <= BUDGET_NANO_USD
    assert result.usage.cost_nano_usd == spent


async def test_row_37_a_top_up_lets_a_durable_run_go_on(services: Any, stage: Stage, lab: Lab) -> None:
    one = parent(services, on_budget="approve", top_up_nano_usd=TOP_UP_NANO_USD)
    async with stage.playing(one):
        result = await one.run("go", on_approval=lambda approval: approval.kind == "budget")
    assert (result.finish_reason, result.text) == ("complete", "all done")
    assert spent_nano_usd(lab, result.run_id) == result.usage.cost_nano_usd
