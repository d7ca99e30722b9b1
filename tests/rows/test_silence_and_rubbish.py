"""U7-U14: a provider that is silent, stops half-way, or says what cannot be understood."""

import msgspec
import pytest

from tests.rows.house import TOUCHY, Document, standing
from tests.rows.talk import Seen

STREAMED = pytest.mark.parametrize("stream", [False, True])
HELD = {"pace": {"head_gate": "never"}}


def midway(**fault: object) -> Document:
    """Fails in this way once the caller has seen the first content."""
    return {"otherwise": {"fault": fault, "pace": {"event_gate": "go", "gate_after_events": 1}}}


def broken_off(seen: Seen, code: str) -> None:
    """A committed stream that ended with an error event: nothing after it, and no end that looks like one."""
    assert (seen.status, seen.whole, seen.attempts) == (200, True, 1)
    assert seen.body.count(b"event: error\n") == 1
    assert seen.error["code"] == code
    assert seen.error["fault"] == "provider"
    assert b"[DONE]" not in seen.body


@STREAMED
async def test_u7_slow_headers_fall_over(stream: bool) -> None:
    async with standing(trip_rule=TOUCHY, a={"otherwise": HELD}, b={}) as house:
        house.moved(await house.ask(stream=stream), "head_timeout")
        assert house.health("a") == "open"
        await house.sims["a"].idle()
        assert [line.outcome for line in house.sims["a"].bill] == ["cut"]


async def test_u7_slow_headers_are_told_as_a_timeout() -> None:
    async with standing(a={"otherwise": HELD}) as house:
        house.refused(await house.ask(), 504, "upstream_timeout")
        assert house.calls("a") == 1


@pytest.mark.parametrize("ping_s", [0, 0.05])
async def test_u8_a_slow_first_token_falls_over_though_pings_come(ping_s: float) -> None:
    script = {"otherwise": {"fault": {"kind": "stall", "preamble": True, "ping_s": ping_s}}}
    async with standing(trip_rule=TOUCHY, a=script, b={}) as house:
        house.moved(await house.ask(stream=True), "first_token_timeout")
        assert 0.25 < house.record.attempts[0].duration_s < 0.8
        assert house.health("a") == "open"


async def test_u8_a_slow_first_token_is_told_as_a_timeout() -> None:
    script = {"otherwise": {"fault": {"kind": "stall", "preamble": True, "ping_s": 0.05}}}
    async with standing(a=script) as house:
        house.refused(await house.ask(stream=True), 504, "upstream_timeout")


@pytest.mark.parametrize("ping_s", [0, 0.05])
async def test_u9_a_stall_mid_stream_ends_with_an_error_event(ping_s: float) -> None:
    script = midway(kind="stall", after_events=2, ping_s=ping_s)
    async with standing(trip_rule=TOUCHY, a=script, b={}) as house:
        seen = await house.ask(stream=True, then_open="a")
        broken_off(seen, "upstream_stalled")
        assert (house.calls("b"), house.health("a")) == (0, "open")
        assert house.failures == ["stalled"]
        assert (house.record.status, house.record.error_code) == (200, "upstream_stalled")
        assert (house.record.provenance.value, house.record.usage.output) == ("counted", 2)
        lasted_s = house.record.attempts[0].duration_s
        assert 0.25 < lasted_s < 0.55 if not ping_s else 0.5 < lasted_s < 1.2  # pings extend it, once


async def test_u9_a_stall_within_a_whole_answer_falls_over() -> None:
    script = {"otherwise": {"fault": {"kind": "stall", "preamble": True}}}
    async with standing(trip_rule=TOUCHY, a=script, b={}) as house:
        house.moved(await house.ask(), "stalled")


@pytest.mark.parametrize("how", ["fin", "reset", "clean"])
async def test_u10_a_truncated_stream_ends_with_an_error_event(how: str) -> None:
    script = midway(kind="truncate", after_events=3, how=how)
    async with standing(trip_rule=TOUCHY, a=script, b={}) as house:
        broken_off(await house.ask(stream=True, then_open="a"), "upstream_truncated")
        assert (house.calls("b"), house.health("a")) == (0, "open")
        assert (house.failures, house.record.provenance.value) == (["truncated"], "counted")


@STREAMED
@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_u10_an_answer_truncated_before_any_content_falls_over(how: str, stream: bool) -> None:
    script = {"otherwise": {"fault": {"kind": "truncate", "after_bytes": 40, "how": how}}}
    async with standing(trip_rule=TOUCHY, a=script, b={}) as house:
        house.moved(await house.ask(stream=stream), "truncated")
        assert house.health("a") == "open"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_u10_a_truncated_whole_answer_is_told_as_truncated_or_invalid(framing: str) -> None:
    behaviour = {"fault": {"kind": "truncate", "after_bytes": 100}, "wire": {"framing": framing}}
    async with standing(a={"otherwise": behaviour}) as house:
        seen = await house.ask()
        if framing == "close":  # only the JSON tells
            house.refused(seen, 502, "upstream_invalid_response", attempts=2)
        else:
            house.refused(seen, 502, "upstream_truncated")


ILLEGAL = ["bad_utf8", "bad_json", "huge_line", "not_an_object", "missing_blank_line"]


@pytest.mark.parametrize("flaw", ILLEGAL)
async def test_u11_a_malformed_stream_falls_over_before_its_first_content(flaw: str) -> None:
    script = {"otherwise": {"fault": {"kind": "malformed_sse", "flaw": flaw}}}
    async with standing(trip_rule=TOUCHY, a=script, b={}) as house:
        house.moved(await house.ask(stream=True), "malformed_stream")
        assert house.health("a") == "open"


@pytest.mark.parametrize("flaw", ILLEGAL)
async def test_u11_a_stream_that_becomes_malformed_ends_with_an_error_event(flaw: str) -> None:
    script = midway(kind="malformed_sse", flaw=flaw, after_events=2)
    async with standing(trip_rule=TOUCHY, a=script, b={}) as house:
        broken_off(await house.ask(stream=True, then_open="a"), "upstream_invalid_response")
        assert (house.calls("b"), house.health("a"), house.failures) == (0, "open", ["malformed_stream"])


async def test_u11_a_page_instead_of_a_stream_falls_over() -> None:
    script = {"otherwise": {"fault": {"kind": "malformed_sse", "flaw": "html"}}}
    async with standing(trip_rule=TOUCHY, a=script, b={}) as house:
        house.moved(await house.ask(stream=True), "truncated")


async def test_u11_a_malformed_stream_is_told_as_invalid() -> None:
    async with standing(a={"otherwise": {"fault": {"kind": "malformed_sse"}}}) as house:
        house.refused(await house.ask(stream=True), 502, "upstream_invalid_response")


@pytest.mark.parametrize("flaw", ["cr_only", "bom", "multi_line_data"])
async def test_u11_what_is_rare_but_legal_passes(flaw: str) -> None:
    script = {"otherwise": {"fault": {"kind": "malformed_sse", "flaw": flaw}}}
    async with standing(trip_rule=TOUCHY, a=script) as house:
        seen = await house.ask(stream=True)
        assert seen.done
        assert house.health("a") == "well"


FLAWS = ["cut", "text", "html", "empty", "array", "wrong_schema", "bad_utf8", "nan", "trailing"]


@pytest.mark.parametrize("flaw", FLAWS)
async def test_u12_a_malformed_body_falls_over(flaw: str) -> None:
    script = {"otherwise": {"fault": {"kind": "malformed_json", "flaw": flaw}}}
    async with standing(trip_rule=TOUCHY, a=script, b={}) as house:
        house.moved(await house.ask(), "malformed_body")
        assert house.health("a") == "open"


@pytest.mark.parametrize("flaw", FLAWS)
async def test_u12_a_malformed_body_is_asked_for_once_more_and_told_as_invalid(flaw: str) -> None:
    script = {"otherwise": {"fault": {"kind": "malformed_json", "flaw": flaw}}}
    async with standing(a=script) as house:
        house.refused(await house.ask(), 502, "upstream_invalid_response", attempts=2)
        assert house.calls("a") == 2


IN_200: list[tuple[Document, str, int, str, str]] = [
    ({"code": "server_error"}, "server_error", 502, "upstream_error", "open"),
    ({"code": "server_is_overloaded"}, "overloaded", 503, "upstream_overloaded", "cooldown"),
    ({"code": "rate_limit_exceeded"}, "throttled", 429, "upstream_rate_limited", "cooldown"),
    ({"code": "insufficient_quota"}, "quota_gone", 503, "provider_quota_exhausted", "misconfigured_quota_gone"),
    ({"code": "invalid_api_key"}, "auth", 502, "upstream_auth", "misconfigured_auth"),
]


@STREAMED
@pytest.mark.parametrize(("said", "failure", "status", "code", "health"), IN_200)
async def test_u13_an_error_inside_a_200_counts_as_its_status(
    said: Document, failure: str, status: int, code: str, health: str, stream: bool
) -> None:
    script = {"otherwise": {"fault": {"kind": "error_in_200", **said}}}
    async with standing(trip_rule=TOUCHY, a=script, b={}) as house:
        house.moved(await house.ask(stream=stream), failure)
        assert house.health("a") == health
    async with standing(trip_rule=TOUCHY, a=script) as house:
        house.refused(await house.ask(stream=stream), status, code)


async def test_u13_an_invalid_request_inside_a_200_is_the_callers() -> None:
    script = {"otherwise": {"fault": {"kind": "error_in_200", "code": "context_length_exceeded"}}}
    async with standing(trip_rule=TOUCHY, a=script, b={}) as house:
        house.refused(await house.ask(stream=True), 400, "context_length_exceeded", "caller")
        assert (house.calls("b"), house.health("a")) == (0, "well")


async def test_u13_an_error_within_a_committed_stream_ends_it_with_an_error_event() -> None:
    script = midway(kind="error_in_200", code="server_error", after_events=2)
    async with standing(trip_rule=TOUCHY, a=script, b={}) as house:
        broken_off(await house.ask(stream=True, then_open="a"), "upstream_error")
        assert (house.calls("b"), house.health("a"), house.failures) == (0, "open", ["server_error"])


@STREAMED
async def test_u14_an_answer_without_choices_or_usage_passes_and_is_estimated(stream: bool) -> None:
    script = {"otherwise": {"answer": {"empty_choices": True, "usage": "never"}}}
    async with standing(trip_rule=TOUCHY, a=script, b={}) as house:
        seen = await house.ask(stream=stream)
        assert (seen.status, seen.whole, seen.attempts, seen.text) == (200, True, 1, "")
        assert (house.health("a"), house.calls("b")) == ("well", 0)
        assert house.record.provenance.value == "estimated"
        assert (house.record.usage.input > 0, house.record.usage.output) == (True, 0)
        if stream:
            assert seen.done
        else:
            assert msgspec.json.decode(seen.body)["choices"] == []
