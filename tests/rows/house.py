"""A real gateway in front of scripted providers, all in this process on real sockets, and what was seen of it."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from gateway.app.gateway import Gateway
from gateway.clock import SystemClock
from gateway.config.load import load_text
from gateway.config.settings import Loaded
from gateway.domain.breaker import TripRule
from gateway.domain.record import ExchangeRecord
from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from gateway.stores.health import Line
from gateway.upstream.names import Resolver, system_resolver
from tests.rows.talk import Seen, request, talk
from tests.rows.witnesses import reconciled

SHORT = {"connect_s": 0.3, "first_token_s": 0.3, "idle_s": 0.3, "total_s": 5.0}
TOUCHY = TripRule(volume=1, callers=1, bodies=1)
"""One failure that counts for the breaker opens it, so that a test sees whether it counts."""

NUMB = TripRule(volume=1_000_000_000)
"""Never opens."""

CALLERS = {"one": "gw_caller_one_0123456789", "two": "gw_caller_two_0123456789", "other": "gw_caller_other_0123456789"}
"""`one` and `two` are keys of one tenant, `other` of another."""

SECRET = "sk-canary-0123456789"
PRICE = {"input_usd_per_million": 1, "output_usd_per_million": 2}
Document = dict[str, Any]
BOOKS: Path | None = None


class MovableClock(SystemClock):
    """The machine's clock, which a test may set forward between requests."""

    __slots__ = ("ahead_s", "wall_ahead_s")

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.wall_ahead_s = 0.0

    def monotonic_s(self) -> float:
        return time.monotonic() + self.ahead_s

    def wall_s(self) -> float:
        return time.time() + self.ahead_s + self.wall_ahead_s


@dataclass
class House:
    """`document` is the configuration as it stands; change it and `reload`. `records` may be cleared by a test.

    `honest` is false where a provider tells another usage than it bills.
    """

    gateway: Gateway
    clock: MovableClock
    sims: dict[str, Simulator]
    document: Document
    records: list[ExchangeRecord] = field(default_factory=list)
    canaries: list[bytes] = field(default_factory=list)
    all_records: list[ExchangeRecord] = field(default_factory=list)
    books: Path | None = None
    honest: bool = True

    @property
    def port(self) -> int:
        return self.gateway.server.port

    async def ask(self, text: str = "hi", *, then_open: str | None = None, **more: Any) -> Seen:
        """As `message`, sent; what comes back is searched for what must never be told.

        `then_open` is a provider whose gate `go` opens when the caller has seen the first content.
        """
        on_content = None if then_open is None else lambda: self.sims[then_open].open("go")
        seen = await talk(self.port, self.message(text, **more), on_content)
        told = seen.body + repr(seen.headers).encode()
        for canary in self.canaries:
            assert canary not in told, (canary, seen)
        if seen.status:
            assert seen.headers["x-request-id"].startswith("req_")
        return seen

    def message(
        self,
        text: str = "hi",
        *,
        stream: bool = False,
        caller: str = "one",
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> bytes:
        """One chat completion of model `m`."""
        body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
        if stream:
            body["stream"] = True
        given = {"authorization": f"Bearer {CALLERS[caller]}", **(headers or {})}
        return request(msgspec.json.encode(body), given)

    def script(self, name: str, **document: Any) -> None:
        """From now on this provider does as told."""
        self.sims[name].script = parse_script(document)

    def calls(self, name: str) -> int:
        return self.sims[name].arrived_count

    @property
    def record(self) -> ExchangeRecord:
        return self.records[-1]

    @property
    def failures(self) -> list[str | None]:
        return [attempt.failure for attempt in self.record.attempts]

    def line(self, name: str, key: int = 0) -> Line:
        """What operators see of the provider's deployment."""
        lines = self.gateway.health.lines(self.gateway.door.catalog)
        return next(line for line in lines if line.deployment.startswith(f"{name}/") and _key(line) == key)

    def health(self, name: str, key: int = 0) -> str:
        """`open`, `half-open`, `cooldown`, `misconfigured_...`, or `well`."""
        line = self.line(name, key)
        assert line.in_flight == 0, line
        return line.pause or ("well" if line.circuit == "closed" else line.circuit)

    def refused(self, seen: Seen, status: int, code: str, fault: str = "provider", attempts: int = 1) -> None:
        """The one shape of an error answer after attempts: typed, told not to be retried, and on record."""
        assert (seen.status, seen.whole) == (status, True), seen
        error = seen.error
        assert (error["code"], error["fault"]) == (code, fault), seen
        assert set(error) == {"message", "type", "param", "code", "fault", "retryable"}
        assert seen.headers["x-should-retry"] == "false"
        assert seen.attempts == attempts
        record = self.record
        assert (record.status, record.error_code, record.request_id) == (status, code, seen.headers["x-request-id"])
        assert record.fault is not None
        assert record.fault.value == fault
        assert (len(record.attempts), record.usage.total, record.provenance.value) == (attempts, 0, "none")

    def moved(self, seen: Seen, failure: str, by: str = "b") -> None:
        """The caller noticed nothing of the first target's failure."""
        assert (seen.status, seen.whole, seen.attempts) == (200, True, 2), seen
        assert seen.text.startswith("Hello")
        assert seen.headers["x-gateway-target"] == f"{by}/gpt"
        assert self.failures == [failure, None]
        assert (self.record.provenance.value, self.record.error_code) == ("exact", None)

    async def metric(self, name: str) -> dict[str, float]:
        """The samples of one counter as Prometheus gets them, by their labels as written there."""
        lines = (await self.gateway.told.prometheus()).decode().splitlines()
        found = [line[len(name) :].rpartition(" ") for line in lines if line.startswith(name + "{")]
        return {labels: float(value) for labels, _, value in found}

    def reload(self) -> None:
        self.gateway.reload()

    def load(self, version: int) -> Loaded:
        return _load(self.document, version)


def _key(line: Line) -> int:
    return int(line.deployment.rpartition("#")[2])


@asynccontextmanager
async def standing(
    order: Sequence[str] = (),
    *,
    urls: Mapping[str, str] = {},
    providers: Mapping[str, Document] = {},
    targets: Mapping[str, Document] = {},
    route: Mapping[str, Any] = {},
    trip_rule: TripRule | None = None,
    resolver: Resolver = system_resolver,
    extra: Mapping[str, Any] = {},
    **scripts: Document,
) -> AsyncIterator[House]:
    """A gateway whose model `m` is served by the providers in their order of priority.

    Each of `scripts` is a provider that does as its script says; `urls` names providers that stand elsewhere. At the
    end all who say what was used have to agree, the ledger too where there is a folder for BOOKS.
    """
    async with AsyncExitStack() as stack:
        sims = {name: Simulator(parse_script(script)) for name, script in scripts.items()}
        for sim in sims.values():
            await stack.enter_async_context(sim)
        places = {**urls, **{name: f"{sim.base}/v1" for name, sim in sims.items()}}
        document = _document(order or list(places), places, providers, targets, route) | dict(extra)
        books = None if BOOKS is None else Path(tempfile.mkdtemp(dir=BOOKS))
        if books is not None:
            document |= {"database": f"sqlite:///{books}/books.db", "journal": f"{books}/journal"}
        loaded = _load(document, 1)
        clock = MovableClock()
        records: list[ExchangeRecord] = []
        all_records: list[ExchangeRecord] = []

        def record(one: ExchangeRecord) -> None:
            records.append(one)
            all_records.append(one)

        gateway = Gateway(
            loaded,
            lambda version: house.load(version),  # noqa: PLW0108 - the house is made below
            clock=clock,
            trip_rule=trip_rule,
            resolver=resolver,
            sink=record,
        )
        canaries = [SECRET.encode(), b"127.0.0.1", b"Traceback", *(f":{sim.port}".encode() for sim in sims.values())]
        house = House(gateway, clock, sims, document, records, canaries, all_records, books)
        await gateway.start()
        serving = asyncio.create_task(gateway.wait())
        try:
            yield house
            await reconciled(house)
        finally:
            gateway.stop()
            gateway.stop()
            await serving


def _document(
    order: Sequence[str],
    places: Mapping[str, str],
    providers: Mapping[str, Document],
    targets: Mapping[str, Document],
    route: Mapping[str, Any],
) -> Document:
    sections: Document = {}
    rows: list[Document] = []
    for place, name in enumerate(order):
        own = {"kind": "openai", "base_url": places[name], "keys": [f"env:KEY_{name.upper()}"], "allow_http": True}
        sections[name] = {**own, **providers.get(name, {})}
        rows.append({"provider": name, "model": "gpt", "priority": place + 1, **targets.get(name, {})})
    prices = [{"provider": name, "model": "gpt", **PRICE} for name in order]
    return {
        "listen": {"port": 0},
        "database": "memory",
        "providers": sections,
        "models": {"m": {"targets": rows, "sticky": False, "timeouts": SHORT, **route}},
        "tenants": [
            {"id": "first", "keys": ["env:CALLER_ONE", "env:CALLER_TWO"]},
            {"id": "second", "keys": ["env:CALLER_OTHER"]},
        ],
        "prices": {"unknown": "unpriced", "overrides": prices},
        "telemetry": {"access_log": "off"},
        "server": {"grace_s": 5.0},
    }


def _load(document: Document, version: int) -> Loaded:
    environ = {f"CALLER_{name.upper()}": key for name, key in CALLERS.items()}
    for section in document["providers"].values():
        for ref in section["keys"]:
            environ[ref.removeprefix("env:")] = f"{SECRET}-{ref.removeprefix('env:KEY_').lower()}"
    text = msgspec.json.encode(document).decode()
    return load_text(text, Path("house.yaml"), environ, version=version)
