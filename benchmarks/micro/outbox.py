"""What an exchange with a peer on another core costs, its writes bunched and as they come: 32 connections and one."""

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from statistics import median
from typing import cast

import uvloop

from gateway.outbox import Outbox

ROUNDS = 9
ROUND_S = 0.3
WORK_S = 30e-6
"""Of an answer's way to the next request."""

Write = Callable[[asyncio.Transport, bytes], None]


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


class _Asker(asyncio.Protocol):
    """Asks again as soon as it is answered and has done its work."""

    def __init__(self) -> None:
        self.write: Write | None = None
        self.answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def begin(self, write: Write) -> None:
        self.write = write
        self._ask()

    def data_received(self, data: bytes) -> None:
        self.answers += 1
        if self.write is not None:
            asyncio.get_running_loop().call_soon(self._ask)

    def _ask(self) -> None:
        until_s = time.perf_counter() + WORK_S
        while time.perf_counter() < until_s:
            pass
        if self.write is not None:
            self.write(self._transport, b"x" * 400)


def _echo(told: Pipe, core: int) -> None:
    os.sched_setaffinity(0, {core})

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


async def _round_us(askers: list[_Asker], write: Write) -> float:
    """Microseconds for each exchange, its work taken off."""
    before, started_s = sum(each.answers for each in askers), time.perf_counter()
    for each in askers:
        each.begin(write)
    await asyncio.sleep(ROUND_S)
    taken_s, count = time.perf_counter() - started_s, sum(each.answers for each in askers) - before
    for each in askers:
        each.write = None
    await asyncio.sleep(0.02)
    return (taken_s / count - WORK_S) * 1e6


async def _compare(port: int) -> None:
    outbox = Outbox()
    ways: dict[str, Write] = {"bunched": outbox.put, "as they come": lambda transport, data: transport.write(data)}
    for connections in (32, 1):
        made = [
            await asyncio.get_running_loop().create_connection(_Asker, "127.0.0.1", port) for _ in range(connections)
        ]
        askers = [protocol for _, protocol in made]
        rounds = [{name: await _round_us(askers, write) for name, write in ways.items()} for _ in range(ROUNDS)]
        for name in ways:
            print(f"{name:14} {connections:3} connections {median(each[name] for each in rounds):16.2f} us")
        for transport, _ in made:
            transport.close()


def main() -> None:
    cores = sorted(os.sched_getaffinity(0))
    here, there = multiprocessing.Pipe()
    peer = multiprocessing.get_context("spawn").Process(target=_echo, args=(there, cores[-1]))
    peer.start()
    os.sched_setaffinity(0, {cores[0]})
    try:
        uvloop.run(_compare(here.recv()))
    finally:
        os.sched_setaffinity(0, set(cores))
        peer.terminate()
        peer.join()


if __name__ == "__main__":
    main()
