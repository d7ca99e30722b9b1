"""Whatever is cancelled wherever: sockets closed, slots free, the next waiter awake, nothing left behind."""

import asyncio
import gc
import random
import ssl
from collections.abc import Awaitable, Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.clock import SystemClock
from gateway.domain.catalog import Timeouts
from gateway.domain.failure import AttemptFailed
from gateway.upstream import HttpUpstream
from gateway.upstream.connection import Connection
from gateway.upstream.dial import tcp
from tests.upstream.scripted import OK, Peer, Server, answering, call_to, fetch, open_descriptors, serving, turns

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
NAME = "provider.test"


class CancelAt:
    """Runs a coroutine in the current task and cancels the task at its n-th suspension.

    `late` cancels after what it waits for has come about, but before the task goes on.
    """

    def __init__(self, awaitable: Awaitable[object], at: int, *, late: bool) -> None:
        self._awaitable = awaitable
        self._at = at
        self._late = late
        self.suspended = 0

    def __await__(self) -> Generator[Any, None, object]:
        task = asyncio.current_task()
        assert task is not None
        steps = self._awaitable.__await__()
        try:
            waited_for = steps.send(None)
            while True:
                if self.suspended == self._at:
                    if self._late and waited_for is not None:
                        waited_for.add_done_callback(lambda _: task.cancel())
                    else:
                        task.cancel()
                self.suspended += 1
                try:
                    value = yield waited_for
                except BaseException as error:  # noqa: BLE001  # it is passed on as it is
                    waited_for = steps.throw(error)
                else:
                    waited_for = steps.send(value)
        except StopIteration as stop:
            return stop.value


async def two_addresses(host: str, port: int) -> Sequence[str]:
    await asyncio.sleep(0)
    return ["::1", "127.0.0.1"]


async def slow_first(connection: Connection, address: str, port: int) -> None:
    if address == "::1":
        await asyncio.sleep(0.002)
    await tcp(connection, "127.0.0.1", port)


async def streaming(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(3):
            await turns(4)
            await peer.send(b"4\r\nnext\r\n")
        await turns(4)
        await peer.send(b"0\r\n\r\n")


async def talk(upstream: HttpUpstream, server: Server, body: bytes) -> None:
    """One whole call, then one on the kept connection."""
    reply = await upstream.send(call_to(server, body=body))
    try:
        while await reply.next_chunk(5.0):
            pass
    finally:
        reply.close()
    await fetch(upstream, call_to(server))


async def every_cancellation(make: Callable[[], HttpUpstream], server: Server, body: bytes, *, late: bool) -> int:
    """Cancels at await 0, 1, 2... of `talk` until it gets through; after each nothing may be left."""
    at = 0
    while True:
        upstream = make()
        runner = CancelAt(talk(upstream, server, body), at, late=late)

        async def run(runner: CancelAt = runner) -> None:
            await runner

        task = asyncio.ensure_future(run())
        await asyncio.wait([task])
        stats = upstream.stats().get(server.origin)
        if stats is not None:
            assert (stats.open - stats.idle, stats.waiting) == (0, 0), f"await {at}"
        await fetch(upstream, call_to(server))
        await upstream.aclose()
        await server.quiet()
        await turns(5)
        assert len(asyncio.all_tasks()) == 1, f"await {at}"
        if not task.cancelled():
            task.result()
            return at
        at += 1


@pytest.mark.parametrize("late", [False, True])
async def test_cancelled_at_every_await_of_a_call(late: bool) -> None:
    def make() -> HttpUpstream:
        return HttpUpstream(
            SystemClock(), resolver=two_addresses, opener=slow_first, happy_eyeballs_s=0.001, connections_max=1
        )

    async with serving(streaming, host=NAME) as server:
        before = open_descriptors()
        awaits = await every_cancellation(make, server, b"{}", late=late)
        assert awaits >= 6
        assert open_descriptors() == before


@pytest.mark.parametrize("late", [False, True])
async def test_cancelled_at_every_await_of_a_large_upload_over_tls(tmp_path: Path, late: bool) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    async with serving(streaming, tls=context, host=NAME) as server:
        ca_files = {server.origin: str(tmp_path / "ca.pem")}

        def make() -> HttpUpstream:
            return HttpUpstream(
                SystemClock(), resolver=two_addresses, opener=slow_first, happy_eyeballs_s=0.001, ca_files=ca_files
            )

        before = open_descriptors()
        awaits = await every_cancellation(make, server, b"x" * 2_000_000, late=late)
        assert awaits >= 6
        assert open_descriptors() == before


@pytest.mark.parametrize("late", [False, True])
async def test_a_cancelled_waiter_passes_on_what_it_was_handed(late: bool) -> None:
    upstream = HttpUpstream(SystemClock(), connections_max=1)
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await go_on.wait()
            await peer.send(OK)

    async with serving(script) as server:
        first = asyncio.ensure_future(fetch(upstream, call_to(server)))
        while not server.requests:
            await asyncio.sleep(0)

        async def cancelled() -> None:
            await CancelAt(fetch(upstream, call_to(server)), 0, late=late)

        second = asyncio.ensure_future(cancelled())
        third = asyncio.ensure_future(fetch(upstream, call_to(server)))
        await turns(3)
        go_on.set()
        assert await first == await third == (200, b"hi")
        await asyncio.wait([second])
        assert second.cancelled()
        assert len(server.peers) == 1
        stats = upstream.stats()[server.origin]
        assert (stats.open, stats.idle, stats.waiting) == (1, 1, 0)
        await upstream.aclose()


async def test_a_cancelled_call_closes_its_socket_at_once_and_wakes_the_next_waiter() -> None:
    upstream = HttpUpstream(SystemClock(), connections_max=1)

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number > 0:
            await peer.send(OK)
        await peer.closed_by_client()

    async with serving(script) as server:
        first = asyncio.ensure_future(fetch(upstream, call_to(server)))
        while not server.requests:
            await asyncio.sleep(0)
        second = asyncio.ensure_future(fetch(upstream, call_to(server)))
        await turns(2)
        assert upstream.stats()[server.origin].waiting == 1
        first.cancel()
        assert await second == (200, b"hi")
        assert first.cancelled()
        await upstream.aclose()
        await server.quiet()


async def test_an_unread_reply_that_is_closed_closes_its_socket() -> None:
    upstream = HttpUpstream(SystemClock())

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"2\r\nhi\r\n")
        await peer.closed_by_client()

    async with serving(script) as server:
        reply = await upstream.send(call_to(server))
        reply.close()
        reply.close()
        assert upstream.stats()[server.origin].open == 0
        await server.quiet()
        with pytest.raises(AttemptFailed):
            await reply.next_chunk(1.0)
        await upstream.aclose()


async def test_a_storm_of_2000_cancellations_leaves_the_pool_healthy() -> None:
    dice = random.Random(20261122)
    upstream = HttpUpstream(SystemClock(), connections_max=32)
    answers = [OK, OK[:-1], CHUNKED + b"2\r\nhi\r\n0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nhi"]

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await turns(dice.randrange(6))
            answer = dice.choice(answers)
            await peer.send(answer)
            if answer is answers[1]:
                await peer.closed_by_client()
                return
            if answer is answers[3]:
                return

    async def one(server: Server) -> None:
        body = b"x" * (300_000 if dice.random() < 0.02 else 100)
        try:
            await fetch(upstream, call_to(server, body=body, timeouts=Timeouts(connect_s=10.0)))
        except AttemptFailed:
            pass

    async with serving(script) as server:
        gc.collect()
        before = open_descriptors()
        for _ in range(20):
            tasks = [asyncio.ensure_future(one(server)) for _ in range(100)]
            for task in tasks:
                if dice.random() < 0.3:
                    await turns(dice.randrange(5))
                task.cancel()
            await asyncio.wait(tasks)
            stats = upstream.stats()[server.origin]
            assert stats.waiting == 0
            assert stats.open == stats.idle <= 32
        script_over = serving(answering(OK))
        async with script_over as healthy:
            results = await asyncio.gather(*(fetch(upstream, call_to(healthy)) for _ in range(200)))
            assert set(results) == {(200, b"hi")}
            assert len(healthy.peers) <= 32
            await upstream.aclose()
            await server.quiet()
            await healthy.quiet()
        await turns(5)
        assert open_descriptors() == before
        assert len(asyncio.all_tasks()) == 1


async def test_a_closed_upstream_leaves_no_timer() -> None:
    loop = asyncio.get_running_loop()
    scheduled = getattr(loop, "_scheduled", None)
    if scheduled is None:
        pytest.skip("uvloop does not list its timers")
    upstream = HttpUpstream(SystemClock())
    async with serving(answering(OK)) as server:
        before = [handle for handle in scheduled if not handle.cancelled()]
        await fetch(upstream, call_to(server))
        await upstream.aclose()
        assert [handle for handle in scheduled if not handle.cancelled()] == before
