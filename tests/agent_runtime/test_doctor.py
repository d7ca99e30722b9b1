"""Thirteen checks, each of which can fail."""

import asyncio
import base64
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_runtime.api import Agent, local_services, sqlite_services
from agent_runtime.api.config import RuntimeConfig, config_of, services_of
from agent_runtime.cli.doctor import Doctor, Finding
from agent_runtime.connectors.scripted import ScriptedLLM
from agent_runtime.contracts.errors import ConfigError
from agent_runtime.domain.limits import Limits
from agent_runtime.tools.access import AutoApprove
from tests.agent_runtime.cast import Props
from tests.agent_runtime.lab import Lab

NAMES = [
    "fallback",
    "rate_limits",
    "cost",
    "errors",
    "timeouts",
    "iterations",
    "approvals",
    "temporal",
    "workers",
    "conversation",
    "observability",
    "secrets",
    "upgrade",
]
BOUNDED = Limits(tokens_max=100_000)


def fine(**facts: Any) -> Agent:
    return Agent("main", None, "Go.", model="kid", **{"limits": BOUNDED, **facts})


@pytest.fixture
def config(own_lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RuntimeConfig:
    monkeypatch.setenv("LAB_KEY", own_lab.key)
    monkeypatch.setenv("LAB_PAYLOAD_KEY", base64.b64encode(os.urandom(32)).decode())
    return RuntimeConfig(
        gateway_url=own_lab.url, gateway_key="env:LAB_KEY", store=str(tmp_path / "a.db"), temporal="127.0.0.1:1"
    )


async def examined(config: RuntimeConfig, agent: Agent | None = None, **more: Any) -> dict[str, Finding]:
    services = more.pop("services", None) or sqlite_services(ScriptedLLM({}), config.store)
    found = await Doctor(config, [agent or fine()], services, more.pop("histories", None)).examine()
    assert [one.name for one in found] == NAMES
    return {one.name: one for one in found}


async def test_row_60_what_is_well_is_well_and_what_is_away_is_named(config: RuntimeConfig) -> None:
    found = await examined(config)
    assert {name for name, one in found.items() if not one.ok} == {"temporal", "workers"}
    assert "start it or give another address" in found["temporal"].said


@pytest.mark.parametrize(
    ("name", "agent", "said"),
    [
        ("fallback", Agent("main", model="nowhere", limits=BOUNDED), "no route 'nowhere'"),
        ("timeouts", fine(limits=Limits(timeout_s=200_000)), "longer than a day"),
        ("iterations", fine(limits=Limits(iterations_max=51)), "more than 50 iterations"),
        ("approvals", fine(tools=Props().tools(), policy=AutoApprove()), "'delete' without asking"),
    ],
)
async def test_row_60_an_agent_that_is_not_fit_is_named(
    config: RuntimeConfig, name: str, agent: Agent, said: str
) -> None:
    found = (await examined(config, agent))[name]
    assert not found.ok
    assert said in found.said


async def test_row_60_production_asks_for_more(config: RuntimeConfig) -> None:
    found = await examined(replace(config, environment="production"), Agent("main", model="kid"))
    bad = {name: one.said for name, one in found.items() if not one.ok}
    assert "has no budget" in bad["cost"]
    assert "METERWAY_AGENT_STORE" in bad["conversation"]
    assert "METERWAY_PAYLOAD_KEY" in bad["secrets"]
    assert "--histories" in bad["upgrade"]
    assert "METERWAY_OTLP_ENDPOINT" in bad["observability"]


async def test_row_48_a_collector_is_reached_and_in_production_encrypted(config: RuntimeConfig) -> None:
    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    there = replace(config, otlp_endpoint=f"http://127.0.0.1:{port}")
    assert (await examined(there))["observability"].ok
    server.close()
    await server.wait_closed()
    assert "ConnectionRefused" in (await examined(there))["observability"].said
    plain = replace(there, environment="production", otlp_endpoint="http://collector.example:4318")
    assert "has to be https" in (await examined(plain))["observability"].said
    with pytest.raises(ConfigError, match=r"METERWAY_OTLP_ENDPOINT is .* has to be https"):
        services_of(plain)


async def test_row_28_a_store_of_one_process_is_named(config: RuntimeConfig) -> None:
    found = await examined(config, services=local_services(ScriptedLLM({})))
    assert "memory of one process" in found["conversation"].said


async def test_row_43_keys_in_plain_text_are_named_without_being_shown(config: RuntimeConfig) -> None:
    plain = replace(config, gateway_key="gw_demo_abcdefghijklmnopqrst")
    found = await examined(plain)
    assert "plain text" in found["secrets"].said
    assert "abcdefgh" not in repr(found)
    with pytest.raises(ConfigError, match="holds a key"):
        config_of({"METERWAY_GATEWAY_URL": "http://sk-abcdefghijklmnopqrst@host/v1"})


async def test_row_31_histories_that_this_code_does_not_follow_are_named(config: RuntimeConfig, tmp_path: Path) -> None:
    recorded = Path(__file__).parents[1] / "workflows" / "histories"
    assert (await examined(config, histories=recorded))["upgrade"].ok
    changed = (recorded / "tools.json").read_text().replace('"agent.think"', '"agent.other"')
    (tmp_path / "changed.json").write_text(changed)
    assert "changed.json" in (await examined(config, histories=tmp_path))["upgrade"].said


def test_row_47_one_environment_configures_every_process() -> None:
    config = config_of(
        {
            "METERWAY_GATEWAY_URL": "http://gateway/v1",
            "METERWAY_AGENT_KEY": "gw_something_secret_and_long",
            "METERWAY_AGENT_STORE": "redis://127.0.0.1",
            "METERWAY_AGENT_HEARTBEAT_S": "5",
            "METERWAY_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        }
    )
    assert config.gateway_key == "env:METERWAY_AGENT_KEY"
    assert (config.heartbeat_s, config.store, config.environment) == (5.0, "redis://127.0.0.1", "development")
    with pytest.raises(ConfigError, match="'soon'; give seconds"):
        config_of({"METERWAY_AGENT_HEARTBEAT_S": "soon"})
