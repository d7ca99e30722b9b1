"""What the simulator keeps: its bill, the requests, the limits, and the control door."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.sim.ask import Dialect
from gateway.sim.bill import Bill, fingerprint
from gateway.sim.limits import Bucket, Limiter
from gateway.sim.script import Limits, parse_script
from gateway.sim.server import Simulator
from tests.sim.talk import CHAT, MESSAGES, SAY_HI, connect, one, simulator, streamed


class StillClock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return 1_800_000_000.0 + self.now_s

    def dice(self) -> float:
        return 0.5

    async def sleep_s(self, delay_s: float) -> None:
        self.now_s += delay_s


async def test_a_completed_call_is_billed_with_the_usage_it_reported() -> None:
    async with simulator() as sim:
        got = await one(sim, CHAT, SAY_HI, {"x-request-id": "req-7"})
        await sim.idle()
        [line] = sim.bill
    usage = got.json()["usage"]
    assert (line.id, line.reply_id, line.outcome) == ("req-7", got.json()["id"].removeprefix("chatcmpl-"), "completed")
    assert (line.input_tokens, line.output_tokens) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert (line.path, line.model, line.stream, line.status) == (CHAT, "gpt-x", False, 200)
    assert line.sent_bytes == len(got.head) + 4 + len(got.raw)
    assert (line.key, line.client_left_s) == (fingerprint("key-1"), None)
    assert "key-1" not in repr(line)


@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/v1/responses"])
async def test_a_streamed_call_is_billed_with_the_usage_it_reported(path: str) -> None:
    answer = {"text_chars": 333, "reasoning_tokens": 9, "tool_calls": [{"name": "f", "arguments": {"a": "b"}}]}
    body = streamed(input="x", stream_options={"include_usage": True})
    async with simulator({"answer": {**answer, "text": "with a call"}}) as sim:
        events = (await one(sim, path, body)).data()
        await sim.idle()
        [line] = sim.bill
    last = {CHAT: lambda: events[-2], MESSAGES: lambda: events[-2], "/v1/responses": lambda: events[-1]["response"]}[
        path
    ]()
    usage = last["usage"]
    assert line.output_tokens == usage.get("output_tokens", usage.get("completion_tokens"))


async def test_a_client_that_leaves_mid_stream_is_billed_for_what_was_produced() -> None:
    rule = {"answer": {"text_chars": 400, "events": 100}, "pace": {"event_gate": "hold", "gate_after_events": 5}}
    async with simulator(rule) as sim:
        line = await connect(sim)
        line.ask(CHAT, streamed())
        await line.until(b'"delta":{"content":')
        line.close()
        await sim.idle()
        [bill] = sim.bill
    assert (bill.outcome, bill.output_tokens) == ("cut", 5)
    assert bill.client_left_s == bill.ended_s


async def test_the_bill_is_also_a_file(tmp_path: Path) -> None:
    path = tmp_path / "bill.jsonl"
    async with Simulator(bill_path=str(path)) as sim:
        await one(sim)
        await one(sim, CHAT, b"{")
        await sim.idle()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["completed", "refused"]


def test_a_bill_is_a_sequence() -> None:
    bill = Bill()
    assert (len(bill), list(bill)) == (0, [])
    assert fingerprint("") == ""
    assert fingerprint("a") != fingerprint("b")


async def test_requests_are_kept_as_they_came() -> None:
    async with simulator() as sim:
        await one(sim, f"{CHAT}?api-version=1", SAY_HI, {"X-Run-Id": "r1"})
        [request] = sim.requests
    assert (request.method, request.path, request.query) == ("POST", CHAT, "api-version=1")
    assert (request.header("x-run-id"), request.header("x-none", "?")) == ("r1", "?")
    assert request.json() == SAY_HI


def test_a_bucket_fills_evenly() -> None:
    bucket = Bucket(60, 0.0, 0.0)
    assert bucket.wait_s(3) == 3.0
    bucket.fill(2.0)
    assert (bucket.level, bucket.wait_s(3), bucket.reset_s) == (2.0, 1.0, 58.0)
    bucket.fill(1000.0)
    assert (bucket.level, bucket.wait_s(1000)) == (60.0, 0.0)


def test_what_is_turned_away_takes_nothing_and_keys_are_apart() -> None:
    limiter = Limiter(Limits(requests_per_minute=2, tokens_per_minute=100))
    admitted = [limiter.admit(Dialect.CHAT, ("k", "m"), 40, 0.0, 0.0).wait_s for _ in range(3)]
    assert admitted == [None, None, 30.0]
    assert limiter.admit(Dialect.CHAT, ("k", "m"), 40, 30.0, 0.0).wait_s is None
    assert limiter.admit(Dialect.CHAT, ("other", "m"), 40, 0.0, 0.0).wait_s is None


async def test_requests_per_minute_are_enforced_with_the_headers_of_the_dialect() -> None:
    clock = StillClock()
    async with Simulator(parse_script({"limits": {"requests_per_minute": 2}}), clock=clock) as sim:
        first, second, third = [await one(sim) for _ in range(3)]
        clock.now_s += 30.0
        fourth = await one(sim)
        theirs = [await one(sim, MESSAGES, {**streamed(), "model": "c"}) for _ in range(3)]
    assert [got.status for got in (first, second, third, fourth)] == [200, 200, 429, 200]
    assert [got.headers["x-ratelimit-remaining-requests"] for got in (first, second, third)] == ["1", "0", "0"]
    assert third.headers["x-ratelimit-reset-requests"] == "1m0s"
    assert (third.headers["retry-after"], third.headers["retry-after-ms"]) == ("30", "30000")
    assert third.json()["error"]["code"] == "rate_limit_exceeded"
    assert [got.status for got in theirs] == [200, 200, 429]
    assert theirs[2].headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert theirs[2].headers["anthropic-ratelimit-requests-reset"].endswith("Z")


async def test_tokens_per_minute_are_enforced_over_input_and_the_promised_output() -> None:
    async with Simulator(parse_script({"limits": {"tokens_per_minute": 600}}), clock=StillClock()) as sim:
        body = {**SAY_HI, "max_tokens": 294}
        got = [await one(sim, CHAT, body) for _ in range(3)]
    assert [one.status for one in got] == [200, 200, 429]
    assert got[0].headers["x-ratelimit-remaining-tokens"] == "300"
    assert got[2].headers["retry-after"] == "30"


async def test_a_time_span_starts_when_the_script_is_put_in() -> None:
    clock = StillClock()
    outage: dict[str, Any] = {"when": {"after_s": 10, "until_s": 20}, "fault": {"kind": "status", "status": 503}}
    async with Simulator(clock=clock) as sim:
        clock.now_s += 15
        sim.script = parse_script({"rules": [outage]})
        seen = []
        for _ in range(3):
            seen.append((await one(sim)).status)
            clock.now_s += 10
    assert seen == [200, 503, 200]


async def test_the_control_door() -> None:
    async with simulator() as sim:
        script = {"rules": [{"pace": {"head_gate": "g"}, "fault": {"kind": "status", "status": 503}}]}
        assert (await one(sim, "/_sim/script", script, method="PUT")).json() == {"rules": 1}
        shown = (await one(sim, "/_sim/script", b"", method="GET")).json()
        assert shown["rules"][0]["fault"]["status"] == 503
        assert parse_script(shown) == sim.script
        refused = await one(sim, "/_sim/script", {"rules": [{"when": {"modle": "x"}}]}, method="PUT")
        assert (refused.status, "$.rules[0].when" in refused.json()["error"]) == (400, True)
        assert (await one(sim, "/_sim/open/g", b"", method="POST")).status == 200
        assert (await one(sim)).status == 503
        await sim.idle()
        [line] = (await one(sim, "/_sim/bill", b"", method="GET")).json()
        [request] = (await one(sim, "/_sim/requests", b"", method="GET")).json()
        assert (line["outcome"], request["path"], json.loads(request["body"])) == ("refused", CHAT, SAY_HI)
        assert (await one(sim, "/_sim/reset", b"", method="POST")).status == 200
        assert (await one(sim, "/_sim/bill", b"", method="GET")).json() == []
        assert (await one(sim, "/_sim/nothing", b"", method="GET")).status == 404
