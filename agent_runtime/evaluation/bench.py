"""Runs a plan and reports: times, tokens, success, and what a thousand runs cost."""

import asyncio
import resource
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from agent_runtime.api.agent import Agent
from agent_runtime.api.services import local_services, sqlite_services
from agent_runtime.connectors import secrets
from agent_runtime.connectors.scripted import ScriptedLLM
from agent_runtime.contracts.run import RunOutcome
from agent_runtime.domain.values import Usage
from agent_runtime.evaluation.capacity import Load, Quota, sizing
from agent_runtime.evaluation.plan import Plan
from agent_runtime.evaluation.prices import usd_of
from agent_runtime.evaluation.troupe import SlowLLM, agent_of, script_of
from agent_runtime.ports import LLM
from agent_runtime.stores.clock import SystemClock
from agent_runtime.temporal.devserver import temporary
from agent_runtime.temporal.runtime import TemporalRuntime, connect
from agent_runtime.temporal.shapes import Settings
from agent_runtime.temporal.workers import Crew
from sdk_client import LLMClient

QUOTA = Quota(requests_per_minute=5_000, tokens_per_minute=2_000_000)
QUEUE = "evaluation"


async def bench(plan: Plan, folder: Path) -> dict[str, Any]:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        llm: LLM | LLMClient = SlowLLM(ScriptedLLM(script_of(plan)), plan, clock)
        if plan.gateway is not None:
            key = secrets.resolved(plan.gateway.key)
            llm = await stack.enter_async_context(LLMClient(plan.gateway.url, key))
        if plan.runtime == "inline":
            agent = agent_of(plan, local_services(llm, clock=clock))
            stack.push_async_callback(agent.close)
        else:
            agent = await _durable(plan, llm, folder, stack)
        started_s, cpu_s = clock.now_s(), _cpu_s()
        ends, times_s = await _batches(plan, agent)
        took_s, used_cpu_s = clock.now_s() - started_s, _cpu_s() - cpu_s
    return report(plan, ends, times_s, took_s, used_cpu_s)


async def _durable(plan: Plan, llm: LLM | LLMClient, folder: Path, stack: AsyncExitStack) -> Agent:
    address = plan.temporal.address
    if address is None:
        address = await stack.enter_async_context(temporary(folder))
    client = await connect(address)
    services = sqlite_services(llm, folder / "evaluation.db")
    agent = agent_of(plan, services)
    await stack.enter_async_context(Crew(client, agent.spec.below(), services, QUEUE))
    return agent.on(TemporalRuntime(client, services, Settings(queue=QUEUE)))


async def _batches(plan: Plan, agent: Agent) -> tuple[list[RunOutcome], list[float]]:
    free = asyncio.Semaphore(plan.agent.concurrent_count)
    clock = SystemClock()

    async def one(number: int) -> tuple[RunOutcome, float]:
        async with free:
            started_s = clock.now_s()
            end = await agent.try_run(f"benchmark {number}")
            return end, clock.now_s() - started_s

    done = await asyncio.gather(*(one(number) for number in range(plan.agent.runs)))
    return [end for end, _ in done], [took_s for _, took_s in done]


def report(
    plan: Plan, ends: Sequence[RunOutcome], times_s: Sequence[float], took_s: float, cpu_s: float
) -> dict[str, Any]:
    total = sum((end.usage for end in ends), Usage())
    runs = len(ends)
    usd = usd_of(total, plan.prices)
    load = Load(
        runs_per_hour=plan.runs_per_hour,
        llm_calls_per_run=total.llm_calls / runs,
        tokens_per_call=total.total_tokens / max(1, total.llm_calls),
        seconds_per_call=plan.llm.latency_ms / 1000 if plan.gateway is None else sum(times_s) / max(1, total.llm_calls),
        seconds_per_run=sum(times_s) / runs,
    )
    return {
        "runtime": plan.runtime,
        "runs": runs,
        "success_rate": sum(end.error is None for end in ends) / runs,
        "errors": Counter(end.error.to_failure().kind for end in ends if end.error is not None),
        "took_s": round(took_s, 3),
        "cpu_s": round(cpu_s, 3),
        "latency_ms": {
            "avg": round(sum(times_s) / runs * 1000, 1),
            **{f"p{share}": round(percentile(times_s, share) * 1000, 1) for share in (50, 95, 99)},
        },
        "per_turn_ms": round(sum(times_s) / max(1, total.llm_calls) * 1000, 3),
        "per_activity_ms": round(sum(times_s) / max(1, activities_of(ends)) * 1000, 3),
        "tokens": {"input": total.input_tokens, "output": total.output_tokens, "cached": total.cached_tokens},
        "llm_calls": total.llm_calls,
        "usd_per_run": _shown(usd / runs),
        "usd_per_1000_runs": _shown(usd / runs * 1000),
        "usd_per_hour_at_load": _shown(usd / runs * Decimal(str(plan.runs_per_hour))),
        "capacity": asdict(sizing(load, QUOTA)),
    }


def activities_of(ends: Sequence[RunOutcome]) -> int:
    """What Temporal runs: before and after each run, a call of a model, and two for each tool; children likewise."""
    return sum(2 + end.usage.llm_calls + 2 * end.outcome.tool_calls for end in ends)


def percentile(values: Sequence[float], share: int) -> float:
    """The smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _shown(usd: Decimal) -> str:
    return f"{usd:.6f}"


async def evaluate(plan: Plan, prompt: str) -> dict[str, Any]:
    """One run, told as the evaluation tools of others read it: `content`, `llm_usage`, `telemetry`."""
    clock = SystemClock()
    llm = SlowLLM(ScriptedLLM(script_of(plan)), plan, clock)
    agent = agent_of(plan, local_services(llm, clock=clock))
    end = await agent.try_run(prompt)
    await agent.close()
    outcome, usage = end.outcome, end.usage
    used = [call.name for message in outcome.messages for call in message.calls]
    return {
        "content": outcome.text,
        "llm_usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
            "cached_prompt_tokens": usage.cached_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
        },
        "telemetry": {
            "run": {"total_llm_calls": usage.llm_calls, "finish_reason": outcome.finish_reason},
            "tools": {
                "total_calls": outcome.tool_calls,
                "failed_calls": outcome.tool_failures,
                "breakdown": {name: used.count(name) for name in sorted(set(used))},
            },
        },
        "usd": _shown(usd_of(usage, plan.prices)),
    }
