"""New callers do not wait for each other's turn of the loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from gateway.listening import listen

CALLERS = 40


class Greeter(asyncio.Protocol):
    met = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Greeter.met += 1
        transport.close()


@contextlib.asynccontextmanager
async def greeted() -> AsyncIterator[tuple[str, int]]:
    servers = await listen(Greeter, "127.0.0.1", 0, backlog=CALLERS)
    try:
        yield servers[0].sockets[0].getsockname()
    finally:
        for server in servers:
            server.close()
            await server.wait_closed()


async def test_callers_that_came_together_are_taken_in_a_few_turns_of_the_loop() -> None:
    Greeter.met = 0
    async with greeted() as address:
        with contextlib.ExitStack() as stack:
            for _ in range(CALLERS):
                stack.enter_context(socket.create_connection(address))
            for _ in range(CALLERS // 4):
                await asyncio.sleep(0)
            assert Greeter.met == CALLERS


async def test_a_port_that_is_closed_takes_nobody() -> None:
    async with greeted() as address:
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
