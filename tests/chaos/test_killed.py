"""P2: gateways that are killed at random under load lose no charge, double none and hold nothing afterwards."""

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil
import pytest

from gateway.domain.ledger import Entry, EntryKind
from gateway.pipeline.cashier import BEAT_TOKENS
from gateway.sim.bill import BillLine
from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from gateway.stores.sql.opening import Kept
from tests.e2e.processes import METERWAY, Process
from tests.redis import Server
from tests.rows.talk import Seen, request, talk

KEY = "gw_caller_one_0123456789"
IN, OUT = 1_000, 2_000
SCRIPT = {"otherwise": {"answer": {"text_chars": 240}, "pace": {"first_event_s": 0.01, "event_s": 0.008}}}
WORKERS = 3
SERVING = re.compile(r"serving .* on http://\S+?:(\d+)/v1")


@dataclass
class Street:
    """A gateway that is served again as soon as it was killed, on the same port and the same folder."""

    folder: Path
    sim: Simulator
    budget_usd: float
    port: int = 0
    redis: str | None = None
    kills: int = 0
    answers: list[Seen] = field(default_factory=list)

    def config(self) -> Path:
        path = self.folder / "gateway.yaml"
        document = {
            "listen": {"port": self.port},
            "database": f"sqlite:///{self.folder}/books.db",
            "journal": str(self.folder / "journal"),
            "providers": {"a": {"kind": "openai", "base_url": f"{self.sim.base}/v1", "keys": ["none"]}},
            "models": {"m": {"targets": [{"provider": "a", "model": "gpt"}], "sticky": False}},
            "tenants": [{"id": "t", "keys": ["env:CALLER"], "budgets": [{"usd": self.budget_usd, "per": "lifetime"}]}],
            "prices": {
                "overrides": [
                    {"provider": "a", "model": "gpt", "input_usd_per_million": 1, "output_usd_per_million": 2}
                ]
            },
            "telemetry": {"access_log": "off"},
            "server": {"grace_s": 5.0},
        }
        if self.redis is not None:
            document["redis"] = "env:REDIS"
        path.write_bytes(msgspec.json.encode(document))
        return path

    async def serve(self, number: int) -> Process:
        folder = self.folder / f"run{number}"
        folder.mkdir()
        several = [] if self.redis is None else ["--workers", str(WORKERS)]
        environ = {"CALLER": KEY, "REDIS": self.redis or ""}
        command = [str(METERWAY), "serve", "--config", str(self.config()), *several]
        process = Process(folder, *command, environ=environ, cwd=self.folder)
        await asyncio.to_thread(process.wait_for, SERVING)
        return process

    async def call(self, number: int) -> None:
        body = {"model": "m", "max_tokens": 150, "messages": [{"role": "user", "content": f"question {number}"}]}
        if number % 3:
            body["stream"] = True
        message = request(msgspec.json.encode(body), {"authorization": f"Bearer {KEY}"})
        with contextlib.suppress(OSError, AssertionError, ValueError, IndexError, TimeoutError):
            self.answers.append(await talk(self.port, message))

    async def caller(self, first: int, until_s: float) -> None:
        number = first
        while time.monotonic() < until_s:
            await self.call(number)
            number += 100
            await asyncio.sleep(0.01)


async def storm_of_workers(street: Street, seconds: float, dice: random.Random) -> None:
    """Workers are killed one after the other; the supervisor stays."""
    supervisor = await street.serve(0)
    until_s = time.monotonic() + seconds
    callers = [asyncio.create_task(street.caller(first, until_s)) for first in range(24)]
    while time.monotonic() < until_s:
        await asyncio.sleep(dice.uniform(0.1, 0.9))
        workers = psutil.Process(supervisor.pid).children()
        if workers:
            dice.choice(workers).kill()
            street.kills += 1
    await asyncio.gather(*callers)
    await asyncio.sleep(2.0)
    assert await asyncio.to_thread(supervisor.stop) == 0, supervisor.said[-4_000:]
    await street.sim.idle()


async def storm(street: Street, seconds: float, dice: random.Random) -> None:
    until_s = time.monotonic() + seconds
    callers = [asyncio.create_task(street.caller(first, until_s)) for first in range(12)]
    while time.monotonic() < until_s:
        process = await street.serve(street.kills)
        await asyncio.sleep(dice.uniform(0.02, 0.6))
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.to_thread(process.ended)
        street.kills += 1
    await asyncio.gather(*callers)
    last = await street.serve(street.kills)
    await asyncio.sleep(0.3)
    assert await asyncio.to_thread(last.stop) == 0
    await street.sim.idle()


def fold(street: Street) -> tuple[dict[str, list[Entry]], dict[str, BillLine]]:
    kept = Kept(f"sqlite:///{street.folder}/books.db")
    entries: dict[str, list[Entry]] = defaultdict(list)
    for line in street.sim.bill:
        entries[line.id].extend(kept.ledger.entries_of_request(line.id))
    kept.close()
    return entries, {line.id: line for line in street.sim.bill}


@pytest.mark.parametrize("seconds", [8.0, pytest.param(60.0, marks=[pytest.mark.long, pytest.mark.timeout(180)])])
@pytest.mark.parametrize("budget_usd", [1_000.0, 0.02], ids=["plenty", "at-the-limit"])
async def test_p2_a_killed_gateway_loses_no_charge_doubles_none_and_holds_nothing(
    tmp_path: Path, budget_usd: float, seconds: float
) -> None:
    dice = random.Random(2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with Simulator(parse_script(SCRIPT)) as sim:
        street = Street(tmp_path, sim, budget_usd, port)
        await storm(street, seconds, dice)
        assert street.kills >= seconds / 2
        balanced(street)


@pytest.mark.parametrize("seconds", [10.0, pytest.param(60.0, marks=[pytest.mark.long, pytest.mark.timeout(180)])])
@pytest.mark.parametrize("budget_usd", [1_000.0, 0.006], ids=["plenty", "at-the-limit"])
async def test_f11_killed_workers_that_share_a_budget_lose_no_charge_and_overspend_nothing(
    tmp_path: Path, budget_usd: float, seconds: float
) -> None:
    dice = random.Random(11)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = Server(tmp_path)
    try:
        async with Simulator(parse_script(SCRIPT)) as sim:
            street = Street(tmp_path, sim, budget_usd, port, server.url)
            await storm_of_workers(street, seconds, dice)
            assert street.kills >= seconds
            spent = balanced(street)
            counters = [server.say("HMGET", key, "p", "l") for key in server.say("KEYS", "gw:*:c:*")]
            assert [[int(figure) for figure in counter] for counter in counters] == [[spent, 0]]
    finally:
        server.kill()


def balanced(street: Street) -> int:
    """The provider's bill, the ledger and what callers saw agree; what was spent."""
    entries, bill = fold(street)
    assert len(bill) > 20
    spent = 0
    for name, line in bill.items():
        told = entries[name]
        assert len(told) == 1, (line, told)
        entry = told[0]
        spent += entry.cost_nano_usd
        over = entry.usage.output - line.output_tokens
        match entry.kind:
            case EntryKind.POST:
                assert over <= 0 if line.outcome == "cut" else over == 0, (line, entry)
            case EntryKind.EXPIRE if line.stream:
                assert -BEAT_TOKENS <= over <= 2 * BEAT_TOKENS, (line, entry)
            case _:
                assert entry.kind is EntryKind.EXPIRE, (line, entry)
                assert over >= 0, (line, entry)
    assert spent <= street.budget_usd * 10**9
    whole = [seen for seen in street.answers if seen.status == 200 and seen.whole]
    assert all(entries[seen.headers["x-request-id"]][0].kind is EntryKind.POST for seen in whole)
    assert not list((street.folder / "journal").glob("*.journal")), "every journal is finished"
    kinds = [entry.kind.value for told in entries.values() for entry in told]
    print(f"[{street.kills} kills, {len(bill)} calls, {kinds.count('expire')} expired] ", end="")
    return spent
