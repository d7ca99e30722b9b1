"""The simulators that play the providers of kind `sim`."""

import contextlib
from pathlib import Path
from types import TracebackType

import msgspec

from gateway.config.settings import Sim
from gateway.domain.catalog import Origin
from gateway.sim.script import Script, read_script
from gateway.sim.server import Simulator

HOST = "127.0.0.1"


class Sims:
    """Runs them for as long as its block; `origins` says where each provider then is."""

    def __init__(self, sims: tuple[Sim, ...]) -> None:
        self._sims = sims
        self._stack = contextlib.AsyncExitStack()
        self.origins: dict[str, Origin] = {}

    async def __aenter__(self) -> "Sims":
        for sim in self._sims:
            simulator = await self._stack.enter_async_context(Simulator(_script(sim)))
            self.origins[sim.provider] = Origin("http", HOST, simulator.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()


def _script(sim: Sim) -> Script:
    script = Script() if sim.script is None else read_script(Path(sim.script).read_bytes())
    return script if sim.seed is None else msgspec.structs.replace(script, seed=sim.seed)
