"""Hands the one record of an exchange to everything that is made from it; cannot fail the request."""

from collections.abc import Callable

from gateway import ports
from gateway.domain.record import ExchangeRecord
from gateway.telemetry import names
from gateway.telemetry.metrics import Metrics

_MISTAKES = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)

Sink = Callable[[ExchangeRecord], None]


class Recorder(ports.Recorder):
    """Each sink stands for itself: one that fails is counted, and the others still get the record."""

    def __init__(self, metrics: Metrics, **sinks: Sink) -> None:
        self._metrics = metrics
        self._sinks: tuple[tuple[str, Sink], ...] = (("metrics", metrics.observe), *sinks.items())

    def record(self, record: ExchangeRecord) -> None:
        for name, sink in self._sinks:
            try:
                sink(record)
            except _MISTAKES:
                self._metrics.count(names.RECORDS_FAILED, (name,))
