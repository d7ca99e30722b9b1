"""Heads, connections and time: what happens below the body."""

import asyncio
import ssl
from typing import Any

import pytest
import trustme
import uvloop

from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from tests.sim.talk import CHAT, SAY_HI, Answer, connect, one, simulator, streamed


@pytest.mark.parametrize("how", ["reset", "fin"])
async def test_a_connection_ends_before_the_head(how: str) -> None:
    async with simulator({"fault": {"kind": "reset", "how": how}}) as sim:
        got = await one(sim)
        await sim.idle()
        [bill] = sim.bill
    assert (got.head, got.ended) == (b"", how)
    assert (bill.outcome, bill.status, bill.sent_bytes, bill.input_tokens) == ("failed", 0, 0, 0)


async def test_a_connection_ends_right_after_accept() -> None:
    async with simulator({"when": {"requests": 1}, "fault": {"kind": "reset", "at": "accept"}}) as sim:
        line = await connect(sim)
        first = Answer()
        async with asyncio.timeout(5):
            while await line.more(first):
                pass
        line.close()
        second = await one(sim)
        assert len(sim.requests) == 1
    assert (first.ended, second.status) == ("reset", 200)


async def test_a_stale_connection_breaks_on_its_second_request() -> None:
    async with simulator({"when": {"connection_requests": "2.."}, "fault": {"kind": "reset"}}) as sim:
        line = await connect(sim)
        line.ask(CHAT)
        first = await line.answer()
        line.ask(CHAT)
        second = await line.answer()
        line.close()
        assert (await one(sim)).status == 200
    assert (first.whole, second.head, second.ended) == (True, b"", "reset")


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_connection_may_be_hung_up_after_a_whole_answer(how: str) -> None:
    async with simulator({"wire": {"hang_up": how}}) as sim:
        line = await connect(sim)
        line.ask(CHAT)
        got = await line.answer()
        after = Answer()
        async with asyncio.timeout(5):
            while await line.more(after):
                pass
        line.close()
        await sim.idle()
        assert sim.bill[0].outcome == "completed"
    assert got.whole
    assert "connection" not in got.headers
    assert after.ended == how


async def test_a_body_ended_by_the_close_of_the_connection() -> None:
    async with simulator({"wire": {"framing": "close"}}) as sim:
        got = await one(sim, CHAT, streamed())
    assert (got.headers["connection"], got.ended) == ("close", "fin")
    assert got.body.endswith(b"data: [DONE]\n\n")


async def test_requests_on_one_connection_are_answered_in_order() -> None:
    async with simulator({"when": {"requests": 1}, "pace": {"head_gate": "first"}}) as sim:
        line = await connect(sim)
        for text in ("one", "two", "three"):
            line.ask(CHAT, {**SAY_HI, "messages": [{"role": "user", "content": text}]})
        await sim.arrived(1)
        sim.open("first")
        said = [(await line.answer()).json()["choices"][0]["message"]["content"] for _ in range(3)]
        line.close()
    assert [text.rpartition(" ")[2] for text in said] == ["one", "two", "three"]
    assert [request.connection for request in sim.requests] == [1, 1, 1]


async def test_a_client_that_asks_to_close_is_obeyed() -> None:
    async with simulator() as sim:
        line = await connect(sim)
        line.ask(CHAT, SAY_HI, {"connection": "close"})
        assert (await line.answer()).whole
        assert await line.reader.read() == b""
        line.close()


async def test_no_http_is_refused() -> None:
    async with simulator() as sim:
        line = await connect(sim)
        line.writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        got = await line.answer()
        line.close()
    assert got.status == 400


async def test_gates_hold_head_first_event_and_events() -> None:
    pace = {"head_gate": "a", "first_event_gate": "b", "event_gate": "c", "gate_after_events": 2}
    async with simulator({"answer": {"text_chars": 40, "events": 10}, "pace": pace}) as sim:
        line = await connect(sim)
        line.ask(CHAT, streamed(), {"x-request-id": "r-1"})
        await sim.arrived(1)
        assert line.kept == b""
        sim.open("a")
        assert b"data:" not in await line.until(b"\r\n\r\n")
        sim.open("b")
        held = await line.until(b'"delta":{"content":')
        await line.until(b"\n\n")
        assert b"[DONE]" not in held
        port = line.writer.get_extra_info("sockname")[1]
        assert sim.under_way({port}) == {"r-1": 2}
        assert sim.under_way({port + 1}) == {}, "calls of others"
        sim.open("c")
        got = await line.answer()
        line.close()
    assert got.whole


async def test_pings_go_ahead_of_the_first_event() -> None:
    async with simulator({"pace": {"pings": 2, "first_event_s": 0.005, "ping_s": 0.001, "event_s": 0.0001}}) as sim:
        got = await one(sim, CHAT, streamed())
    opening = got.body.partition(b"data:")[0]
    assert opening == b": ping\n\n" * 6
    assert got.data()[-1] == "[DONE]"


async def test_slow_and_dribbled_heads_arrive_whole() -> None:
    async with simulator({"pace": {"head_s": 0.001, "head_dribble_s": 0.00001}}) as sim:
        got = await one(sim)
    assert (got.status, got.whole) == (200, True)


@pytest.mark.parametrize("kind", ["endless_headers", "interim_flood"])
async def test_heads_without_end(kind: str) -> None:
    async with simulator({"fault": {"kind": kind}}) as sim:
        line = await connect(sim)
        line.ask(CHAT)
        async with asyncio.timeout(5):
            while len(line.kept) < 200_000:
                assert await line.more(Answer())
        line.close()
        await sim.idle()
    assert line.kept.startswith(b"HTTP/1.1 200 OK\r\nx-pad-1: " if kind == "endless_headers" else b"HTTP/1.1 103 Early")
    assert b"\r\n\r\n" not in line.kept or kind == "interim_flood"


async def test_a_bounded_flood_a_large_header_and_a_redirect() -> None:
    rules: list[dict[str, Any]] = [
        {"when": {"requests": 1}, "fault": {"kind": "interim_flood", "count": 3}},
        {"when": {"requests": 1}, "fault": {"kind": "large_header", "header_bytes": 40_000}},
        {
            "fault": {"kind": "redirect", "status": 302, "location": "http://elsewhere/"},
            "wire": {"headers": {"x-a": "b"}},
        },
    ]
    async with simulator(*rules) as sim:
        line = await connect(sim)
        line.ask(CHAT)
        flood = await line.until(b"chatcmpl")
        line.close()
        large, redirect = await one(sim), await one(sim)
    assert flood.count(b"HTTP/1.1 103") == 3
    assert flood.count(b"HTTP/1.1 200") == 1
    assert len(large.headers["x-pad"]) == 40_000
    assert (redirect.status, redirect.headers["location"], redirect.headers["x-a"]) == (302, "http://elsewhere/", "b")


async def test_expect_100_continue_is_answered() -> None:
    async with simulator() as sim:
        line = await connect(sim)
        line.ask(CHAT, SAY_HI, {"expect": "100-continue"})
        kept = await line.until(b"chatcmpl")
        line.close()
    assert kept.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


async def test_several_simulators_speak_at_once_and_stop_with_calls_open() -> None:
    async with simulator({"answer": {"text": "A"}}) as one_sim, simulator({"answer": {"text": "B"}}) as other:
        answers = await asyncio.gather(*(one(sim) for sim in (one_sim, other) * 5))
        assert {got.json()["choices"][0]["message"]["content"] for got in answers} == {"A", "B"}
        one_sim.script = parse_script({"rules": [{"fault": {"kind": "stall"}}]})
        line = await connect(one_sim)
        line.ask(CHAT)
        await one_sim.arrived(6)
    assert one_sim.bill[-1].outcome == "failed"
    assert one_sim.connection_count == 0
    line.close()


async def test_tls() -> None:
    authority = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with Simulator(tls=serving) as sim:
        assert sim.base.startswith("https://")
        line = await connect(sim, trusting)
        line.ask(CHAT)
        assert (await line.answer()).status == 200
        line.close()


def test_under_uvloop_resets_and_cuts_are_the_same() -> None:
    rules: list[dict[str, Any]] = [
        {"when": {"requests": 1}, "fault": {"kind": "truncate", "after_bytes": 333, "how": "reset"}},
        {"when": {"requests": 1}, "fault": {"kind": "reset"}},
    ]

    async def talk() -> list[Answer]:
        async with simulator(*rules) as sim:
            return [await one(sim, CHAT, streamed()) for _ in range(3)]

    cut, gone, good = uvloop.run(talk())
    assert (len(cut.body), cut.ended) == (333, "reset")
    assert (gone.head, gone.ended) == (b"", "reset")
    assert good.data()[-1] == "[DONE]"


def test_under_uvloop_a_client_that_leaves_is_seen_at_once() -> None:
    async def talk() -> tuple[str, int]:
        async with simulator({"fault": {"kind": "endless"}}) as sim:
            line = await connect(sim)
            line.ask(CHAT, streamed())
            await line.until(b"and so on")
            line.close()
            await sim.idle()
            return sim.bill[0].outcome, sim.bill[0].output_tokens

    outcome, tokens = uvloop.run(talk())
    assert outcome == "cut"
    assert tokens > 0
