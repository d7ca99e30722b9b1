"""Streams that go wrong: flaws, errors inside, stalls, truncation, no end."""

import asyncio
import gzip
import json
from typing import Any

import pytest

from tests.sim.talk import CHAT, MESSAGES, Answer, Line, connect, one, simulator, streamed

CONTENT = {"text_chars": 40, "events": 10}


def flawed(flaw: str, after: int = 2, **more: Any) -> dict[str, Any]:
    return {"answer": CONTENT, "fault": {"kind": "malformed_sse", "flaw": flaw, "after_events": after, **more}}


async def stream(rule: dict[str, Any], path: str = CHAT) -> Answer:
    async with simulator(rule) as sim:
        return await one(sim, path, streamed())


def contents(answer: Answer) -> int:
    return answer.body.count(b'"delta":{"content":"')


@pytest.mark.parametrize("flaw", ["bad_utf8", "bad_json", "not_an_object"])
async def test_one_event_is_no_good(flaw: str) -> None:
    got = await stream(flawed(flaw))
    bad = 0
    for line in got.body.split(b"\n"):
        if line.startswith(b"data: ") and line != b"data: [DONE]":
            try:
                bad += not isinstance(json.loads(line[6:].decode()), dict)
            except ValueError:
                bad += 1
    assert bad == 1
    assert got.body.endswith(b"data: [DONE]\n\n")


async def test_a_huge_line() -> None:
    got = await stream(flawed("huge_line", huge_bytes=300_000))
    assert max(map(len, got.body.split(b"\n"))) > 300_000
    assert got.data()[-1] == "[DONE]"


async def test_legal_but_rare_forms() -> None:
    cr = await stream(flawed("cr_only", 0))
    bom = await stream(flawed("bom", 0))
    lines = await stream(flawed("multi_line_data", 0))
    assert b"\n" not in cr.body
    assert cr.body.endswith(b"data: [DONE]\r\r")
    assert bom.body.startswith(b"\xef\xbb\xbfdata: ")
    first = lines.body.split(b"\n\n")[0]
    assert first.count(b"\ndata: ") == 1
    assert json.loads(first.replace(b"data: ", b""))["object"] == "chat.completion.chunk"


async def test_a_missing_blank_line_and_html() -> None:
    merged = await stream(flawed("missing_blank_line"))
    html = await stream(flawed("html"))
    assert sum(b"\ndata: " in event for event in merged.body.split(b"\n\n")) == 1
    assert html.body.endswith(b"</html>\n")
    assert b"[DONE]" not in html.body


@pytest.mark.parametrize(("end", "mark"), [("crlf", b"\r\n\r\n"), ("cr", b"\r\r"), ("lf", b"\n\n")])
async def test_line_ends(end: str, mark: bytes) -> None:
    got = await stream({"answer": CONTENT, "wire": {"line_end": end}})
    assert got.body.endswith(b"data: [DONE]" + mark)
    assert got.body.count(mark) == 13


@pytest.mark.parametrize("size", [1, 7])
async def test_frames_are_split_into_small_chunks(size: int) -> None:
    got = await stream({"answer": CONTENT, "wire": {"split_bytes": size}})
    assert {int(line, 16) for line in got.raw.split(b"\r\n")[::2] if line} <= set(range(size + 1))
    assert got.data()[-1] == "[DONE]"


async def test_an_error_instead_of_an_answer() -> None:
    fault = {"kind": "error_in_200", "code": "rate_limit_exceeded"}
    async with simulator({"fault": fault}) as sim:
        plain, events, theirs = await one(sim), await one(sim, CHAT, streamed()), await one(sim, MESSAGES, streamed())
        await sim.idle()
        assert {line.outcome for line in sim.bill} == {"refused"}
    assert [got.status for got in (plain, events, theirs)] == [200] * 3
    assert plain.json()["error"]["code"] == "rate_limit_exceeded"
    assert [event["error"]["code"] for event in events.data()] == ["rate_limit_exceeded"]
    assert events.names() == ["error"]
    assert [event["error"]["type"] for event in theirs.data()] == ["rate_limit_error"]


async def test_an_error_event_mid_stream() -> None:
    fault = {"kind": "error_in_200", "status": 529, "after_events": 3, "event_name": False}
    async with simulator({"answer": CONTENT, "fault": fault}) as sim:
        got = await one(sim, CHAT, streamed())
        theirs = await one(sim, MESSAGES, streamed())
        await sim.idle()
        assert [(line.outcome, line.output_tokens) for line in sim.bill] == [("failed", 3)] * 2
    assert contents(got) == 3
    assert got.data()[-1]["error"]["code"] == "overloaded_error"
    assert got.names() == []
    assert theirs.names()[-1] == "error"
    assert theirs.data()[-1]["error"]["type"] == "overloaded_error"


async def test_an_error_after_the_opening_events_or_in_passing() -> None:
    opened = await stream({"fault": {"kind": "error_in_200", "status": 529, "preamble": True}}, MESSAGES)
    passing = await stream({"fault": {"kind": "error_in_200", "status": 500, "after_events": 1, "then": "go_on"}})
    assert opened.names() == ["message_start", "ping", "content_block_start", "error"]
    assert passing.data()[-1] == "[DONE]"


@pytest.mark.parametrize(
    "flaw", ["cut", "text", "html", "empty", "array", "wrong_schema", "bad_utf8", "nan", "trailing"]
)
async def test_malformed_json(flaw: str) -> None:
    async with simulator({"fault": {"kind": "malformed_json", "flaw": flaw}}) as sim:
        got = await one(sim)
    assert got.status == 200
    try:
        value = json.loads(got.body.decode(), parse_constant=float)
        assert flaw in ("array", "wrong_schema", "nan")
        assert isinstance(value, list) == (flaw == "array")
    except ValueError:
        assert flaw not in ("array", "wrong_schema", "nan")


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_a_stall_is_noticed_as_the_providers_fault_when_the_client_leaves(path: str) -> None:
    async with simulator({"answer": CONTENT, "fault": {"kind": "stall", "after_events": 4}}) as sim:
        line = await connect(sim)
        line.ask(path, streamed())
        await line.until(b'"delta":{"content"' if path == CHAT else b"content_block_delta")
        await sim.arrived(1)
        line.close()
        await sim.idle()
        [bill] = sim.bill
    assert (bill.outcome, bill.output_tokens) == ("failed", 4)
    assert bill.client_left_s is not None
    assert bill.started_s <= bill.client_left_s == bill.ended_s


async def test_a_stall_with_pings_and_one_without_a_stream() -> None:
    async with simulator({"fault": {"kind": "stall", "preamble": True, "ping_s": 0.001}}) as sim:
        line, plain = await connect(sim), await connect(sim)
        line.ask(CHAT, streamed())
        plain.ask(CHAT)
        assert (await line.until(b": ping")).count(b"data: ") == 1
        kept = await plain.until(b"chatcmpl")
        head, _, body = kept.partition(b"\r\n\r\n")
        assert int(head.split(b"content-length: ")[1].split(b"\r\n")[0]) > len(body)
        line.close()
        plain.close()
        await sim.idle()


@pytest.mark.parametrize("how", ["fin", "reset", "clean"])
@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize("after", [1, 100, 333])
async def test_truncation_at_an_exact_byte(how: str, framing: str, after: int) -> None:
    rule = {
        "answer": CONTENT,
        "fault": {"kind": "truncate", "after_bytes": after, "how": how},
        "wire": {"framing": framing},
    }
    async with simulator(rule) as sim:
        streamed_answer, plain = await one(sim, CHAT, streamed()), await one(sim)
    for got in (streamed_answer, plain):
        assert len(got.body) == after
        assert got.whole == (how == "clean")
        assert got.ended == ("open" if how == "clean" else how)
    assert streamed_answer.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("how", ["fin", "reset", "clean"])
async def test_truncation_after_events(how: str) -> None:
    async with simulator({"answer": CONTENT, "fault": {"kind": "truncate", "after_events": 3, "how": how}}) as sim:
        got = await one(sim, CHAT, streamed())
        await sim.idle()
        [bill] = sim.bill
    assert contents(got) == 3
    assert b"[DONE]" not in got.body
    assert (got.whole, got.ended) == ((True, "open") if how == "clean" else (False, how))
    assert (bill.outcome, bill.output_tokens, bill.client_left_s) == ("failed", 3, None)


@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/v1/responses"])
async def test_an_endless_stream_stops_at_once_when_the_client_leaves(path: str) -> None:
    async with simulator({"fault": {"kind": "endless"}}) as sim:
        line = await connect(sim)
        line.ask(path, {**streamed(), "input": "x"})
        await line.until(b"and so on")
        line.close()
        await sim.idle()
        [bill] = sim.bill
    assert bill.outcome == "cut"
    assert bill.output_tokens > 0


async def test_an_endless_stream_waits_for_a_client_that_does_not_read() -> None:
    async with simulator({"fault": {"kind": "endless"}}) as sim:
        line = Line(*await asyncio.open_connection("127.0.0.1", sim.port, limit=1))
        line.ask(CHAT, streamed())
        await sim.arrived(1)
        call = next(iter(sim._calls))
        async with asyncio.timeout(5):
            while not call.paused:
                await asyncio.sleep(0)
        held = call.sent_bytes
        for _ in range(100):
            await asyncio.sleep(0)
        assert call.sent_bytes == held
        line.writer.transport.abort()
        await sim.idle()


async def test_an_endless_body_and_a_large_one() -> None:
    rules: list[dict[str, Any]] = [
        {"when": {"requests": 1}, "fault": {"kind": "endless"}},
        {"fault": {"kind": "large_body", "body_bytes": 200_000}},
    ]
    async with simulator(*rules) as sim:
        line = await connect(sim)
        line.ask(CHAT)
        await line.until(b"and so on and so on")
        line.close()
        plain, events = await one(sim), await one(sim, CHAT, streamed())
    assert len(plain.json()["pad"]) == 200_000
    assert any(event != "[DONE]" and len(event.get("pad", "")) == 200_000 for event in events.data())


async def test_gzip_and_a_gzip_bomb() -> None:
    rules: list[dict[str, Any]] = [
        {"when": {"requests": "1..2"}, "wire": {"gzip": True}},
        {"fault": {"kind": "gzip_bomb", "plain_bytes": 5_000_000}},
    ]
    async with simulator(*rules) as sim:
        plain, events, bomb = await one(sim), await one(sim, CHAT, streamed()), await one(sim)
    assert {got.headers["content-encoding"] for got in (plain, events, bomb)} == {"gzip"}
    assert json.loads(gzip.decompress(plain.body))["object"] == "chat.completion"
    assert gzip.decompress(events.body).endswith(b"data: [DONE]\n\n")
    assert len(bomb.body) * 100 < 5_000_000 < len(gzip.decompress(bomb.body))
