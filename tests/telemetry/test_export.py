"""What Prometheus reads and what a collector is sent."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from gateway.clock import SystemClock
from gateway.telemetry import names
from gateway.telemetry.export import Exporter, Identity, Otlp
from gateway.telemetry.metrics import Metrics
from tests.telemetry import samples

IDENTITY = Identity("meterway", "host-1", "0.1.0", "test")
CANARY = "canary-collector-token"


class Collector(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.received: list[tuple[str, str | None, bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((self.path, self.headers["authorization"], body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics("both", series_max=50)
    for record in samples.ALL:
        metrics.observe(record)
    metrics.source(names.BREAKER_STATE, lambda: {("openai/gpt-4.1#0",): 2})
    metrics.source(names.BREAKER_MOVES, lambda: {("openai/gpt-4.1#0",): 4})
    metrics.source(names.IN_FLIGHT, lambda: {(): 3})
    return metrics


async def test_prometheus_reads_these_names(metrics: Metrics) -> None:
    exporter = Exporter(metrics, SystemClock(), IDENTITY)
    text = (await exporter.prometheus()).decode()
    await exporter.close()
    families = {family.name for family in text_string_to_metric_families(text)}
    assert families == {
        "agent_llm_call_completed",
        "agent_llm_call_failed",
        "agent_llm_call_started",
        "agent_llm_latency_ms",
        "agent_llm_tokens_input",
        "agent_llm_tokens_output",
        "gateway_attempts",
        "gateway_breaker_state",
        "gateway_breaker_transitions",
        "gateway_client_gone",
        "gateway_cost_usd",
        "gateway_failovers",
        "gateway_first_token_seconds",
        "gateway_in_flight",
        "gateway_overhead_seconds",
        "gateway_panics",
        "gateway_request_duration_seconds",
        "gateway_requests",
        "gateway_retries_denied",
        "gateway_sticky",
        "gateway_stream_aborts",
        "gateway_targets_dropped",
        "gateway_tokens",
        "gateway_unpriced",
        "gen_ai_client_inference_duration_seconds",
        "gen_ai_client_inference_operation_input_tokens",
        "gen_ai_client_inference_operation_output_tokens",
        "gen_ai_client_inference_time_to_first_chunk_seconds",
        "gen_ai_client_inference_usage_cache_read_input_tokens",
        "gen_ai_client_inference_usage_input_tokens",
        "gen_ai_client_inference_usage_output_tokens",
        "gen_ai_client_inference_usage_reasoning_output_tokens",
        "gen_ai_client_operation_duration_seconds",
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        "gen_ai_client_token_usage",
        "target_info",
    }
    for line in (
        'agent_llm_tokens_input_sum{model="gpt-4.1",provider="openai",tenant="demo"} 2000.0',
        'agent_llm_tokens_input_bucket{le="1024.0",model="gpt-4.1",provider="openai",tenant="demo"} 2.0',
        'agent_llm_tokens_input_bucket{le="256.0",model="gpt-4.1",provider="openai",tenant="demo"} 0.0',
        'agent_llm_tokens_input_count{model="gpt-4.1",provider="openai",tenant="demo"} 2.0',
        'gateway_breaker_state{deployment="openai/gpt-4.1#0"} 2.0',
        'gateway_breaker_transitions_total{deployment="openai/gpt-4.1#0"} 4.0',
        "gateway_in_flight 3.0",
        'service_name="meterway"',
        'service_instance_id="host-1"',
        'deployment_environment_name="test"',
    ):
        assert line in text
    cost = [line for line in text.splitlines() if line.startswith("gateway_cost_usd_total{")]
    assert sum(float(line.rpartition(" ")[2]) for line in cost) == pytest.approx(4 * 0.0036)
    assert "otel_scope" not in text
    assert "overflow" not in text


async def test_scrapes_are_cumulative_and_may_overlap(metrics: Metrics) -> None:
    exporter = Exporter(metrics, SystemClock(), IDENTITY)
    first, second = await asyncio.gather(exporter.prometheus(), exporter.prometheus())
    assert b"gateway_in_flight 3.0" in first
    metrics.observe(samples.GOOD)
    third = (await exporter.prometheus()).decode()
    await exporter.close()
    assert first == second
    assert 'agent_llm_tokens_input_count{model="gpt-4.1",provider="openai",tenant="demo"} 3.0' in third


async def test_an_overfull_instrument_ends_in_other() -> None:
    metrics = Metrics(series_max=10)
    for number in range(30):
        metrics.count(names.RETRIES_DENIED, (f"m{number}",))
    exporter = Exporter(metrics, SystemClock(), IDENTITY)
    text = (await exporter.prometheus()).decode()
    await exporter.close()
    assert 'gateway_retries_denied_total{model="other"} 20.0' in text
    assert "overflow" not in text


async def test_a_collector_is_sent_counters_and_histograms(metrics: Metrics, collector: Collector) -> None:
    endpoint = f"http://127.0.0.1:{collector.server_address[1]}/"
    otlp = Otlp(endpoint, {"authorization": CANARY}, interval_s=3600)
    assert CANARY not in repr(otlp)
    exporter = Exporter(metrics, SystemClock(), IDENTITY, otlp)
    await exporter.push()
    path, authorization, body = collector.received[0]
    await exporter.close()
    assert (path, authorization) == ("/v1/metrics", CANARY)
    assert CANARY.encode() not in body
    (resource,) = ExportMetricsServiceRequest.FromString(body).resource_metrics
    attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
    assert attributes == {
        "service.name": "meterway",
        "service.instance.id": "host-1",
        "service.version": "0.1.0",
        "deployment.environment.name": "test",
    }
    (scope,) = resource.scope_metrics
    sent = {metric.name: metric for metric in scope.metrics}
    point = sent["agent.llm.tokens.input"].histogram.data_points[0]
    assert sent["agent.llm.tokens.input"].unit == "{token}"
    assert list(point.explicit_bounds) == [4**power for power in range(14)]
    assert (point.count, len(point.bucket_counts)) == (sum(point.bucket_counts), 15)
    assert 0 < point.start_time_unix_nano <= point.time_unix_nano
    requests = sent["gateway.requests"].sum
    assert requests.is_monotonic
    assert sum(item.as_int for item in requests.data_points) == len(samples.ALL)
    good = next(item for item in requests.data_points if "error" not in {one.key for one in item.attributes})
    assert "fault" not in {one.key for one in good.attributes}, "an empty label is an absent attribute"


async def test_the_last_figures_are_pushed_at_close(metrics: Metrics, collector: Collector) -> None:
    otlp = Otlp(f"http://127.0.0.1:{collector.server_address[1]}", {}, interval_s=3600)
    exporter = Exporter(metrics, SystemClock(), IDENTITY, otlp)
    await exporter.close()
    assert [path for path, _, _ in collector.received] == ["/v1/metrics"]


async def test_what_identifies_a_single_request_is_no_label() -> None:
    metrics = Metrics("both")
    names_of_one = {name: f"canary-{name}" for name in ("request_id", "run_id", "parent_run_id", "key_id")}
    for record in samples.ALL:
        metrics.observe(replace(record, tags=(("canary-tag", "canary-value"),), **names_of_one))  # type: ignore[arg-type] # texts
    exporter = Exporter(metrics, SystemClock(), IDENTITY)
    assert b"canary" not in await exporter.prometheus()
    await exporter.close()


async def test_pulled_values_are_kept_fresh_for_the_pushing_thread() -> None:
    asked: list[int] = []
    metrics = Metrics()

    def in_flight() -> dict[tuple[str, ...], int]:
        asked.append(1)
        return {(): len(asked)}

    metrics.source(names.IN_FLIGHT, in_flight)

    class Ticks(SystemClock):
        async def sleep_s(self, delay_s: float) -> None:  # type: ignore[override] # a clock that is always on time
            assert delay_s > 0
            await asyncio.sleep(0)
            if len(asked) == 3:
                raise asyncio.CancelledError

    exporter = Exporter(metrics, Ticks(), IDENTITY)
    with pytest.raises(asyncio.CancelledError):
        await exporter.keep_sampled()
    assert dict(metrics.numbers[names.IN_FLIGHT].snapshot()) == {(): 3}
    await exporter.close()


async def test_a_collector_that_is_away_does_not_hold_up_the_end(metrics: Metrics) -> None:
    exporter = Exporter(metrics, SystemClock(), IDENTITY, Otlp("http://127.0.0.1:9", {}, interval_s=3600))
    async with asyncio.timeout(5):
        await exporter.close(timeout_s=0.2)
