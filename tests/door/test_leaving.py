"""C1 to C5: clients that leave, stop reading or only stop writing."""

import asyncio
import gc
import time
from typing import Any

import psutil
import pytest

from tests.door.held import STREAM_BYTES_MAX, held_bytes, quiet
from tests.door.house import House, chat, house
from tests.door.line import Line, get, head, post

NOTICED_S = 0.1
GATE = {"pace": {"head_gate": "go"}}
HELD = {"pace": {"event_gate": "go", "gate_after_events": 2}}
LARGE = "x" * 150_000


async def leave(line: Line, how: str) -> float:
    """The time at which the client left."""
    if how == "reset":
        line.reset()
    else:
        line.writer.close()
    return time.monotonic()


async def ask_in_two(made: House, line: Line, body: object) -> None:
    """The body arrives as one piece, however the network would cut it, once somebody waits for it."""
    top, _, rest = post(body).partition(b"\r\n\r\n")
    await line.send(top + b"\r\n\r\n")
    await made.until(lambda: bool(made.gateway.server.server_state.tasks))
    await asyncio.sleep(0)
    connection: Any = next(iter(made.gateway.server.server_state.connections))
    connection.data_received(rest)


async def noticed(made: House, left_s: float) -> float:
    """How long until the provider saw that nobody waits any more."""
    await made.sim.idle()
    (bill,) = made.sim.bill
    assert bill.outcome == "cut"
    assert bill.client_left_s is not None
    return bill.client_left_s - left_s


async def test_c1_a_client_that_leaves_before_its_request_is_whole_costs_no_upstream_call() -> None:
    async with house() as made:
        line = await made.line()
        await line.send(post(chat())[:-5])
        await made.until(lambda: bool(made.gateway.server.server_state.tasks))
        line.reset()
        await made.records.have(1)
        assert made.sim.arrived_count == 0
        assert made.records[0].status == 499
        await made.until(lambda: not made.connections)


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("text", ["hi", LARGE], ids=["small", "large body"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_c2_a_client_that_leaves_before_the_first_byte_is_noticed_and_the_call_cancelled(
    stream: bool, text: str, how: str
) -> None:
    async with house(GATE) as made:
        line = await made.line()
        await ask_in_two(made, line, chat(stream=stream, messages=[{"role": "user", "content": text}]))
        await made.sim.arrived(1)
        left_s = await leave(line, how)
        assert await noticed(made, left_s) < NOTICED_S
        await made.records.have(1)
        record = made.records[0]
        assert (record.status, record.client_gone, record.attempts[0].failure) == (499, True, "cancelled")
        await made.until(lambda: not made.connections)


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("text", ["hi", LARGE], ids=["small", "large body"])
async def test_c3_a_client_that_leaves_mid_stream_is_noticed_within_100_ms_and_settled(text: str, how: str) -> None:
    async with house(HELD) as made:
        line = await made.line()
        await ask_in_two(made, line, chat(stream=True, messages=[{"role": "user", "content": text}]))
        await line.sees(b"data: ")
        left_s = await leave(line, how)
        assert await noticed(made, left_s) < NOTICED_S
        await made.records.have(1)
        record = made.records[0]
        assert (record.status, record.client_gone, record.committed) == (499, True, True)
        assert record.usage.output > 0
        await made.until(lambda: not made.connections)


async def test_c3_a_client_that_leaves_with_a_pipelined_request_behind_cancels_the_one_that_runs() -> None:
    async with house(HELD) as made:
        line = await made.line()
        await line.send(post(chat(stream=True)) + get("/v1/models"))
        await line.sees(b"data: ")
        line.reset()
        made.sim.open("go")
        await made.until(lambda: not made.connections)
        await made.records.have(1)
        await made.sim.idle()


ENDLESS = {"fault": {"kind": "endless", "text": "x" * 4000}}


@pytest.mark.parametrize("text_chars", [4_000, 40_000])
async def test_c4_a_reader_that_stops_holds_the_provider_back_and_memory_stays_flat(text_chars: int) -> None:
    async with house({"fault": {"kind": "endless", "text": "x" * text_chars}}, send_stall_s=60.0) as made:
        process = psutil.Process()
        line = await made.line()
        line.writer.transport.set_write_buffer_limits(0)
        await line.send(post(chat(stream=True)))
        await line.sees(b"data: ")
        line.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a client that reads no more
        sent = await quiet(made.sim)
        gc.collect()
        before_bytes = process.memory_info().rss
        assert await quiet(made.sim) == sent
        assert process.memory_info().rss - before_bytes < 4 * 1024 * 1024
        assert 0 < held_bytes(made.gateway, made.sim, line) <= STREAM_BYTES_MAX
        line.reset()
        await made.records.have(1)
        await made.sim.idle()


async def test_c4_a_reader_that_stays_stopped_is_let_go_and_settled() -> None:
    async with house(ENDLESS, send_stall_s=0.3) as made:
        line = await made.line()
        await line.send(post(chat(stream=True)))
        await line.sees(b"data: ")
        line.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a client that reads no more
        await made.records.have(1, timeout_s=20)
        await made.sim.idle()
        assert (made.records[0].status, made.sim.bill[-1].outcome) == (499, "cut")
        await made.until(lambda: not made.connections)


async def test_c4_a_large_whole_answer_that_nobody_reads_does_not_stay_for_ever() -> None:
    async with house({"answer": {"text_chars": 20_000_000}}, send_stall_s=0.3) as made:
        line = await made.line()
        line.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a client that reads nothing
        await line.send(post(chat()))
        await made.records.have(1, timeout_s=20)
        await made.until(lambda: not made.connections)
        assert made.records[0].status == 200


async def test_c4_a_reader_that_is_slow_but_reads_gets_everything() -> None:
    async with house({"answer": {"text_chars": 8_000_000, "events": 100}}, send_stall_s=1.0) as made:
        line = await made.line()
        await line.send(post(chat(stream=True)))
        async with asyncio.timeout(20):
            while not line.kept.endswith(b"0\r\n\r\n"):
                line.kept = line.kept[-10:] + await line.reader.read(100_000)
                await asyncio.sleep(0.002)
        await made.records.have(1)
        assert made.records[0].status == 200


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_c5_a_client_that_only_closed_its_writing_side_still_gets_its_answer(stream: bool) -> None:
    async with house(GATE) as made:
        line = await made.line()
        await line.send(post(chat(stream=stream)))
        line.half_close()
        await line.sees(b"HTTP/1.1 100 Continue\r\n\r\n" * 3)
        await made.sim.arrived(1)
        made.sim.open("go")
        answer = await line.answer()
        assert (answer.status, answer.whole, answer.interim) == (200, True, answer.interim)
        assert answer.interim >= 3
        assert await line.ended() == b""
        assert made.records[0].status == 200


async def test_c5_a_half_closed_stream_is_probed_between_its_events_and_arrives_whole() -> None:
    async with house(HELD) as made:
        line = await made.line()
        await line.send(post(chat(stream=True)))
        await line.sees(b"data: ")
        line.half_close()
        await line.sees(b"3\r\n:\n\n\r\n" * 2)
        made.sim.open("go")
        answer = await line.answer()
        assert answer.whole
        assert answer.body.endswith(b"data: [DONE]\n\n")
        assert all(event.startswith((b"data: ", b":")) for event in answer.body.split(b"\n\n") if event)
        assert await line.ended() == b""


async def test_c5_an_old_client_is_sent_no_interim_answer_and_no_chunks() -> None:
    async with house(GATE) as made:
        line = await made.line()
        await line.send(post(chat(stream=True), version="1.0"))
        line.half_close()
        await made.sim.arrived(1)
        made.sim.open("go")
        answer = await line.answer()
        assert (answer.status, answer.interim, answer.header("transfer-encoding")) == (200, 0, None)
        assert answer.body.startswith(b"data: {")
        assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_c5_the_end_of_input_within_a_request_is_the_end_of_the_client() -> None:
    async with house() as made:
        for cut in (20, len(post(chat())) - 5):
            line = await made.line()
            await line.send(post(chat())[:cut])
            line.half_close()
            assert await line.ended() == b""
        assert made.sim.arrived_count == 0


async def test_c5_pipelined_requests_before_the_end_of_input_are_all_answered() -> None:
    async with house() as made:
        line = await made.line()
        await line.send(post(chat()) + post(chat(stream=True)) + get("/v1/models"))
        line.half_close()
        answers = [await line.answer() for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 200]
        assert all(answer.whole for answer in answers)
        assert await line.ended() == b""


async def test_a_client_that_expects_to_be_asked_for_the_body_is_asked() -> None:
    async with house() as made:
        line = await made.line()
        body = post(chat()).partition(b"\r\n\r\n")[2]
        await line.send(head(content_length=len(body), expect="100-continue"))
        await line.sees(b"HTTP/1.1 100 Continue\r\n\r\n")
        answer = await line.ask(body)
        assert (answer.status, answer.interim) == (200, 1)
