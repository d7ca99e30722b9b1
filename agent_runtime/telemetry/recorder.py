"""Counts, measures and tells: OpenTelemetry's metrics and spans, and one JSON line for each run."""

import json
import logging
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry import metrics, trace

from agent_runtime.domain.todo import Outcome
from agent_runtime.domain.values import RunRef, Usage
from agent_runtime.ports import Knowledge
from agent_runtime.spec.guardrails import redacted
from agent_runtime.telemetry.names import COUNTERS, GAUGES, HISTOGRAMS

LOG = logging.getLogger("meterway.agent")
TEXT_MAX = 300


class OtelRecorder:
    """Implements ports.Recorder. Without an SDK behind OpenTelemetry's API, only the lines remain."""

    def __init__(
        self, *, meters: metrics.MeterProvider | None = None, tracers: trace.TracerProvider | None = None
    ) -> None:
        meter = metrics.get_meter("meterway.agent", meter_provider=meters)
        self.tracer = trace.get_tracer("meterway.agent", tracer_provider=tracers)
        self._counters = {name: meter.create_counter(name) for name in COUNTERS}
        self._gauges = {name: meter.create_gauge(name, unit) for name, unit in GAUGES.items()}
        self._histograms = {name: meter.create_histogram(name, unit) for name, unit in HISTOGRAMS.items()}

    def run_started(self, ref: RunRef) -> None:
        self.counted("agent.run.started", agent=ref.agent, tenant=ref.principal.tenant)
        if ref.stream and ref.depth == 0:
            self.counted("agent.stream.started", agent=ref.agent, tenant=ref.principal.tenant)

    def run_ended(self, outcome: Outcome, duration_s: float) -> None:
        ref, failure = outcome.ref, outcome.failure
        about = {"agent": ref.agent, "tenant": ref.principal.tenant}
        for kind in ("run", "stream") if ref.stream and ref.depth == 0 else ("run",):
            if failure is None:
                self.counted(f"agent.{kind}.completed", **about, finish_reason=outcome.finish_reason)
            else:
                self.counted(f"agent.{kind}.failed", **about, error=failure.kind)
            self._histograms[f"agent.{kind}.duration_ms"].record(duration_s * 1000, about)
        if outcome.finish_reason == "budget_exceeded":
            self.counted("agent.budget.exceeded", **about)
        for record in outcome.approvals:
            kind = "agent.budget.approval" if record.approval.kind == "budget" else "agent.approval"
            self.counted(f"{kind}.{record.outcome}", **about)
        trace.get_current_span().set_attributes(told(outcome))
        level = logging.INFO if failure is None else logging.ERROR
        LOG.log(level, "%s", json.dumps(line(outcome, duration_s), ensure_ascii=False))

    def llm_call(self, ref: RunRef, model: str, usage: Usage | None, duration_s: float, error: str | None) -> None:
        about = {"agent": ref.agent, "model": model}
        self.counted("agent.llm.call.started", **about)
        if usage is None:
            self.counted("agent.llm.call.failed", **about, error=error or "")
            return
        self.counted("agent.llm.call.completed", **about)
        self._histograms["agent.llm.latency_ms"].record(duration_s * 1000, about)
        for name, count in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cached", usage.cached_tokens),
            ("reasoning", usage.reasoning_tokens),
        ):
            self._histograms[f"agent.llm.tokens.{name}"].record(count, about)
        self._histograms["agent.llm.cost_usd"].record(usage.cost_nano_usd / 1e9, about)

    def tool_call(self, ref: RunRef, tool: str, duration_s: float, error: str | None) -> None:
        about = {"agent": ref.agent, "tool": tool}
        self.counted("agent.tool.call.started", **about)
        self.counted("agent.tool.call.completed" if error is None else "agent.tool.call.failed", **about)
        self._histograms["agent.tool.latency_ms"].record(duration_s * 1000, about)

    def knowledge_call(self, what: Knowledge, duration_s: float, *, failed: bool, **about: str) -> None:
        calls = "agent.retriever.call" if what == "retriever" else f"agent.{what}"
        self.counted(f"{calls}.started", **about)
        self.counted(f"{calls}.failed" if failed else f"{calls}.completed", **about)
        self._histograms[f"agent.{what}.latency_ms"].record(duration_s * 1000, about)

    def counted(self, name: str, **attributes: str) -> None:
        counter = self._counters.get(name)
        if counter is not None:
            counter.add(1, attributes)

    def measured(self, name: str, value: float, **attributes: str) -> None:
        gauge = self._gauges.get(name)
        if gauge is not None:
            gauge.set(value, attributes)

    def span(self, name: str, ref: RunRef, **attributes: str) -> AbstractContextManager[Any]:
        known = {"run.id": ref.run_id, "agent.name": ref.agent, "tenant": ref.principal.tenant}
        if ref.conversation_id is not None:
            known["conversation.id"] = ref.conversation_id
        return self.tracer.start_as_current_span(name, attributes={**known, **attributes})

    def flush(self) -> None:
        """Nothing waits here; whoever made the providers flushes them."""


def told(outcome: Outcome) -> dict[str, str | int]:
    """What a run came to, as attributes of its span."""
    total, failure = outcome.total, outcome.failure
    return {
        "run.id": outcome.ref.run_id,
        "finish_reason": outcome.finish_reason,
        "error": "" if failure is None else failure.kind,
        "iterations": outcome.turns,
        "llm.calls": total.llm_calls,
        "llm.tokens.input": total.input_tokens,
        "llm.tokens.output": total.output_tokens,
        "llm.cost_nano_usd": total.cost_nano_usd,
        "llm.provider_switches": total.provider_switches,
        "tool.calls": outcome.tool_calls,
        "target": outcome.target,
    }


def line(outcome: Outcome, duration_s: float) -> dict[str, object]:
    """Everything that operators need, nothing that users said."""
    ref, failure, total = outcome.ref, outcome.failure, outcome.total
    context = trace.get_current_span().get_span_context()
    return {
        "event": "agent.run",
        "run_id": ref.run_id,
        "parent_run_id": ref.parent_run_id,
        "conversation_id": ref.conversation_id,
        "tenant": ref.principal.tenant,
        "user": ref.principal.user,
        "agent": ref.agent,
        "finish_reason": outcome.finish_reason,
        "error": None if failure is None else failure.kind,
        "category": None if failure is None else failure.category,
        "detail": None if failure is None else redacted(failure.message)[:TEXT_MAX],
        "duration_ms": round(duration_s * 1000),
        "iterations": outcome.turns,
        "llm_calls": total.llm_calls,
        "input_tokens": total.input_tokens,
        "output_tokens": total.output_tokens,
        "cost_nano_usd": total.cost_nano_usd,
        "provider_switches": total.provider_switches,
        "tool_calls": outcome.tool_calls,
        "tool_failures": outcome.tool_failures,
        "delegations": outcome.delegations,
        "target": outcome.target,
        "trace_id": f"{context.trace_id:032x}" if context.is_valid else None,
    }
