"""C7, H6: senders that take their time; and the comments that keep an idle stream open."""

import asyncio
import time

import pytest

from gateway.http.limits import BODY_BYTES_PER_S
from tests.door.house import House, chat, house
from tests.door.line import Line, get, head, post


async def drip(line: Line, data: bytes, every_s: float) -> None:
    """One byte after the other until the other side has enough of it."""
    for at in range(len(data)):
        line.writer.write(data[at : at + 1])
        await asyncio.sleep(every_s)


@pytest.mark.parametrize("first", [b"GET /", b"GET / HTTP/1.1\r\nhost: x\r\nx-a: "], ids=["a target", "half a head"])
async def test_c7_a_head_that_does_not_end_is_408_at_an_absolute_deadline(first: bytes) -> None:
    async with house(head_timeout_s=0.3) as made:
        line = await made.line()
        began_s = time.monotonic()
        await line.send(first)
        dripping = asyncio.create_task(drip(line, b"x" * 1000, 0.02))
        answer = await line.answer()
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert answer.header("x-should-retry") == "false"
        assert 0.25 < time.monotonic() - began_s < 2.0
        assert await line.ended() == b""
        dripping.cancel()


async def test_c7_a_second_head_on_a_connection_has_the_same_deadline() -> None:
    async with house(head_timeout_s=0.2) as made:
        line = await made.line()
        assert (await line.ask(get("/health/live"))).status == 200
        await line.send(b"GET / HTTP/1.1\r\n")
        assert (await line.answer()).status == 408
        assert await line.ended() == b""


async def test_c7_a_silent_connection_is_closed_without_a_word() -> None:
    async with house(head_timeout_s=0.2) as made:
        line = await made.line()
        assert await line.ended() == b""
        await made.until(lambda: not made.connections)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("part", [b"", b'{"model":'], ids=["no byte", "some bytes"])
async def test_c7_a_body_that_does_not_end_is_408_at_an_absolute_deadline(framing: str, part: bytes) -> None:
    async with house(body_timeout_s=0.3) as made:
        line = await made.line()
        began_s = time.monotonic()
        if framing == "length":
            await line.send(head(content_length=5000) + part)
            dripping = asyncio.create_task(drip(line, b" " * 1000, 0.02)) if part else None
        else:
            await line.send(head(transfer_encoding="chunked") + (b"%x\r\n%b\r\n" % (len(part), part) if part else b""))
            dripping = asyncio.create_task(drip(line, b"1\r\n \r\n" * 1000, 0.01)) if part else None
        answer = await line.answer()
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert 0.25 < time.monotonic() - began_s < 2.0
        assert await line.ended() == b""
        if dripping is not None:
            dripping.cancel()
        await made.records.have(1)
        assert (made.records[0].status, made.records[0].error_code) == (408, "request_timeout")
        assert made.sim.arrived_count == 0
        await made.until(lambda: not made.gateway.server.server_state.tasks)


async def test_c7_a_body_earns_time_by_what_it_brings() -> None:
    async with house(body_timeout_s=0.15) as made:
        line = await made.line()
        raw = post(chat(messages=[{"role": "user", "content": "x" * 2 * BODY_BYTES_PER_S}]))
        line.writer.write(raw[:-10])
        late = asyncio.Event()
        asyncio.get_running_loop().call_later(0.6, late.set)
        await late.wait()
        line.writer.write(raw[-10:])
        assert (await line.answer()).status == 200


async def test_c7_a_request_that_arrives_whole_costs_no_timer() -> None:
    async with house() as made:
        line = await made.line()
        assert (await line.ask(post(chat()))).status == 200
        (connection,) = made.gateway.server.server_state.connections
        armed: list[float] = []
        connection._arm = lambda delay_s, late: armed.append(delay_s)  # type: ignore[union-attr]
        assert (await line.ask(post(chat()))).status == 200
        assert (await line.ask(post(chat(stream=True)))).status == 200
        assert not armed


async def slow_ones(made: House, each: int) -> tuple[list[asyncio.Task[bytes]], list[asyncio.Task[None]]]:
    """So many silent connections, as many that drip a head, as many that drip a body."""
    reading, tasks = [], []
    for number in range(3 * each):
        line = await made.line()
        reading.append(asyncio.create_task(line.ended(10)))
        if number % 3:
            start = b"GET / HTTP/1.1\r\nx-a: " if number % 3 == 1 else head(content_length=100_000) + b"{"
            line.writer.write(start)
            tasks.append(asyncio.create_task(drip(line, b" " * 10_000, 0.1)))
    return reading, tasks


async def test_h6_slow_connections_do_not_keep_a_good_client_waiting_and_all_are_closed() -> None:
    async with house(head_timeout_s=1.0, body_timeout_s=1.0, connections_per_address=400) as made:
        reading, tasks = await slow_ones(made, 100)
        good = await made.line()
        worst_s = 0.0
        for _ in range(50):
            began_s = time.monotonic()
            assert (await good.ask(post(chat()))).status == 200
            worst_s = max(worst_s, time.monotonic() - began_s)
        assert worst_s < 1.0
        assert made.connections > 250
        await good.close()
        await made.until(lambda: not made.connections, timeout_s=10)
        assert not made.gateway.server.server_state.tasks
        for task in tasks:
            task.cancel()
        answers = await asyncio.gather(*reading)
        assert sum(answer.startswith(b"HTTP/1.1 408") for answer in answers) == 200
        assert made.sim.arrived_count == 50


PAUSED = {"pace": {"event_gate": "go", "gate_after_events": 3}}


async def test_a_heartbeat_keeps_an_idle_stream_open_and_never_stands_inside_an_event() -> None:
    async with house(PAUSED, heartbeat_s=0.03) as made:
        line = await made.line()
        await line.send(post(chat(stream=True)))
        await line.sees(b"8\r\n: ping\n\n\r\n" * 3)
        made.sim.open("go")
        answer = await line.answer()
        assert answer.whole
        events = answer.body.split(b"\n\n")
        assert events.pop() == b""
        assert events[-1] == b"data: [DONE]"
        assert all(event == b": ping" or (event.startswith(b"data: ") and b"ping" not in event) for event in events)
        assert events.count(b": ping") >= 3


async def test_a_busy_stream_needs_no_heartbeat() -> None:
    rule = {"answer": {"text_chars": 400, "events": 40}, "pace": {"event_s": 0.005}}
    async with house(rule, heartbeat_s=2.0) as made:
        answer = await (await made.line()).ask(post(chat(stream=True)))
        assert b": ping" not in answer.body
        assert answer.whole


async def test_a_heartbeat_finds_out_that_a_client_behind_a_pipelined_request_has_left() -> None:
    async with house(PAUSED, heartbeat_s=0.03) as made:
        line = await made.line()
        await line.send(post(chat(stream=True)) + get("/health/live") + get("/health/live")[:20])
        await line.sees(b": ping")
        line.reset()
        await made.sim.idle()
        assert made.sim.bill[-1].outcome == "cut"
        await made.records.have(1)
        assert made.records[0].status == 499
