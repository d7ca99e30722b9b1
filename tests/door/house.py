"""A gateway in front of a simulator, in this process."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.app.gateway import Gateway
from gateway.config.load import load_text
from gateway.config.settings import Loaded
from gateway.domain.record import ExchangeRecord
from gateway.http.cycle import DoorCycle
from gateway.http.limits import DoorLimits
from gateway.http.listener import Listener
from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from tests.door.line import KEY, Line

HOST = "127.0.0.1"
ENVIRON = {"TENANT": KEY, "OTHER": "another-tenant-key-0123456789", "ADMIN": "Zq81hTTx0Lk2Zq81hTTx0Lk2"}

CONFIG = """\
listen: {{host: 127.0.0.1, port: 0}}
database: memory
providers:
  p: {{kind: openai, base_url: "http://127.0.0.1:{port}/v1", keys: ["none"], allow_http: true}}
models:
  m: {{targets: [{{provider: p, model: up}}]}}
tenants:
  - {{id: t, keys: ["env:TENANT"]}}
  - {{id: limited, keys: ["env:OTHER"], limits: {{requests_per_minute: 2, tokens_per_minute: 100000}}}}
prices: {{unknown: {{input_usd_per_million: 1, output_usd_per_million: 2}}}}
telemetry: {{access_log: "off"}}
server: {{grace_s: 0.2}}
"""


class Records(list[ExchangeRecord]):
    """Everything that was recorded."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def record(self, record: ExchangeRecord) -> None:
        self.append(record)
        self._changed.set()

    async def have(self, count: int, timeout_s: float = 5.0) -> None:
        async with asyncio.timeout(timeout_s):
            while len(self) < count:
                self._changed.clear()
                await self._changed.wait()


@dataclass
class House:
    gateway: Gateway
    sim: Simulator
    serving: asyncio.Task[None]
    records: Records = field(default_factory=Records)
    lines: list[Line] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.gateway.server.port

    async def line(self, local: tuple[str, int] | None = None) -> Line:
        line = Line(*await asyncio.open_connection(HOST, self.port, local_addr=local))
        self.lines.append(line)
        return line

    @property
    def connections(self) -> int:
        return len(self.gateway.server.server_state.connections)

    @staticmethod
    def latest(connection: Any) -> DoorCycle:
        """The latest request of a connection."""
        found: DoorCycle = connection.cycle
        return found

    async def until(self, holds: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """For what has no event of its own: looks at every turn of the loop."""
        async with asyncio.timeout(timeout_s):
            while not holds():
                await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def house(
    *rules: dict[str, Any], config: str = CONFIG, script: Any = None, **limits: Any
) -> AsyncIterator[House]:
    """`rules` are the simulator's; `limits` override DoorLimits."""
    async with Simulator(parse_script({"rules": list(rules), **(script or {})})) as sim:
        text = config.format(port=sim.port)

        def read(version: int) -> Loaded:
            return load_text(text, Path("gateway.yaml"), ENVIRON, version=version)

        gateway = Gateway(read(1), read)
        if limits:
            chosen: DoorLimits = replace(gateway.door.limits, **limits)
            gateway.door.limits = chosen
            gateway.server.listener = Listener(chosen, gateway.server.listener.plain_paths)
        records = Records()
        gateway.door.desk.recorder = records
        await gateway.start()
        made = House(gateway, sim, asyncio.create_task(gateway.wait()), records)
        try:
            yield made
        finally:
            for line in made.lines:
                await line.close()
            gateway.stop()
            gateway.stop()
            await made.serving


def chat(*, stream: bool = False, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **more}
    return {**body, "stream": True} if stream else body


def dumped(body: object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()
