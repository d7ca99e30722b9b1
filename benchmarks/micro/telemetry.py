"""What one record costs the hot path: microseconds for the metrics, the log line, and both through the recorder."""

import time
from collections.abc import Callable

import msgspec

from gateway.domain.record import ExchangeRecord
from gateway.telemetry.access_log import is_plain, line_of, plain_line
from gateway.telemetry.cells import HistogramCells, NumberCells
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.names import AGENT_INPUT, AGENT_STARTED
from gateway.telemetry.recorder import Recorder
from tests.telemetry import samples

_ROUNDS = 5
_RECORDS = 50_000


def micros(work: Callable[[], object], count: int = _RECORDS) -> float:
    """The best of a few rounds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        for _ in range(count):
            work()
        best = min(best, time.perf_counter() - start)
    return best / count * 1e6


def _log_line(record: ExchangeRecord) -> bytes:
    return plain_line(record) if is_plain(record) else msgspec.json.encode(line_of(record))


def main() -> None:
    counter, histogram = NumberCells(AGENT_STARTED), HistogramCells(AGENT_INPUT)
    pair, triple = ("gpt-4.1", "openai"), ("gpt-4.1", "openai", "demo")
    _say("counter cell", micros(lambda: counter.add(pair, 1)))
    _say("histogram cell", micros(lambda: histogram.add(triple, 1000)))
    for name, record in (("answered", samples.GOOD), ("failed over", samples.FAILED_OVER)):
        for semconv in ("1.41", "both"):
            metrics = Metrics(semconv)
            _say(f"metrics, {name}, {semconv}", micros(_of(metrics.observe, record)))
        _say(f"log line, {name}", micros(_of(_log_line, record)))
        _say(f"recorder, metrics only, {name}", micros(_of(Recorder(Metrics()).record, record)))


def _of(work: Callable[[ExchangeRecord], object], record: ExchangeRecord) -> Callable[[], object]:
    return lambda: work(record)


def _say(name: str, value: float) -> None:
    print(f"{name:40} {value:8.2f} us")


if __name__ == "__main__":
    main()
