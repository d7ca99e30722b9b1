"""U10 at every byte: wherever a provider's answer is cut, the caller gets all of it or is told."""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from gateway.domain.retry import RetryBudget
from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from tests.rows.house import NUMB, House, standing
from tests.rows.talk import Seen, read_answer, request, talk

DONE = b"data: [DONE]\n\n"
TEXT = "Cut me where you will."
TYPED = {"upstream_truncated", "upstream_invalid_response"}


class Tape:
    """A provider that plays the first `bytes` of a recording, then ends the connection in the way said."""

    def __init__(self, recording: bytes, how: str) -> None:
        self.recording = recording
        self.bytes = 0
        self.played = 0
        self._how = how

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            top = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"content-length: (\d+)", top)
            await reader.readexactly(int(found[1]) if found else 0)
            self.played += 1
            writer.write(self.recording[: self.bytes])
            if self._how == "reset":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            else:
                writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def playing(tape: Tape) -> AsyncIterator[str]:
    server = await asyncio.start_server(tape.play, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def recording(*, stream: bool, framing: str) -> bytes:
    """An answer of the simulator as it came over the wire, head and framing included."""
    answer = {"text": TEXT, "events": 3, "usage": "always"}
    script = parse_script({"otherwise": {"answer": answer, "wire": {"framing": framing}}})
    body = msgspec.json.encode({"model": "gpt", "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
    async with Simulator(script) as sim:
        reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write(request(body, {}))
        raw = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert read_answer(raw).status == 200
    return raw


def end_of(raw: bytes, framing: str = "chunked") -> int:
    """How many bytes hold the end marker whole; where the end of the connection ends the body, it ends the line too."""
    return raw.index(DONE) + len(DONE if framing == "chunked" else DONE.rstrip())


def judge_stream(seen: Seen, *, complete: bool) -> None:
    """All of it with its end, or an error that says so; never a silent or an invented end."""
    if complete:
        assert seen.done
        assert seen.text == TEXT
        return
    assert seen.whole
    assert DONE not in seen.body
    assert seen.error["code"] in TYPED
    assert seen.error["fault"] == "provider"
    if seen.status == 200:
        frames = seen.body.split(b"\n\n")
        assert frames[-2].startswith(b"event: error\n")
        assert all(frame.startswith(b"data: {") for frame in frames[:-2])
        said = "".join(
            choice["delta"].get("content") or ""
            for frame in frames[:-2]
            for choice in msgspec.json.decode(frame[6:])["choices"]
        )
        assert said
        assert TEXT.startswith(said)
    else:
        assert seen.status == 502


async def at_every_offset(house: House, tape: Tape, *, stream: bool) -> list[Seen]:
    message = house.message(stream=stream)
    answers = []
    for offset in range(len(tape.recording) + 1):
        tape.bytes = offset
        answers.append(await talk(house.port, message))
    return answers


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_u10_a_stream_cut_at_any_byte_never_ends_silently(framing: str, how: str) -> None:
    tape = Tape(await recording(stream=True, framing=framing), how)
    assert 1_500 < len(tape.recording) < 3_000
    async with playing(tape) as url, standing(urls={"a": url}, trip_rule=NUMB) as house:
        answers = await at_every_offset(house, tape, stream=True)
        for offset, seen in enumerate(answers):
            # After a reset the last bytes may be lost on their way, so that less has come than was sent.
            complete = offset >= end_of(tape.recording, framing) and (how == "fin" or seen.done)
            judge_stream(seen, complete=complete)
        assert tape.played == len(answers) == len(house.records)
        kinds = {attempt.failure for record in house.records for attempt in record.attempts}
        assert kinds <= {None, "reset", "truncated", "malformed_body", "malformed_stream"}
        print(f"cut at {len(answers)} offsets ({framing}, {how})")


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_u10_a_whole_answer_cut_at_any_byte_is_never_passed_on(how: str) -> None:
    tape = Tape(await recording(stream=False, framing="length"), how)
    async with playing(tape) as url, standing(urls={"a": url}, trip_rule=NUMB) as house:
        answers = await at_every_offset(house, tape, stream=False)
        for seen in answers[:-1]:
            assert (seen.status, seen.whole) == (502, True)
            assert seen.error["code"] in TYPED
        assert (answers[-1].status, answers[-1].text) == (200, TEXT) or how == "reset"


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_u10_before_the_first_content_another_target_serves_and_after_it_none_does(how: str) -> None:
    tape = Tape(await recording(stream=True, framing="chunked"), how)
    async with playing(tape) as url, standing(["a", "b"], urls={"a": url}, trip_rule=NUMB, b={}) as house:
        house.gateway.door.desk.retry_budgets["m"] = RetryBudget(ratio=1.0)
        answers = await at_every_offset(house, tape, stream=True)
        switched = 0
        for offset, seen in enumerate(answers):
            assert seen.status == 200
            if seen.headers["x-gateway-target"] == "b/gpt":
                switched += 1
                assert seen.done
                assert seen.text.startswith("Hello")  # all of it from there, nothing twice
            else:
                judge_stream(seen, complete=seen.done)
                assert not seen.done or offset >= end_of(tape.recording)
        assert switched == house.calls("b") > len(answers) // 3
