"""Writes of one turn of the loop: none is lost, none overtakes another, and few wait for nobody."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.cycle import DoorCycle
from gateway.http.limits import DoorLimits
from gateway.http.listener import Listener
from gateway.http.protocol import DoorProtocol
from gateway.outbox import AT_ONCE, FEW, MANY, Outbox
from tests.outbox import Wire, put_under_load, transport, write_many


@pytest.fixture(autouse=True)
def bunched() -> None:
    """As it is."""


async def under_load() -> Outbox:
    outbox = Outbox()
    await put_under_load(outbox)
    return outbox


async def test_who_is_alone_never_waits() -> None:
    outbox, wire = Outbox(), Wire()
    for number in range(3 * AT_ONCE):
        outbox.put(transport(wire), b"x")
        assert len(wire.written) == number + 1
        await asyncio.sleep(0)


async def test_under_load_what_is_written_in_a_turn_goes_out_at_its_end() -> None:
    outbox, one, other = await under_load(), Wire(), Wire()
    outbox.put(transport(one), b"1")
    outbox.put(transport(other), b"2")
    assert one.written == other.written == []
    assert outbox.holds(transport(one))
    await asyncio.sleep(0)
    assert (one.written, other.written) == ([b"1"], [b"2"])
    assert not outbox.holds(transport(one))


async def test_many_do_not_wait_for_the_end_of_their_turn() -> None:
    outbox, wire = await under_load(), Wire()
    write_many(outbox, wire, MANY + 1)
    assert len(wire.written) == MANY


async def test_after_a_turn_with_few_nothing_waits_for_a_while() -> None:
    outbox, wire = await under_load(), Wire()
    outbox.put(transport(wire), b"alone")
    await asyncio.sleep(0)
    outbox.put(transport(wire), b"and another")
    assert wire.written == [b"alone", b"and another"]


async def test_who_closes_flushes_first_and_what_is_lost_takes_nothing() -> None:
    outbox, closed, lost = await under_load(), Wire(), Wire()
    outbox.put(transport(closed), b"last word")
    outbox.flush()
    outbox.put(transport(lost), b"to nobody")
    lost.closing = True
    await asyncio.sleep(0)
    assert (closed.written, lost.written) == ([b"last word"], [])


class Ended(Wire):
    """As of a transport whose writing side was closed."""

    def write(self, data: bytes) -> None:
        raise RuntimeError("Cannot call write() after write_eof()")


async def test_a_connection_that_refuses_a_write_costs_no_other_its_own() -> None:
    outbox, ended, other = await under_load(), Ended(), Wire()
    outbox.put(transport(ended), b"too late")
    outbox.put(transport(other), b"in time")
    await asyncio.sleep(0)
    assert (ended.closing, other.written) == (True, [b"in time"])


async def answered(wire: Wire) -> DoorProtocol:
    """A connection whose answer waits for the end of the turn."""
    listener = Listener(DoorLimits(), frozenset({b"/"}))
    await put_under_load(listener.outbox)

    async def serve(cycle: DoorCycle) -> None:
        cycle.answer(200, [b"content-length: 2"], b"hi")

    protocol = DoorProtocol(listener, serve, asyncio.get_running_loop())
    protocol.connection_made(transport(wire))
    protocol.data_received(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.sleep(0)
    assert protocol.cycle is not None
    assert protocol.cycle.response_complete
    assert not wire.written
    return protocol


async def test_a_client_that_closes_its_side_in_that_turn_gets_its_answer() -> None:
    wire = Wire()
    protocol = await answered(wire)
    assert not protocol.eof_received(), "its transport closes the connection then"
    assert [written[-2:] for written in wire.written] == [b"hi"]


async def test_a_gateway_that_goes_down_in_that_turn_answers_first() -> None:
    wire = Wire()
    protocol = await answered(wire)
    protocol.shutdown()
    assert ([written[-2:] for written in wire.written], wire.closing) == ([b"hi"], True)


@given(
    steps=st.lists(
        st.one_of(st.integers(0, 3), st.sampled_from(["turn", "flush", "crowd"])),
        max_size=60,
    )
)
def test_each_wire_gets_its_writes_in_their_order_and_all_of_them(steps: list[int | str]) -> None:
    async def programme() -> None:
        outbox, wires, crowd = Outbox(), [Wire() for _ in range(4)], Wire()
        told: list[list[bytes]] = [[] for _ in wires]
        for number, step in enumerate(steps):
            if step == "turn":
                await asyncio.sleep(0)
            elif step == "flush":
                outbox.flush()
            elif step == "crowd":
                write_many(outbox, crowd, AT_ONCE + FEW)
            else:
                at = int(step)
                told[at].append(b"%d" % number)
                outbox.put(transport(wires[at]), b"%d" % number)
        await asyncio.sleep(0)
        assert [wire.written for wire in wires] == told

    asyncio.run(programme())
