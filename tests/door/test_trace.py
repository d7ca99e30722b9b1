"""A caller's trace: on record here, and gone on with at the provider."""

import pytest

from gateway.telemetry.access_log import is_plain, line_of
from tests.door.house import chat, house
from tests.door.line import post

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_traceparent_is_recorded_and_passed_on(stream: bool) -> None:
    async with house() as made:
        line = await made.line()
        await line.send(post(chat(stream=stream), traceparent=PARENT))
        assert (await line.answer()).status == 200
        await made.records.have(1)
        [asked] = made.sim.requests
    assert asked.header("traceparent") == PARENT
    assert not is_plain(made.records[0])
    assert line_of(made.records[0]).trace_id == TRACE


@pytest.mark.parametrize(
    "given", ["", "x", f"00-{'0' * 32}-b7ad6b7169203331-01", PARENT.upper(), f"ff-{TRACE}-b7ad6b7169203331-01"]
)
async def test_what_is_no_traceparent_is_left_out(given: str) -> None:
    async with house() as made:
        line = await made.line()
        await line.send(post(chat(), traceparent=given))
        assert (await line.answer()).status == 200
        await made.records.have(1)
        [asked] = made.sim.requests
    assert asked.header("traceparent", "") == ""
    assert line_of(made.records[0]).trace_id is None
