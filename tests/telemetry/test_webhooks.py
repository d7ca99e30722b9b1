"""Who is told of budgets, by real HTTP on loopback."""

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.domain.budget import Budget, Crossing, Unit
from gateway.domain.catalog import Secret
from gateway.domain.period import Period
from gateway.domain.webhook import Webhook
from gateway.telemetry.webhooks import Webhooks
from tests.clock import ToldClock

BUDGET = Budget("b1", "acme", 5_000_000_000, Unit.NANO_USD, Period.DAY)
TOKEN = "s3cret-path-token"


@dataclass
class Receiver:
    """Answers with `statuses`, one after the other, the last one for ever."""

    statuses: list[int]
    port: int = 0
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/{TOKEN}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.got.append((headers, body))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async def heard(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.got) < count:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def receiver(*statuses: int) -> AsyncIterator[Receiver]:
    made = Receiver(list(statuses))
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


def crossing(percent: int = 80) -> Crossing:
    return Crossing(BUDGET, "acme", BUDGET.window(1_790_000_000.0), percent, 4_000_000_000)


def to(made: Receiver, secret: str | None = None) -> tuple[Webhook, ...]:
    return (Webhook(Secret(made.url), None if secret is None else Secret(secret)),)


async def yes(_: Crossing) -> bool:
    return True


async def no(_: Crossing) -> bool:
    return False


async def test_an_event_says_whose_budget_is_how_full() -> None:
    async with receiver(200) as made, Webhooks(ToldClock(), to(made), yes) as webhooks:
        webhooks.crossed(crossing())
        await made.heard(1)
        event: dict[str, Any] = json.loads(made.got[0][1])
        told = {name: event[name] for name in ("type", "tenant", "budget", "percent", "spent", "limit", "unit")}
        assert told == {
            "type": "budget.threshold",
            "tenant": "acme",
            "budget": "b1",
            "percent": 80,
            "spent": "4",
            "limit": "5",
            "unit": "usd",
        }
        assert "x-meterway-signature" not in made.got[0][0]


async def test_a_signed_event_can_be_checked_with_the_secret_alone() -> None:
    async with receiver(204) as made, Webhooks(ToldClock(), to(made, "hush"), yes) as webhooks:
        webhooks.crossed(crossing())
        await made.heard(1)
        headers, body = made.got[0]
        at, _, digest = headers["x-meterway-signature"].partition(",v1=")
        expected = hmac.new(b"hush", f"{at[2:]}.".encode() + body, hashlib.sha256).hexdigest()
        assert digest == expected


async def test_what_was_not_taken_is_sent_again_under_the_same_id() -> None:
    async with receiver(503, 429, 200) as made, Webhooks(ToldClock(), to(made), yes) as webhooks:
        webhooks.crossed(crossing())
        await made.heard(3)
        assert len({json.loads(body)["id"] for _, body in made.got}) == 1
        webhooks.crossed(crossing(95))
        await made.heard(4)
        assert json.loads(made.got[3][1])["id"] != json.loads(made.got[0][1])["id"]


async def test_a_refusal_is_said_once_without_the_url(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "meterway"):
        async with receiver(404) as made:
            async with Webhooks(ToldClock(), to(made), yes) as webhooks:
                webhooks.crossed(crossing())
                await made.heard(1)
            assert len(made.got) == 1
    assert "404" in caplog.text
    assert TOKEN not in caplog.text


async def test_only_the_first_process_that_sees_it_tells() -> None:
    async with receiver(200) as made:
        async with Webhooks(ToldClock(), to(made), no) as webhooks:
            webhooks.crossed(crossing())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        async with Webhooks(ToldClock(), to(made), yes) as webhooks:
            webhooks.crossed(crossing(50))
            await made.heard(1)
        assert [json.loads(body)["percent"] for _, body in made.got] == [50]
