"""A client that is cut off goes on without a gap and without a repetition, while the run is under way."""

from dataclasses import replace
from typing import Any

import pytest

from agent_runtime.api import Agent, local_services
from agent_runtime.tools.access import AutoApprove
from tests.agent_runtime.cast import ANN, Props
from tests.agent_runtime.resuming import SCRIPT, Unhurried, everyone_sees_the_same


@pytest.fixture
def one(stores: Any) -> Agent:
    services = replace(local_services(Unhurried({"main": SCRIPT})), events=stores.events)
    return Agent("main", services=services, tools=Props().tools(), policy=AutoApprove(), principal=ANN)


async def test_row_59_a_client_is_cut_off_at_every_offset_while_the_run_is_under_way(one: Agent) -> None:
    await everyone_sees_the_same(one, lambda run_id: lambda offset: one.attach(run_id).events(offset))
