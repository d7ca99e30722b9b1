"""What one record adds to which metric."""

from dataclasses import replace

import pytest

from gateway.domain.record import InVain, Provenance
from gateway.domain.reply import Usage
from gateway.telemetry import names
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.names import Instrument, Kind
from tests.telemetry import samples


def counted(metrics: Metrics, instrument: Instrument) -> dict[tuple[str, ...], float]:
    if instrument.kind is Kind.HISTOGRAM:
        return {labels: cell[-1] for labels, cell in metrics.histograms[instrument].snapshot()}
    return dict(metrics.numbers[instrument].snapshot())


def observed(*records: object, genai_semconv: str = "1.41") -> Metrics:
    metrics = Metrics(genai_semconv)
    for record in records:
        metrics.observe(record)  # type: ignore[arg-type] # samples only
    metrics.sample()
    return metrics


def test_an_answered_request() -> None:
    metrics = observed(samples.GOOD)
    for instrument, expected in {
        names.REQUESTS: {("demo", "assistant", "chat", "ok", "", ""): 1},
        names.ATTEMPTS: {("openai", "openai/gpt-4.1#0", ""): 1},
        names.AGENT_INPUT: {("gpt-4.1", "openai", "demo"): 1000},
        names.AGENT_OUTPUT: {("gpt-4.1", "openai", "demo"): 200},
        names.AGENT_STARTED: {("gpt-4.1", "openai"): 1},
        names.AGENT_COMPLETED: {("gpt-4.1", "openai"): 1},
        names.AGENT_FAILED: {},
        names.AGENT_LATENCY: {("gpt-4.1", "openai"): 1500},
        names.GENAI_TOKENS: {
            ("chat", "openai", "gpt-4.1", "input"): 1000,
            ("chat", "openai", "gpt-4.1", "output"): 200,
        },
        names.GENAI_DURATION: {("chat", "openai", "gpt-4.1", ""): 1.5},
        names.GENAI_FIRST_CHUNK: {("chat", "openai", "gpt-4.1"): 0.3},
        names.OVERHEAD: {("chat",): 0.0004},
        names.DURATION: {("assistant", "ok"): 1.5},
        names.FIRST_TOKEN: {("assistant", "openai"): 0.3},
        names.COST: {("demo", "assistant", "openai"): 3_600_000},
        names.STICKY: {("assistant", "kept"): 1},
        names.FAILOVERS: {},
    }.items():
        assert counted(metrics, instrument) == expected, instrument.name
    kinds = {labels[3]: value for labels, value in counted(metrics, names.TOKENS_USED).items()}
    assert kinds == {"input": 1000, "output": 200, "cached_input": 600, "reasoning": 50}


def test_a_failover() -> None:
    metrics = observed(samples.FAILED_OVER)
    assert counted(metrics, names.FAILOVERS) == {("assistant", "openai/gpt-4.1#0", "anthropic/claude#0"): 1}
    assert counted(metrics, names.ATTEMPTS)[("openai", "openai/gpt-4.1#0", "server_error")] == 2
    assert counted(metrics, names.DROPPED) == {("groq/llama#0", "circuit_open"): 1}
    assert counted(metrics, names.RETRIES_DENIED) == {("assistant",): 1}
    assert counted(metrics, names.PANICS) == {("assistant",): 1}
    assert counted(metrics, names.STICKY) == {("assistant", "moved"): 1}
    assert counted(metrics, names.AGENT_COMPLETED) == {("claude", "anthropic"): 1}


@pytest.mark.parametrize("priced", [True, False])
def test_what_an_attempt_came_to_in_vain_counts_at_its_own_provider(priced: bool) -> None:
    """In the record its cost is part of the whole, unless the answer has no price."""
    first, *others = samples.FAILED_OVER.attempts
    spent = InVain(Usage(900, 0), Provenance.ESTIMATED, 1_000_000)
    record = replace(samples.FAILED_OVER, attempts=(replace(first, in_vain=spent), *others))
    metrics = observed(record if priced else replace(record, cost_nano_usd=None))
    cost = {("demo", "assistant", "openai"): 1_000_000}
    answered = {("demo", "assistant", "anthropic"): 2_600_000} if priced else {}
    assert counted(metrics, names.COST) == {**cost, **answered}
    tokens = counted(metrics, names.TOKENS_USED)
    assert tokens["demo", "assistant", "openai", "input", "estimated"] == 900
    assert tokens["demo", "assistant", "anthropic", "input", "exact"] == 1_000


def test_a_name_said_only_by_a_caller_is_no_label() -> None:
    metrics = observed(samples.UNKNOWN_MODEL)
    assert counted(metrics, names.REQUESTS) == {("demo", "", "chat", "failed", "caller", "model_not_found"): 1}
    long = observed(replace(samples.GOOD, model="m" * 10_000))
    assert max(len(label) for labels in counted(long, names.REQUESTS) for label in labels) == 200


def test_broken_and_abandoned_streams() -> None:
    metrics = observed(samples.ABORTED, samples.GONE, samples.UNPRICED)
    assert counted(metrics, names.ABORTS) == {("assistant", "upstream_stalled"): 1}
    assert counted(metrics, names.GONE) == {("assistant", "streaming"): 1}
    outcomes = {labels[3] for labels in counted(metrics, names.REQUESTS)}
    assert outcomes == {"aborted", "client_gone", "ok"}
    assert counted(metrics, names.UNPRICED) == {("assistant", "openai"): 1}
    assert counted(metrics, names.AGENT_INPUT) == {("gpt-4.1", "openai", "demo"): 1000}, (
        "only the provider's own figures"
    )


@pytest.mark.parametrize("semconv", ["latest", "both"])
def test_the_newest_names(semconv: str) -> None:
    metrics = observed(samples.GOOD, genai_semconv=semconv)
    assert counted(metrics, names.LATEST_INPUT) == {("chat", "openai", "gpt-4.1", "unknown"): 1000}
    assert counted(metrics, names.LATEST_CACHED) == {("chat", "openai", "gpt-4.1", "unknown"): 600}
    assert counted(metrics, names.LATEST_DURATION) == {("chat", "openai", "gpt-4.1", ""): 1.5}
    assert (names.GENAI_TOKENS in metrics.histograms) == (semconv == "both")


def test_pulled_values_come_from_their_source() -> None:
    metrics = Metrics()
    metrics.source(names.IN_FLIGHT, lambda: {(): 3})
    assert counted(metrics, names.IN_FLIGHT) == {}
    metrics.sample()
    assert counted(metrics, names.IN_FLIGHT) == {(): 3}
    with pytest.raises(ValueError, match=r"gateway\.requests is counted, not pulled"):
        metrics.source(names.REQUESTS, dict)


def test_every_instrument_is_well_formed_and_named_once() -> None:
    assert len({instrument.name for instrument in names.ALL}) == len(names.ALL)
    for instrument in names.ALL:
        assert instrument.about
        assert list(instrument.bounds) == sorted(set(instrument.bounds))
        assert bool(instrument.bounds) == (instrument.kind is Kind.HISTOGRAM)
        assert len(set(instrument.labels)) == len(instrument.labels)
    for record in samples.ALL:
        metrics = observed(record, genai_semconv="both")
        for instrument in (*metrics.numbers, *metrics.histograms):
            assert all(len(labels) == len(instrument.labels) for labels in counted(metrics, instrument))
