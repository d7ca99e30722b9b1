"""The simulators that play the providers of kind `sim`."""

import contextlib
from importlib import import_module
from types import TracebackType

from gateway.config.settings import Sim
from gateway.domain.catalog import Origin

HOST = "127.0.0.1"


class Sims:
    """Runs them for as long as its block; `origins` says where each provider then is.

    The simulator is loaded when there is one to run.
    """

    def __init__(self, sims: tuple[Sim, ...]) -> None:
        self._sims = sims
        self._stack = contextlib.AsyncExitStack()
        self.origins: dict[str, Origin] = {}

    async def __aenter__(self) -> "Sims":
        for sim in self._sims:
            simulator = import_module("gateway.sim.main").simulator(sim.script, None, sim.seed)
            await self._stack.enter_async_context(simulator)
            self.origins[sim.provider] = Origin("http", HOST, simulator.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()
