"""Several processes behind one port: the supervisor starts them, starts dead ones again, and passes signals on."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

RESTART_S = 0.1
RESTART_MAX_S = 5.0
STEADY_S = 10.0

WORKER = "METERWAY_WORKER"
"""The number of a worker in its environment; its admin listener, with its metrics, is that many ports further on."""

SUPERVISOR = "METERWAY_SUPERVISOR"
"""The process that started a worker, in its environment."""

_log = logging.getLogger("meterway")


class Supervisor:
    """Ends when it is told to, after the last worker, with the worst of their exit codes."""

    def __init__(self, config: Path, count: int) -> None:
        self._command = [sys.executable, "-m", "gateway", "serve", "--config", str(config)]
        self._count = count
        self._stopping = asyncio.Event()
        self._processes: dict[int, asyncio.subprocess.Process] = {}

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, signal.SIGTERM)
        loop.add_signal_handler(signal.SIGHUP, self._pass_on, signal.SIGHUP)
        codes: Sequence[int] = await asyncio.gather(*(self._keep(number) for number in range(self._count)))
        return max(codes)

    async def _keep(self, number: int) -> int:
        """A worker that dies or is killed is there again at once, one that fails at its start ever more slowly."""
        pause_s = RESTART_S
        environ = {**os.environ, WORKER: str(number), SUPERVISOR: str(os.getpid())}
        while True:
            started_s = asyncio.get_running_loop().time()
            process = await asyncio.create_subprocess_exec(*self._command, env=environ)
            self._processes[number] = process
            if self._stopping.is_set():
                process.terminate()
            code = await process.wait()
            if self._stopping.is_set():
                return max(code, 0)
            if code == 2:
                self._stop(signal.SIGTERM)
                return code
            steady = asyncio.get_running_loop().time() - started_s > STEADY_S
            pause_s = RESTART_S if steady or code == -signal.SIGKILL else min(pause_s * 1.5, RESTART_MAX_S)
            _log.error("worker %d ended with %d; it is started again in %.1f s", number, code, pause_s)
            await asyncio.sleep(pause_s)

    def _stop(self, number: signal.Signals) -> None:
        self._stopping.set()
        self._pass_on(number)

    def _pass_on(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            if process.returncode is None:
                process.send_signal(number)
