"""A gateway of real processes on one port, its provider, its callers, and the six places that say what was spent."""

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
import psutil

from gateway.app.workers import WORKER
from gateway.sim.bill import BillLine
from gateway.sim.server import Simulator
from gateway.stores.sql.opening import Kept
from tests.e2e.processes import METERWAY, Process
from tests.ports import free_ports
from tests.redis import Sentinels, Server
from tests.rows.talk import Seen, request, talk
from tests.sums import Said, in_all, sum_of

KEY = "gw_caller_one_0123456789"
ADMIN_KEY = "q7Xk2vN9pLr4sT8wZb3mYc6hJf1dGa5e"
SERVING = re.compile(r"serving .* on http://\S+?:(\d+)/v1")
NANO = 10**9
SETTLED_S = 20.0
OUTPUT_TOKENS = 150


@dataclass
class Street:
    """`usd_per_million` are the prices of input and output. A gateway is served again on the same ports and folder.

    `cut_at` has the output tokens that the provider had produced when `kill` ended their gateway, by request.
    """

    folder: Path
    sim: Simulator
    budget_usd: float
    workers: int = 1
    store: Server | Sentinels | None = None
    usd_per_million: tuple[int, int] = (1, 2)
    tenant: dict[str, Any] = field(default_factory=dict)
    provider: dict[str, Any] = field(default_factory=dict)
    database: str = ""
    port: int = 0
    admin: int = 0
    runs: int = 0
    processes: list[Process] = field(default_factory=list)
    answers: list[Seen] = field(default_factory=list)
    lasted_s: list[tuple[float, float]] = field(default_factory=list)
    killed: set[psutil.Process] = field(default_factory=set)
    cut_at: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """All ports at once: one that was only found free may be found again."""
        first = free_ports(1 + self.workers)
        self.port, self.admin = self.port or first, self.admin or first + 1
        self.database = self.database or f"sqlite:///{self.folder}/books.db"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Whatever still runs was left by a test that failed."""
        for process in self.processes:
            await asyncio.to_thread(process.kill)

    def config(self) -> Path:
        path = self.folder / "gateway.yaml"
        paid = dict(zip(("input_usd_per_million", "output_usd_per_million"), self.usd_per_million, strict=True))
        budget = {"usd": self.budget_usd, "per": "lifetime"}
        document = {
            "listen": {"port": self.port},
            "admin": {"port": self.admin, "key": "env:ADMIN"},
            "database": self.database,
            "journal": str(self.folder / "journal"),
            "providers": {
                "a": {"kind": "openai", "base_url": f"{self.sim.base}/v1", "keys": ["none"], **self.provider}
            },
            "models": {"m": {"targets": [{"provider": "a", "model": "gpt"}], "sticky": False}},
            "tenants": [{"id": "t", "keys": ["env:CALLER"], "budgets": [budget], **self.tenant}],
            "prices": {"overrides": [{"provider": "a", "model": "gpt", **paid}]},
            "telemetry": {"access_log": "off"},
            "server": {"grace_s": 5.0, "connections_per_address": 4_096},
        }
        if self.store is not None:
            document["redis"] = "env:REDIS"
        path.write_bytes(msgspec.json.encode(document))
        return path

    async def serve(self) -> Process:
        process = self.begin()
        await asyncio.to_thread(process.wait_for, SERVING)
        return process

    def begin(self) -> Process:
        """It does not serve yet."""
        folder = self.folder / f"run{self.runs}"
        self.runs += 1
        folder.mkdir()
        several = ["--workers", str(self.workers)] if self.workers > 1 else []
        environ = {"CALLER": KEY, "REDIS": self.store.url if self.store else "", "ADMIN": ADMIN_KEY}
        command = [str(METERWAY), "serve", "--config", str(self.config()), *several]
        process = Process(folder, *command, environ=environ, cwd=self.folder)
        self.processes.append(process)
        return process

    async def serve_all(self) -> Process:
        """As `serve`; when it returns every worker serves, and an empty store is known to be one (R4)."""
        process = await self.serve()
        await self.ready()
        until_s = time.monotonic() + SETTLED_S
        while (seen := await self.ask(0, stream=False)) is None or seen.status == 503:
            assert time.monotonic() < until_s, seen
            await asyncio.sleep(0.1)
        return process

    async def ready(self) -> None:
        """Every worker serves, none of them one that was killed and still listens."""
        until_s = time.monotonic() + SETTLED_S
        while dying := [process for process in self.killed if process.is_running()]:
            assert time.monotonic() < until_s, f"not dead yet: {dying}"
            await asyncio.sleep(0.02)
        for port in range(self.admin, self.admin + self.workers):
            while not await _listens(port):
                assert time.monotonic() < until_s, f"no worker on {port}"
                await asyncio.sleep(0.02)

    async def ask(
        self,
        number: int,
        *,
        stream: bool,
        max_tokens: int | None = OUTPUT_TOKENS,
        headers: Mapping[str, str] = {},
        spaces: int = 0,
    ) -> Seen | None:
        """None where the gateway died under it."""
        body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": f"question {number}"}]}
        if max_tokens is not None:
            body["max_tokens"] = max_tokens
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        message = request(msgspec.json.encode(body) + b" " * spaces, {"authorization": f"Bearer {KEY}", **headers})
        started_s = time.monotonic()
        with contextlib.suppress(OSError, AssertionError, ValueError, IndexError, TimeoutError):
            seen = await talk(self.port, message)
            self.answers.append(seen)
            self.lasted_s.append((started_s, time.monotonic() - started_s))
            return seen
        return None

    async def serving(self, supervisor: Process) -> list[psutil.Process]:
        """Its workers that accept requests."""
        found: list[psutil.Process] = []
        for worker in psutil.Process(supervisor.pid).children():
            if worker in self.killed:
                continue  # it listens until the system has ended it
            with contextlib.suppress(psutil.Error, OSError):
                number = worker.environ().get(WORKER)  # not there before it has become one
                if number is not None and await _listens(self.admin + int(number)):
                    found.append(worker)
        return found

    def kill(self, process: psutil.Process) -> None:
        """SIGKILL. The system takes 25 ms to end a process, on a busy machine 200 and more. What the provider produces
        in that time reaches nobody, so its bill at the kill is kept."""
        links = process.net_connections("tcp")
        ports = {link.laddr.port for link in links if link.raddr and link.raddr.port == self.sim.port}
        self.cut_at |= self.sim.under_way(ports)
        self.killed.add(process)
        process.kill()

    def produced(self, line: BillLine) -> int:
        """Output tokens of a call before its gateway was killed."""
        if line.outcome != "cut" or not self.killed:
            return self.cut_at.get(line.id, line.output_tokens)
        return self.cut_at.get(line.id, 0)  # its request was on its way

    async def caller(self, first: int, ended: asyncio.Event, pause_s: float = 0.01) -> None:
        number = first
        while not ended.is_set():
            await self.ask(number, stream=bool(number % 3))
            number += 100
            await asyncio.sleep(pause_s)

    def cost(self, input_tokens: int, output_tokens: int) -> int:
        """In nano-USD."""
        return 1_000 * (input_tokens * self.usd_per_million[0] + output_tokens * self.usd_per_million[1])

    # What each of the six says: input tokens, output tokens, nano-USD; None for what it does not know.

    def billed(self) -> Said:
        """The provider."""
        lines = list(self.sim.bill)
        tokens = sum(line.input_tokens for line in lines), sum(line.output_tokens for line in lines)
        return *tokens, self.cost(*tokens)

    def booked(self) -> Said:
        """The ledger."""
        with contextlib.closing(Kept(self.database)) as kept:
            return sum_of(entry for line in self.sim.bill for entry in kept.ledger.entries_of_request(line.id))

    def seen(self) -> Said:
        """The callers, of calls that they began."""
        begun = [seen for seen in self.answers if seen.status == 200 and "x-gateway-replay-of" not in seen.headers]
        told = [usage for seen in begun for usage in usages(seen)]
        tokens = sum(usage["prompt_tokens"] for usage in told), sum(usage["completion_tokens"] for usage in told)
        return *tokens, self.cost(*tokens)

    async def reported(self) -> Said:
        """The usage API."""
        async with self.office() as client:
            answer = await client.get("/admin/v1/usage", params={"group_by": "tenant"})
            rows = answer.json()["items"]
        if not rows:
            return 0, 0, 0  # another worker has answered, and its journal is not in the ledger yet
        (row,) = rows
        return row["input_tokens"], row["output_tokens"], int(Decimal(row["usd"]) * NANO)

    async def counted(self) -> tuple[None, None, int]:
        """The counters: those that workers share, or those of one process, which holds them against the ledger."""
        if self.store is not None:
            return None, None, sum(spent for spent, _ in lent_out(self.store))
        async with self.office() as client:
            told = (await client.get("/admin/v1/ledger/verify", timeout=SETTLED_S)).json()
        return None, None, (await asyncio.to_thread(self.kept_in_all))[2] if told["agree"] else -1

    async def measured(self) -> Said:
        """The metrics of all workers."""
        sums: Counter[str] = Counter()
        for number in range(self.workers):
            async with self.office(number) as client:
                for line in (await client.get("/metrics")).text.splitlines():
                    name, _, value = line.rpartition(" ")
                    if name and not name.startswith("#"):
                        sums[name.partition("{")[0]] += round(float(value) * NANO)
        totals = [sums[f"agent_llm_tokens_{kind}_sum"] // NANO for kind in ("input", "output")]
        return totals[0], totals[1], sums["gateway_cost_usd_total"]

    async def agreed(self) -> Said:
        """What all six say, once the last of them has heard of it. Fails with what each says."""
        until_s = time.monotonic() + SETTLED_S
        await self.sim.idle()
        while True:
            billed = self.billed()
            said = {
                "ledger": await asyncio.to_thread(self.booked),
                "counters": await self.counted(),
                "usage API": await self.reported(),
                "metrics": await self.measured(),
                "callers": self.seen(),
            }
            if all(a is None or a == b for figures in said.values() for a, b in zip(figures, billed, strict=True)):
                return billed
            assert time.monotonic() < until_s, {"bill": billed, **said}
            await asyncio.sleep(0.1)

    async def books_agreed(self) -> int:
        """What ledger, usage API and counters say was spent, when processes were killed: their metrics died with them,
        and what the provider sent to the dead is compared call by call."""
        until_s = time.monotonic() + SETTLED_S
        while True:
            booked = await asyncio.to_thread(self.kept_in_all)
            said = {"counters": await self.counted(), "usage API": await self.reported()}
            if all(a is None or a == b for figures in said.values() for a, b in zip(figures, booked, strict=True)):
                return booked[2]
            assert time.monotonic() < until_s, {"ledger": booked, **said}
            await asyncio.sleep(0.1)

    def kept_in_all(self) -> Said:
        """The ledger, also of calls that never came to the provider."""
        with contextlib.closing(Kept(self.database)) as kept:
            return in_all(kept.ledger)

    def office(self, worker: int = 0) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.admin + worker}", headers=headers, trust_env=False)


async def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False


def lent_out(store: Server | Sentinels) -> list[tuple[int, int]]:
    """Of each counter in the store: spent, lent."""
    server = store.master if isinstance(store, Sentinels) else store
    counters = [server.say("HMGET", key, "p", "l") for key in server.say("KEYS", "gw:*:c:*")]
    return [(int(spent), int(lent)) for spent, lent in counters]


def usages(seen: Seen) -> Iterator[dict[str, int]]:
    if seen.headers["content-type"].startswith("application/json"):
        yield seen.json["usage"]
        return
    for event in seen.events:
        if event != b"[DONE]" and (usage := msgspec.json.decode(event).get("usage")):
            yield usage
