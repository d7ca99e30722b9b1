"""Benchmarks, evaluations and sizing."""

import json
import math
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.contracts.errors import ConfigError
from agent_runtime.domain.values import Usage
from agent_runtime.evaluation.bench import bench, evaluate, percentile
from agent_runtime.evaluation.capacity import Load, Quota, sizing
from agent_runtime.evaluation.plan import PriceSection, read_plan
from agent_runtime.evaluation.prices import usd_of
from tests.agent_runtime.lab import running

QUICK = """
llm: {latency_ms: 1, jitter_ms: 0, mock_tokens: 500}
tool: {latency_ms: 0, jitter_ms: 0}
agent: {runs: 12, concurrent_count: 4, tools: {count: 3}, subagents: {count: 2, levels: 2}}
prices: {model: gpt-4.1, provider: openai}
runs_per_hour: 2000
"""
LIMITED = {"limits": {"requests_per_minute": 30}, "rules": [{"when": {"model": "kid"}, "answer": {"text_chars": 40}}]}


async def test_row_42_a_benchmark_counts_the_whole_tree_and_tells_what_it_costs(tmp_path: Path) -> None:
    told = await bench(read_plan(QUICK), tmp_path)
    assert told["success_rate"] == 1.0
    assert told["llm_calls"] == 12 * 2 * 7
    assert told["tokens"] == {"input": 12 * 14 * 300, "output": 12 * 14 * 200, "cached": 0}
    assert told["usd_per_run"] == f"{14 * (300 * 2 + 200 * 8) / 1e6:.6f}"
    assert Decimal(told["usd_per_1000_runs"]) == Decimal(told["usd_per_run"]) * 1000
    assert set(told["latency_ms"]) == {"avg", "p50", "p95", "p99"}
    assert told["capacity"]["requests_per_minute"] == pytest.approx(2000 * 14 / 60)


async def test_row_42_the_same_plan_runs_on_temporal(tmp_path: Path) -> None:
    small = QUICK.replace("runs: 12", "runs: 2") + "runtime: temporal\n"
    told = await bench(read_plan(small), tmp_path)
    assert (told["runtime"], told["success_rate"], told["llm_calls"]) == ("temporal", 1.0, 28)


async def test_row_42_a_plan_is_played_through_the_gateway_against_a_provider_with_limits(tmp_path: Path) -> None:
    with running(tmp_path) as lab:
        httpx.put(f"{lab.sim_url}/_sim/script", json=LIMITED, trust_env=False).raise_for_status()
        gateway = {"url": lab.url, "key": lab.key, "model": "kid"}
        plan = {"gateway": gateway, "agent": {"runs": 60, "concurrent_count": 60}, "tool": {"latency_ms": 0}}
        told = await bench(read_plan(json.dumps(plan)), tmp_path)
        answered = [line for line in lab.bill() if line["outcome"] == "completed"]
    refused = 60 - len(answered)
    assert 0 < refused < 60
    assert (told["success_rate"], told["errors"]) == (len(answered) / 60, {"rate_limited": refused})
    assert told["tokens"]["output"] == sum(line["output_tokens"] for line in answered)


async def test_an_evaluation_keeps_the_contract_of_the_tools_that_read_it() -> None:
    told = await evaluate(read_plan("llm: {latency_ms: 0, jitter_ms: 0}\nprices: {}"), "hello")
    assert told["content"] == "eval complete"
    assert told["llm_usage"]["total_tokens"] == 1000
    assert told["telemetry"]["tools"] == {
        "total_calls": 3,
        "failed_calls": 0,
        "breakdown": {"mock_tool_0": 1, "mock_tool_1": 1, "mock_tool_2": 1},
    }
    assert told["telemetry"]["run"] == {"total_llm_calls": 2, "finish_reason": "complete"}


def test_row_42_prices_come_from_the_list_or_from_the_plan() -> None:
    usage = Usage(1, 1_000_000, 1_000_000, 500_000)
    own = PriceSection(input_usd_per_million=1, output_usd_per_million=4, cached_input_usd_per_million=0.5)
    assert usd_of(usage, own) == Decimal("4.75")
    assert usd_of(Usage(1, 1_000_000, 0), PriceSection(model="gpt-4.1", provider="openai")) == 2
    with pytest.raises(ConfigError, match="'nothing-like-it'"):
        usd_of(usage, PriceSection(model="nothing-like-it"))


def test_row_36_a_load_is_held_against_quota_and_places() -> None:
    load = Load(runs_per_hour=3_600, llm_calls_per_run=5, tokens_per_call=1_000, seconds_per_call=2, seconds_per_run=20)
    found = sizing(load, Quota(requests_per_minute=600, tokens_per_minute=500_000, runs_per_worker=10))
    assert (found.requests_per_minute, found.tokens_per_minute) == (300, 300_000)
    assert (found.concurrent_calls, found.concurrent_runs) == (10, 20)
    assert (found.used_share, found.fits, found.workers) == (0.6, True, 3)
    assert found.runs_per_hour_max == pytest.approx(4_800)
    assert not sizing(load, Quota(300, 500_000)).fits


@given(st.floats(0.1, 1e5), st.floats(1, 50), st.floats(1, 1e5), st.floats(0.01, 100), st.floats(0.01, 1e4))
def test_row_36_twice_the_load_needs_twice_as_much(
    runs: float, calls: float, tokens: float, one: float, all_s: float
) -> None:
    quota = Quota(1_000, 1_000_000)
    single = sizing(Load(runs, calls, tokens, one, all_s), quota)
    double = sizing(Load(runs * 2, calls, tokens, one, all_s), quota)
    assert math.isclose(double.concurrent_runs, single.concurrent_runs * 2)
    assert math.isclose(double.used_share, single.used_share * 2)
    assert double.workers >= single.workers
    assert math.isclose(double.runs_per_hour_max, single.runs_per_hour_max)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.integers(1, 100))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values: list[float], share: int) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * share / 100


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("agent: {runs: 0}", "agent.runs"),
        ("agent: {run: 1}", "agent.run"),
        ("runtime: cloud", "runtime"),
        ("llm: {mock_tokens: 1}", "llm.mock_tokens"),
        (":", "no YAML|cannot be used"),
    ],
)
def test_wrong_plans_name_the_field(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_plan(text)
