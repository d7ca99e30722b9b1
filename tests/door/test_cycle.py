"""A server of ours under applications that misbehave: the client is told, or at least not deceived."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import fields
from email.utils import parsedate_to_datetime

import pytest

from gateway.app.gateway import limits_of
from gateway.config.settings import Server
from gateway.http.cycle import DoorCycle
from gateway.http.limits import DoorLimits
from gateway.http.protocol import Serve
from gateway.http.server import server_for
from tests.door.line import Line, get

PLAIN = frozenset({b"/"})


@contextlib.asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[Line]:
    limits = DoorLimits(grace_s=0.2)
    server = server_for(serve, host="127.0.0.1", port=0, limits=limits, plain_paths=PLAIN, interrupt=lambda: None)
    await server.open()
    running = asyncio.create_task(server.serve_until_stopped())
    line = Line(*await asyncio.open_connection("127.0.0.1", server.port))
    try:
        yield line
    finally:
        await line.close()
        server.stop()
        await running
        assert not server.listener.tasks


async def silent(cycle: DoorCycle) -> None:
    pass


async def failing(cycle: DoorCycle) -> None:
    raise ZeroDivisionError("secret detail")


def injecting(end: bytes) -> Serve:
    async def inject(cycle: DoorCycle) -> None:
        cycle.answer(200, [b"x-a: 1" + end + b"x-evil: 2", b"content-length: 0"], b"")

    return inject


@pytest.mark.parametrize("serve", [silent, failing, *map(injecting, (b"\r\n", b"\n", b"\r", b"\n\r", b"\0"))])
async def test_an_application_without_an_answer_is_500_and_the_end_of_the_connection(serve: Serve) -> None:
    async with serving(serve) as line:
        answer = await line.ask(get("/"))
        assert (answer.status, answer.code, answer.header("connection")) == (500, "internal_error", "close")
        assert b"secret" not in answer.body
        assert answer.header("x-evil") is None
        assert await line.ended() == b""


async def test_an_application_that_fails_within_its_answer_leaves_it_without_an_end() -> None:
    async def halfway(cycle: DoorCycle) -> None:
        await cycle.send({"type": "http.response.start", "status": 200, "headers": []})
        await cycle.send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ZeroDivisionError

    async with serving(halfway) as line:
        answer = await line.ask(get("/"))
        assert (answer.status, answer.body, answer.whole) == (200, b"half", False)


async def test_every_answer_has_a_date() -> None:
    async def empty(cycle: DoorCycle) -> None:
        cycle.answer(200, [b"content-length: 0"], b"")

    async with serving(empty) as line:
        assert parsedate_to_datetime((await line.ask(get("/"))).header("date") or "").tzinfo is not None


def test_every_limit_of_the_door_is_a_setting() -> None:
    names = [field.name for field in fields(DoorLimits) if field.name != "connections"]
    given = {name: number for number, name in enumerate(names, 1)}
    limits = limits_of(Server(connections=7, memory_bytes=None, **given))
    assert {name: getattr(limits, name) for name in names} == given
    assert limits.connections == 7
