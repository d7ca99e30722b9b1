"""Pushes metrics to a collector; loaded only where one is configured, because it brings an HTTP client along."""

from collections.abc import Mapping

import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricsData, PeriodicExportingMetricReader

from gateway.telemetry.histograms import Histograms

PUSH_TIMEOUT_S = 10.0


class OtlpReader(PeriodicExportingMetricReader):
    """Pushes directly: neither proxies nor credentials are taken from the environment."""

    def __init__(
        self,
        histograms: Histograms,
        endpoint: str,
        headers: Mapping[str, str],
        interval_s: float,
        limits: dict[type, int],
    ) -> None:
        self._histograms = histograms
        session = requests.Session()
        session.trust_env = False
        exporter = OTLPMetricExporter(
            endpoint=f"{endpoint.rstrip('/')}/v1/metrics",
            headers=dict(headers),
            timeout=PUSH_TIMEOUT_S,
            session=session,
        )
        super().__init__(exporter, interval_s * 1000, PUSH_TIMEOUT_S * 1000, cardinality_limits=limits)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> None:
        super()._receive_metrics(self._histograms.join(metrics_data), timeout_millis, **kwargs)
