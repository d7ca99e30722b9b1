"""What operators see."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent_runtime.api import Agent, local_services, sqlite_services
from agent_runtime.connectors.scripted import Line, ScriptedLLM
from agent_runtime.contracts.errors import TooManyRuns
from agent_runtime.domain.values import Failure
from agent_runtime.ports import Document, Recollection
from agent_runtime.spec.agent import MemoryUse
from agent_runtime.telemetry.recorder import OtelRecorder
from agent_runtime.tools.access import AutoApprove
from tests.agent_runtime.cast import ANN, Props, calls


def metric_points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: list(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


async def test_row_34_40_47_metrics_and_spans_have_the_checklists_names() -> None:
    reader, spans = InMemoryMetricReader(), InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    recorder = OtelRecorder(meters=MeterProvider([reader]), tracers=tracers)
    llm = ScriptedLLM({"main": [calls("look", "breaks"), Line("ok")]})
    services = local_services(llm, recorder=recorder)
    one = Agent("main", services=services, tools=Props().tools(), policy=AutoApprove(), principal=ANN)
    await one.run("go", conversation_id="c")
    points = metric_points(reader)
    assert {
        "agent.run.started",
        "agent.run.completed",
        "agent.run.duration_ms",
        "agent.llm.call.completed",
        "agent.llm.latency_ms",
        "agent.llm.tokens.input",
        "agent.llm.tokens.output",
        "agent.llm.tokens.cached",
        "agent.llm.cost_usd",
        "agent.tool.call.completed",
        "agent.tool.call.failed",
        "agent.tool.latency_ms",
    } <= set(points)
    assert points["agent.llm.tokens.input"][0].sum == 1200
    names = {span.name for span in spans.get_finished_spans()}
    assert {"llm.generate", "tool.authorize", "tool.execute", "conversation.get_messages"} <= names
    attributes = spans.get_finished_spans()[0].attributes
    assert attributes is not None
    [run] = [span for span in spans.get_finished_spans() if span.name == "agent.run"]
    assert run.attributes is not None
    assert (run.attributes["finish_reason"], run.attributes["llm.calls"]) == ("complete", 2)
    assert {span.context.trace_id for span in spans.get_finished_spans()} == {run.context.trace_id}
    assert {"run.id", "agent.name", "tenant", "conversation.id"} <= set(attributes)


async def test_row_49_50_every_run_has_one_line_also_when_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    broken = Failure("upstream_failed", "write to ann@example.com", "provider")
    llm = ScriptedLLM({"main": [calls("look"), Line(fails=broken)]})
    one = Agent("main", llm, tools=Props().tools(), policy=AutoApprove(), principal=ANN)
    with caplog.at_level(logging.INFO, "meterway.agent"):
        await one.try_run("hello", conversation_id="c")
    line = json.loads(caplog.records[0].message)
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.ERROR
    assert {"run_id", "conversation_id", "tenant", "agent", "llm_calls", "input_tokens", "tool_calls"} <= set(line)
    assert (line["error"], line["llm_calls"], line["tool_calls"]) == ("upstream_failed", 1, 1)
    assert (line["iterations"], line["provider_switches"]) == (2, 0)
    assert "ann@example.com" not in caplog.text


async def test_row_34_35_what_is_refused_streamed_searched_and_remembered_is_counted(tmp_path: Path) -> None:
    reader = InMemoryMetricReader()
    script = [calls("retriever_the_library", query="age"), calls("save_memory", text="Rome is old"), calls("forever")]
    recorder = OtelRecorder(meters=MeterProvider([reader]))
    services = sqlite_services(ScriptedLLM({"main": script}), tmp_path / "a.db", recorder=recorder, runs_max=1)
    facts: dict[str, Any] = {"tools": Props().tools(), "retrievers": [Library()], "memory": MemoryUse()}
    one = Agent("main", services=services, policy=AutoApprove(), principal=ANN, **facts)
    handle = await one.start("go", stream=True)
    async for _, event in handle.events():
        if event["type"] == "TOOL_CALL_START" and event["toolCallName"] == "forever":
            break
    with pytest.raises(TooManyRuns):
        await one.start("again")
    await handle.cancel()
    await handle.outcome()
    points = metric_points(reader)
    assert {"agent.run.rejected", "agent.stream.started", "agent.stream.completed", "agent.stream.duration_ms"} <= set(
        points
    )
    for calls_, latency in (
        ("agent.retriever.call", "agent.retriever.latency_ms"),
        ("agent.memory.recall", "agent.memory.recall.latency_ms"),
        ("agent.memory.store", "agent.memory.store.latency_ms"),
    ):
        told = [points[f"{calls_}.started"][0].value, points[f"{calls_}.completed"][0].value, points[latency][0].count]
        assert told == [1, 1, 1], calls_
    assert points["agent.retriever.call.started"][0].attributes == {"agent": "main", "retriever": "the library"}
    await services.close()


async def test_row_34_failures_of_streams_retrievers_and_memory_are_counted() -> None:
    reader = InMemoryMetricReader()
    recorder = OtelRecorder(meters=MeterProvider([reader]))
    services = local_services(ScriptedLLM({"main": [Line("ok")]}), recorder=recorder, memory=Amnesia())
    facts: dict[str, Any] = {"retrievers": [Library(fails=True)], "retrieval": "prefetch", "memory": MemoryUse()}
    for memory in (Amnesia(), Amnesia(fails=False)):
        one = Agent("main", services=replace(services, memory=memory), policy=AutoApprove(), principal=ANN, **facts)
        async with one.stream("go") as events:
            assert [event async for event in events]
    points = metric_points(reader)
    for name in ("agent.stream.failed", "agent.memory.recall.failed", "agent.retriever.call.failed"):
        assert [point.value for point in points[name]] == [1], name
    assert points["agent.stream.failed"][0].attributes == {"agent": "main", "tenant": "acme", "error": "unavailable"}


class Amnesia:
    """A memory that holds nothing, or is away."""

    distributed = True

    def __init__(self, *, fails: bool = True) -> None:
        self.fails = fails

    async def recall(self, *_: Any) -> list[Recollection]:
        if self.fails:
            raise OSError("away")
        return []

    async def store(self, *_: Any) -> str:
        return "m"

    async def erase(self, *_: Any) -> None:
        pass


async def test_row_34_41_runs_below_another_one_are_counted_as_started_too() -> None:
    reader = InMemoryMetricReader()
    recorder = OtelRecorder(meters=MeterProvider([reader]))
    llm = ScriptedLLM({"main": [calls("subagent_kid", query="x"), Line("ok")], "kid": [Line("kid")]})
    services = local_services(llm, recorder=recorder)
    await Agent("main", services=services, sub_agents=[Agent("kid")], policy=AutoApprove(), principal=ANN).run("go")
    assert started_and_ended(reader) == {"main": (1, 1), "kid": (1, 1)}


def started_and_ended(reader: InMemoryMetricReader) -> dict[str, tuple[int, int]]:
    points = metric_points(reader)
    begun, done = (
        {point.attributes["agent"]: point.value for point in points[f"agent.run.{what}"]}
        for what in ("started", "completed")
    )
    return {name: (begun[name], done[name]) for name in begun | done}


class Library:
    name = "the library"

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.asked: list[str] = []

    async def search(self, query: str) -> list[Document]:
        self.asked.append(query)
        if self.fails:
            raise OSError("away")
        return [Document("Rome is old", "book", 0.9)]


async def test_documents_are_fetched_before_or_asked_for() -> None:
    library, broken = Library(), Library(fails=True)
    llm = ScriptedLLM({"main": [calls("retriever_the_library", query="age"), Line("ok")]})
    one = Agent("main", llm, retrievers=[library], retrieval="hybrid", policy=AutoApprove(), principal=ANN)
    result = await one.run("how old?")
    assert llm.asked[0].messages[0].text == "Relevant context:\n[1] Rome is old (book, 0.90)"
    assert json.loads(result.messages[2].text) == [{"content": "Rome is old", "source": "book", "score": 0.9}]
    assert library.asked == ["how old?", "age"]
    alone = Agent("main", llm, retrievers=[broken], retrieval="prefetch", policy=AutoApprove(), principal=ANN)
    assert alone.spec.tools == ()
    assert (await alone.run("x")).finish_reason == "complete"


async def test_row_46_what_is_remembered_comes_back_to_its_user(tmp_path: Path) -> None:
    llm = ScriptedLLM({"main": [calls("save_memory", text="Ann likes tea", kind="preference"), Line("ok")]})
    services = sqlite_services(llm, tmp_path / "a.db")
    one = Agent("main", services=services, memory=MemoryUse(), policy=AutoApprove(), principal=ANN)
    await one.run("I like tea")
    await one.run("what does Ann like?")
    assert llm.asked[-1].messages[0].text == "Relevant memories:\n- Ann likes tea"
    assert services.memory is not None
    assert await services.memory.recall(ANN, "main", "tea", 1, 0.3) == [
        Recollection(
            "Ann likes tea", "preference", 1.0, (await services.memory.recall(ANN, "main", "tea", 1, 0.3))[0].id
        )
    ]
