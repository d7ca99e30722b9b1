"""One trace, from whoever starts a run on Temporal to the provider."""

from pathlib import Path
from typing import Any

import httpx
from opentelemetry.baggage import set_baggage
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent_runtime.api import Agent, sqlite_services
from agent_runtime.connectors.scripted import Line, ScriptedLLM
from agent_runtime.domain.limits import Limits
from agent_runtime.domain.values import Principal
from agent_runtime.telemetry.recorder import OtelRecorder
from agent_runtime.temporal.runtime import connect
from agent_runtime.tools.access import AutoApprove
from sdk_client import LLMClient
from tests.agent_runtime.cast import Props
from tests.agent_runtime.lab import Lab
from tests.workflows.conftest import Stage

WHO = Principal("demo", "ann")


def providers_traces(lab: Lab) -> list[str]:
    """The trace that each call which reached the provider belongs to."""
    asked = httpx.get(f"{lab.sim_url}/_sim/requests", trust_env=False).json()
    return [dict(one["headers"])["traceparent"].split("-")[1] for one in asked]


class Traced:
    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._tracers = TracerProvider()
        self._tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.recorder = OtelRecorder(tracers=self._tracers)
        self.tracer: Any = self.recorder.tracer

    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._spans.get_finished_spans()


async def test_row_47_a_run_its_sub_agents_and_the_provider_see_one_trace(
    lab: Lab, temporal: str, tmp_path: Path
) -> None:
    traced = Traced()
    client = await connect(temporal, tracer=traced.tracer)
    stage = Stage(client, tmp_path)
    lab.reset()
    async with LLMClient(lab.url, lab.key) as llm:
        services = sqlite_services(llm, tmp_path / "agents.db", recorder=traced.recorder)
        kid = Agent("kid", model="kid", limits=Limits(output_tokens=100))
        facts: dict[str, Any] = {"sub_agents": [kid], "policy": AutoApprove(), "limits": Limits(fan_out_max=2)}
        one = Agent("main", services=services, model="family", tools=Props().tools(), principal=WHO, **facts)
        async with stage.playing(one):
            with traced.tracer.start_as_current_span("whoever asks") as root:
                handle = await one.start("go")
            result = await handle
    trace = root.get_span_context().trace_id
    seen = {span.name for span in traced.spans() if span.context and span.context.trace_id == trace}
    assert {
        "StartWorkflow:AgentRun",
        "RunWorkflow:AgentRun",
        "StartChildWorkflow:AgentRun",
        "RunActivity:agent.think",
        "RunActivity:agent.conclude",
        "llm.generate",
        "tool.authorize",
    } <= seen
    assert result.delegations == 2
    asked = providers_traces(lab)
    assert len(asked) == result.usage.llm_calls
    assert set(asked) == {f"{trace:032x}"}


async def test_a_callers_baggage_does_not_enter_temporals_history(temporal: str, tmp_path: Path) -> None:
    traced = Traced()
    client = await connect(temporal, tracer=traced.tracer)
    stage = Stage(client, tmp_path)
    one = Agent("main", services=stage.services(ScriptedLLM({"main": [Line("ok")]})), principal=WHO)
    token = attach(set_baggage("who", "ann@example.com"))
    try:
        with traced.tracer.start_as_current_span("whoever asks"):
            async with stage.playing(one):
                result = await one.run("go")
    finally:
        detach(token)
    history = await client.get_workflow_handle(result.run_id).fetch_history()
    assert "traceparent" in str(history.events[0])
    assert "ann@example.com" not in str(history)
