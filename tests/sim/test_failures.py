"""Error answers: each code in its dialect, each form of wait hint."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from gateway.sim.ask import Dialect
from gateway.sim.failure import failure, go_duration, hint_headers, rfc3339
from gateway.sim.fault import Hint, Status
from tests.sim.talk import CHAT, MESSAGES, SAY_HI, one, simulator, streamed

NOW_S = 1_800_000_000.0


@pytest.mark.parametrize(
    ("fault", "status", "code", "kind"),
    [
        ({"status": 429}, 429, "rate_limit_exceeded", "requests"),
        ({"code": "slow_down"}, 429, "slow_down", "rate_limit_error"),
        ({"code": "credit_balance_exhausted"}, 429, "credit_balance_exhausted", "insufficient_quota"),
        ({"code": "insufficient_quota", "status": 403}, 403, "insufficient_quota", "insufficient_quota"),
        ({"code": "context_length_exceeded"}, 400, "context_length_exceeded", "invalid_request_error"),
        ({"status": 400}, 400, None, "invalid_request_error"),
        ({"status": 401}, 401, "invalid_api_key", "invalid_request_error"),
        ({"status": 403}, 403, "unsupported_country_region_territory", "request_forbidden"),
        ({"status": 404}, 404, "model_not_found", "invalid_request_error"),
        ({"status": 408}, 408, "timeout", "timeout"),
        ({"status": 409}, 409, "conflict", "conflict_error"),
        ({"status": 413}, 413, "request_too_large", "invalid_request_error"),
        ({"status": 500}, 500, "server_error", "server_error"),
        ({"status": 502}, 502, "bad_gateway", "server_error"),
        ({"status": 503}, 503, "server_is_overloaded", "service_unavailable_error"),
        ({"status": 504}, 504, "gateway_timeout", "server_error"),
        ({"status": 529}, 529, "overloaded_error", "overloaded_error"),
        ({"status": 418, "code": "odd", "type": "tea", "message": "short"}, 418, "odd", "tea"),
    ],
)
async def test_openai_errors(fault: dict[str, Any], status: int, code: str | None, kind: str) -> None:
    async with simulator({"fault": {"kind": "status", **fault}}) as sim:
        plain, stream = await one(sim), await one(sim, CHAT, streamed())
        await sim.idle()
        assert {(line.outcome, line.status, line.input_tokens) for line in sim.bill} == {("refused", status, 0)}
    assert (plain.status, stream.status) == (status, status)
    error = plain.json()["error"]
    assert (error["code"], error["type"]) == (code, kind)
    assert plain.json() == stream.json()


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ({"status": 429}, 429, "rate_limit_error"),
        ({"status": 529}, 529, "overloaded_error"),
        ({"status": 500}, 500, "api_error"),
        ({"code": "overloaded_error"}, 529, "overloaded_error"),
        ({"code": "context_length_exceeded"}, 400, "invalid_request_error"),
        ({"status": 402}, 402, "billing_error"),
        ({"status": 503}, 503, "api_error"),
        ({"code": "insufficient_quota"}, 429, "rate_limit_error"),
    ],
)
async def test_anthropic_errors(fault: dict[str, Any], status: int, kind: str) -> None:
    async with simulator({"fault": {"kind": "status", **fault}}) as sim:
        got = await one(sim, MESSAGES, streamed())
    assert (got.status, got.json()["type"], got.json()["error"]["type"]) == (status, "error", kind)
    assert got.json()["request_id"] == got.headers["request-id"]


def test_a_spend_limit_is_told_as_anthropic_does() -> None:
    failed = failure(Dialect.MESSAGES, Status(code="enforced_spend_limit_reached"), "req_1", NOW_S)
    assert failed.status == 429
    assert b'"details":{"error_code":"enforced_spend_limit_reached"}' in failed.body


@pytest.mark.parametrize(
    ("hint", "headers"),
    [
        (Hint("retry-after-ms", 1.5), {"retry-after-ms": "1500"}),
        (Hint("retry-after", 2.5), {"retry-after": "2.5"}),
        (Hint("retry-after", 2), {"retry-after": "2"}),
        (
            Hint("openai-reset", 90, "tokens"),
            {
                "x-ratelimit-limit-tokens": "1000",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "1m30s",
            },
        ),
        (
            Hint("anthropic-reset", 7, "input-tokens", 3),
            {
                "anthropic-ratelimit-input-tokens-limit": "1000",
                "anthropic-ratelimit-input-tokens-remaining": "3",
                "anthropic-ratelimit-input-tokens-reset": "2027-01-15T08:00:07Z",
            },
        ),
    ],
)
def test_hint_headers(hint: Hint, headers: dict[str, str]) -> None:
    assert dict(hint_headers(hint, NOW_S)) == headers


def test_a_date_hint_may_come_from_a_skewed_clock() -> None:
    [(_, told)] = hint_headers(Hint("retry-after-date", 30), NOW_S)
    assert parsedate_to_datetime(told).timestamp() == NOW_S + 30
    skewed = dict(hint_headers(Hint("retry-after-date", 30, server_skew_s=600), NOW_S))
    apart = parsedate_to_datetime(skewed["retry-after"]) - parsedate_to_datetime(skewed["date"])
    assert apart.total_seconds() == 30
    assert parsedate_to_datetime(skewed["date"]) == datetime.fromtimestamp(NOW_S + 600, UTC)


def test_body_hints() -> None:
    google = failure(Dialect.CHAT, Status(429, hints=(Hint("google", 37),)), "r", NOW_S)
    azure = failure(Dialect.CHAT, Status(429, hints=(Hint("azure", 7),)), "r", NOW_S)
    assert b'"retryDelay":"37s"' in google.body
    assert b'"RESOURCE_EXHAUSTED"' in google.body
    assert b"Please retry after 7 seconds." in azure.body


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.02, "20ms"), (1, "1s"), (360, "6m0s"), (3723.5, "1h2m3.5s"), (0, "0ms"), (59.9, "59.9s")],
)
def test_go_durations(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


def test_rfc3339() -> None:
    assert rfc3339(NOW_S) == "2027-01-15T08:00:00Z"


async def test_hints_headers_and_a_raw_body_go_out_together() -> None:
    fault = {
        "kind": "status",
        "status": 429,
        "hints": [{"form": "retry-after-ms", "seconds": 0.25}, {"form": "openai-reset", "seconds": 1}],
        "headers": {"retry-after": "nonsense", "x-should-retry": "true"},
        "body": "<html>slow down</html>",
    }
    async with simulator({"fault": fault}) as sim:
        got = await one(sim)
    assert (got.headers["retry-after-ms"], got.headers["x-ratelimit-reset-requests"]) == ("250", "1s")
    assert (got.headers["retry-after"], got.headers["x-should-retry"]) == ("nonsense", "true")
    assert got.body == b"<html>slow down</html>"


async def test_two_failures_then_well() -> None:
    async with simulator({"when": {"requests": "1..2"}, "fault": {"kind": "status", "status": 503}}) as sim:
        assert [(await one(sim, CHAT, SAY_HI)).status for _ in range(4)] == [503, 503, 200, 200]
