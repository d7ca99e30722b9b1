"""Which addresses are connected to, and how long an answer of the resolver counts."""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from gateway.clock import SystemClock
from gateway.domain.catalog import Origin
from gateway.domain.failure import FailureKind, Sent
from gateway.upstream import HttpUpstream, never_metadata
from gateway.upstream.connection import Connection
from gateway.upstream.dial import tcp
from gateway.upstream.names import Names
from tests.upstream.scripted import OK, answering, call_to, failure_of, fetch, serving, turns

ORIGIN = Origin("http", "provider.test", 80)
GONE = socket.gaierror(socket.EAI_AGAIN, "try again")
NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "169.254.170.2",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "0.0.0.0",  # an address to refuse, not to bind
    "224.0.0.1",
    "255.255.255.255",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "::",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
]
ALLOWED = [
    "127.0.0.1",
    "::1",
    "10.0.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "8.8.8.8",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "fd12:3456::1",
]


@pytest.mark.parametrize("address", NEVER)
def test_what_no_provider_can_live_at_is_never_connected_to(address: str) -> None:
    assert never_metadata(ORIGIN, ip_address(address)) is not None


@pytest.mark.parametrize("address", ALLOWED)
def test_what_an_operator_may_configure_is_allowed(address: str) -> None:
    assert never_metadata(ORIGIN, ip_address(address)) is None


@pytest.mark.parametrize("answer", [["169.254.169.254"], ["127.0.0.1", "169.254.169.254"]])
async def test_one_refused_address_refuses_the_answer(answer: list[str]) -> None:
    dialled: list[str] = []

    async def resolver(host: str, port: int) -> Sequence[str]:
        return answer

    async def opener(connection: Connection, address: str, port: int) -> None:
        dialled.append(address)
        raise ConnectionRefusedError

    upstream = HttpUpstream(SystemClock(), resolver=resolver, opener=opener)
    failure = await failure_of(upstream.send(call_to(ORIGIN)))
    assert (failure.kind, failure.sent, dialled) == (FailureKind.REFUSED, Sent.NO, [])
    await upstream.aclose()


async def test_a_literal_metadata_address_is_refused_too() -> None:
    upstream = HttpUpstream(SystemClock())
    failure = await failure_of(upstream.send(call_to(Origin("http", "169.254.169.254", 80))))
    assert failure.kind is FailureKind.REFUSED
    await upstream.aclose()


class Time:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Zone:
    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


async def test_an_answer_is_kept_for_half_a_minute() -> None:
    time, zone = Time(), Zone(["127.0.0.1"])
    names = Names(zone, time)
    for _ in range(3):
        assert await names.addresses("provider.test", 80) == ("127.0.0.1",)
    assert zone.asked == 1
    time.now_s += 31
    await names.addresses("provider.test", 80)
    assert zone.asked == 2


async def test_u1_the_last_good_address_serves_for_five_minutes_of_dns_failure() -> None:
    time, zone = Time(), Zone(["10.0.0.1", "10.0.0.2"], GONE)
    names = Names(zone, time)
    await names.addresses("provider.test", 80)
    names.connected("provider.test", "10.0.0.2")
    time.now_s += 60
    assert await names.addresses("provider.test", 80) == ("10.0.0.2",)
    assert await names.addresses("provider.test", 80) == ("10.0.0.2",)
    assert zone.asked == 3
    time.now_s += 300
    with pytest.raises(socket.gaierror):
        await names.addresses("provider.test", 80)


async def test_u1_a_failure_is_remembered_for_five_seconds() -> None:
    time, zone = Time(), Zone(GONE, GONE, ["10.0.0.1"])
    names = Names(zone, time)
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await names.addresses("provider.test", 80)
    assert zone.asked == 2
    time.now_s += 5.1
    assert await names.addresses("provider.test", 80) == ("10.0.0.1",)


async def test_an_empty_answer_is_a_failure() -> None:
    with pytest.raises(socket.gaierror):
        await Names(Zone([]), Time()).addresses("provider.test", 80)


async def test_many_who_wait_ask_once_and_a_cancelled_asker_is_replaced() -> None:
    zone = Zone(["10.0.0.1"])
    names = Names(zone, Time())
    tasks = [asyncio.ensure_future(names.addresses("provider.test", 80)) for _ in range(10)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[5].cancel()
    await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks].count(True) == 2
    assert {task.result() for task in tasks if not task.cancelled()} == {("10.0.0.1",)}
    assert zone.asked == 2


async def test_u1_when_no_kept_address_answers_a_fresh_answer_is_tried() -> None:
    tried: list[str] = []

    async def opener(connection: Connection, address: str, port: int) -> None:
        tried.append(address)
        if address != "127.0.0.1":
            raise ConnectionRefusedError
        await tcp(connection, address, port)

    zone = Zone(["127.0.0.9", "::1"], ["127.0.0.9", "127.0.0.1"])
    upstream = HttpUpstream(SystemClock(), resolver=zone, opener=opener)
    async with serving(answering(OK), host="provider.test") as server:
        assert await fetch(upstream, call_to(server)) == (200, b"hi")
        await upstream.aclose()
    assert tried == ["127.0.0.9", "::1", "127.0.0.1"]


async def test_the_families_are_tried_in_turn() -> None:
    tried: list[str] = []

    async def opener(connection: Connection, address: str, port: int) -> None:
        tried.append(address)
        raise ConnectionRefusedError

    zone = Zone(["2606::1", "2606::2", "2606::3", "10.0.0.1", "10.0.0.2"])
    upstream = HttpUpstream(SystemClock(), resolver=zone, opener=opener)
    failure = await failure_of(upstream.send(call_to(ORIGIN)))
    assert failure.kind is FailureKind.REFUSED
    assert tried == ["2606::1", "10.0.0.1", "2606::2", "10.0.0.2", "2606::3"]
    await upstream.aclose()


async def test_of_two_that_connect_at_once_one_is_kept_and_the_other_closed() -> None:
    both = asyncio.Event()
    opened: list[Connection] = []

    async def opener(connection: Connection, address: str, port: int) -> None:
        await tcp(connection, "127.0.0.1", port)
        opened.append(connection)
        if len(opened) == 2:
            both.set()
        await both.wait()

    upstream = HttpUpstream(SystemClock(), resolver=Zone(["::1", "127.0.0.1"]), opener=opener, happy_eyeballs_s=0.001)
    async with serving(answering(OK), host="provider.test") as server:
        assert await fetch(upstream, call_to(server)) == (200, b"hi")
        await turns(3)
        assert [connection.closed for connection in opened].count(True) == 1
        assert upstream.stats()[server.origin].open == 1
        await upstream.aclose()
        await server.quiet()
