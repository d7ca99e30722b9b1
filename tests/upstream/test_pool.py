"""The pool's own rules, with connections that have no socket."""

import asyncio
import time
from typing import Any, cast

import pytest

from gateway.domain.catalog import Origin
from gateway.domain.failure import AttemptFailed, FailureKind
from gateway.outbox import Outbox
from gateway.upstream.connection import WRITE_BYTES, Connection
from gateway.upstream.exchange import Phase
from gateway.upstream.pool import Pool
from tests.outbox import put_under_load
from tests.upstream.scripted import OK, call_to

ORIGIN = Origin("http", "127.0.0.1", 1)


class Hole:
    """A transport that takes everything and says nothing."""

    def __init__(self) -> None:
        self.closing = False
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True

    def get_write_buffer_size(self) -> int:
        return 0


def pool_of(connections_max: int, *, idle_s: float = 15.0, waiters_max: int = 10) -> Pool:
    loop = asyncio.get_running_loop()
    return Pool(
        loop, time.monotonic, outbox=Outbox(), connections_max=connections_max, idle_s=idle_s, waiters_max=waiters_max
    )


async def connected(pool: Pool) -> tuple[Connection, Hole]:
    assert await pool.take(time.monotonic() + 1, fresh=True) is None
    connection, hole = Connection(ORIGIN, pool, asyncio.get_running_loop(), time.monotonic), Hole()
    connection.connection_made(cast(Any, hole))
    pool.adopt(connection)
    return connection, hole


async def test_the_one_used_last_is_taken_first() -> None:
    pool = pool_of(3)
    connections = [(await connected(pool))[0] for _ in range(3)]
    for connection in connections:
        pool.freed(connection)
    assert [pool.take_idle() for _ in range(4)] == [*reversed(connections), None]
    await pool.close(0)


async def test_idle_connections_beyond_their_time_are_not_taken() -> None:
    pool = pool_of(1, idle_s=0.0)
    connection, hole = await connected(pool)
    pool.freed(connection)
    assert pool.take_idle() is None
    assert hole.closing
    assert pool.stats().open == 0
    await pool.close(0)


async def test_u5_a_fresh_one_makes_room_among_the_idle() -> None:
    pool = pool_of(1)
    connection, hole = await connected(pool)
    pool.freed(connection)
    assert await pool.take(time.monotonic() + 1, fresh=True) is None
    assert hole.closing
    assert pool.stats().open == 1
    await pool.close(0)


async def test_the_queue_of_waiters_has_a_length() -> None:
    pool = pool_of(1, waiters_max=2)
    connection, _ = await connected(pool)
    waiting = [asyncio.ensure_future(pool.take(time.monotonic() + 5)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(AttemptFailed) as caught:
        await pool.take(time.monotonic() + 5)
    assert caught.value.failure.kind is FailureKind.POOL_FULL
    pool.freed(connection)
    assert await waiting[0] is connection
    connection.drop()
    assert await waiting[1] is None
    assert pool.stats().open == 1
    await pool.close(0)


async def test_a_connection_that_closes_after_it_was_handed_over_is_made_up_for() -> None:
    pool = pool_of(1)
    connection, _ = await connected(pool)
    waiting = asyncio.ensure_future(pool.take(time.monotonic() + 5))
    await asyncio.sleep(0)
    pool.freed(connection)
    connection.data_received(b"unasked")
    assert await waiting is None
    assert pool.stats().open == 1
    await pool.close(0)


async def test_closing_ends_the_waiting() -> None:
    pool = pool_of(1)
    await connected(pool)
    waiting = asyncio.ensure_future(pool.take(time.monotonic() + 5))
    await asyncio.sleep(0)
    await pool.close(0)
    with pytest.raises(AttemptFailed):
        await waiting


async def test_an_answer_to_half_a_request_ends_the_connection() -> None:
    pool = pool_of(1)
    connection, hole = await connected(pool)
    body = b"x" * (WRITE_BYTES * 3)
    exchange = connection.start(call_to(ORIGIN, body=body), b"HEAD")
    connection.pause_writing()
    writing = asyncio.ensure_future(connection.finish_writing(exchange, body, time.monotonic() + 5))
    await asyncio.sleep(0)
    connection.data_received(OK)
    await writing
    assert exchange.phase is Phase.DONE
    assert hole.written == b"HEAD"
    assert hole.closing
    assert pool.stats().open == 0


async def test_writing_goes_on_when_the_socket_takes_more() -> None:
    pool = pool_of(1)
    connection, hole = await connected(pool)
    body = b"x" * (WRITE_BYTES * 3 + 1)
    exchange = connection.start(call_to(ORIGIN, body=body), b"")
    connection.pause_writing()
    writing = asyncio.ensure_future(connection.finish_writing(exchange, body, time.monotonic() + 5))
    await asyncio.sleep(0)
    assert hole.written == b""
    connection.resume_writing()
    await writing
    assert hole.written == body
    connection.data_received(OK)
    assert not hole.closing
    assert pool.stats().idle == 1
    await pool.close(0)


async def test_an_answer_before_its_request_is_written_is_the_last_on_its_connection() -> None:
    """The answer to the request would else go to the next one."""
    pool = pool_of(1)
    connection, hole = await connected(pool)
    await put_under_load(pool.outbox)
    exchange = connection.start(call_to(ORIGIN), b"POST / HTTP/1.1\r\n\r\n")
    connection.data_received(OK)
    assert exchange.phase is Phase.DONE
    assert pool.take_idle() is None
    await asyncio.sleep(0)
    assert (hole.closing, hole.written) == (True, b"")
    await pool.close(0)
