"""What a collector receives from the processes of a split deployment."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent_runtime.domain.values import RunRef
from agent_runtime.telemetry.export import ExportingRecorder
from tests.agent_runtime.cast import ANN
from tests.agent_runtime.lab import Lab
from tests.e2e.processes import Process
from tests.ports import free_port
from tests.workflows.test_commands import COMMAND, TROUPE, command, environ_of, until_status
from tests.workflows.test_traces import providers_traces


class Collector:
    def __init__(self, refused: str = "") -> None:
        self.metrics: set[str] = set()
        self.spans: set[str] = set()
        self.traces: dict[str, set[str]] = {}
        collector = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path != refused:
                    collector.take(self.path, body)
                self.send_response(400 if self.path == refused else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/metrics":
            metrics = ExportMetricsServiceRequest.FromString(body)
            self.metrics |= {m.name for r in metrics.resource_metrics for s in r.scope_metrics for m in s.metrics}
        else:
            traces = ExportTraceServiceRequest.FromString(body)
            for span in (span for r in traces.resource_spans for s in r.scope_spans for span in s.spans):
                self.spans.add(span.name)
                self.traces.setdefault(span.name, set()).add(span.trace_id.hex())

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def collecting(refused: str = "") -> Iterator[Collector]:
    made = Collector(refused)
    try:
        yield made
    finally:
        made.stop()


def test_row_47_58_client_and_worker_tell_a_collector_before_they_end(lab: Lab, temporal: str, tmp_path: Path) -> None:
    lab.reset()
    with collecting() as of_worker, collecting() as of_client:
        shared = environ_of(lab, tmp_path, METERWAY_TEMPORAL=temporal, METERWAY_AGENT_QUEUE=f"told-{tmp_path.name}")
        (tmp_path / "w").mkdir()
        environ = {**shared, "METERWAY_OTLP_ENDPOINT": of_worker.url}
        port = free_port()
        words = ("worker", "--agents", TROUPE, "--health-port", str(port))
        worker = Process(tmp_path / "w", COMMAND, *words, environ=environ)
        try:
            client = {**shared, "METERWAY_OTLP_ENDPOINT": of_client.url}
            told = command("run", TROUPE, "go", "--temporal", temporal, environ=client)
            assert told.returncode == 0, told.stderr
            assert "collector" in until_status(f"http://127.0.0.1:{port}/readyz", 200).json()["checks"]
        finally:
            worker.signal(signal.SIGTERM)
            assert worker.ended(40) == 0
    assert "agent.run.started" in of_client.metrics
    assert {"agent.run.completed", "agent.llm.tokens.input", "agent.tool.call.completed"} <= of_worker.metrics
    assert {"llm.generate", "tool.execute"} <= of_worker.spans
    [trace] = of_client.traces["StartWorkflow:AgentRun"]
    assert of_worker.traces["RunWorkflow:AgentRun"] == of_worker.traces["tool.execute"] == {trace}
    assert of_worker.traces["llm.generate"] == set(providers_traces(lab)) == {trace}


def test_row_48_what_a_collector_does_not_take_is_counted() -> None:
    with collecting(refused="/v1/traces") as one:
        recorder = ExportingRecorder(one.url, "test", "development")
        with recorder.span("llm.generate", RunRef("run-1", "main", ANN, "run-1")):
            pass
        recorder.flush()
    assert one.spans == set()
    assert "agent.export.failed" in one.metrics
