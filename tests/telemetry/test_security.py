"""Security events: each is counted, and each kind of each provider is said once a minute."""

import logging
from dataclasses import replace

import pytest

from gateway.domain.errors import Fault
from gateway.domain.record import Attempt, ExchangeRecord
from gateway.telemetry import names
from gateway.telemetry.metrics import Metrics
from tests.telemetry import samples

LOG = "meterway.security"


def attempt(failure: str | None, provider: str = "p") -> Attempt:
    return Attempt(f"{provider}/m#0", provider, "m", 0.0, 0.1, None, failure)


def failed(*failures: str, at_s: float = 0.0, provider: str = "p") -> ExchangeRecord:
    attempts = tuple(attempt(failure, provider) for failure in failures)
    return replace(
        samples.GOOD, attempts=attempts, started_at_s=at_s, committed=False, error_code="x", fault=Fault.PROVIDER
    )


def events(*records: ExchangeRecord) -> dict[tuple[str, ...], float]:
    metrics = Metrics()
    for record in records:
        metrics.observe(record)
    return dict(metrics.numbers[names.SECURITY].snapshot())


def test_every_attempt_counts_once_wherever_it_stands() -> None:
    assert events(failed("tls")) == {("p", "tls"): 1}
    assert events(failed("tls", "redirect", "tls", "server_error")) == {("p", "tls"): 2, ("p", "redirect"): 1}
    answered = replace(samples.GOOD, attempts=(attempt("redirect"), attempt(None, "q")))
    assert events(answered) == {("p", "redirect"): 1}
    left = replace(failed("tls"), error_code=None, fault=Fault.CALLER, client_gone=True)
    assert events(left) == {("p", "tls"): 1}
    assert events(samples.GOOD, samples.FAILED_OVER, samples.ABORTED, samples.GONE, samples.UNKNOWN_MODEL) == {}


def test_each_kind_of_each_provider_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, LOG)
    counted = events(
        failed("tls", "tls", "redirect", at_s=1000.0),
        failed("tls", at_s=1059.0),
        failed("tls", at_s=1059.0, provider="q"),
        failed("tls", at_s=1060.0),
        failed("tls", at_s=500.0),  # the clock was set back
    )
    assert counted == {("p", "tls"): 5, ("p", "redirect"): 1, ("q", "tls"): 1}
    said = [(record.levelname, "tls" if "TLS" in record.message else "redirect") for record in caplog.records]
    assert said == [("WARNING", kind) for kind in ("tls", "redirect", "tls", "tls", "tls")]
    assert ["'q'" in record.message for record in caplog.records] == [False, False, True, False, False]


def test_u30_an_overrun_on_record_is_counted() -> None:
    metrics = Metrics()
    for record in (samples.GOOD, replace(samples.GOOD, overrun=True), replace(samples.UNKNOWN_MODEL, overrun=True)):
        metrics.observe(record)
    counted = dict(metrics.numbers[names.OVERRUNS].snapshot())
    assert counted == {("demo", "assistant", "openai"): 1, ("demo", "", ""): 1}
