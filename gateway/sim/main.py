"""Runs one simulator until it is told to stop."""

import asyncio
import signal
import sys
from pathlib import Path

import msgspec
import uvloop

from gateway.sim.script import Script, read_script
from gateway.sim.server import Simulator


def run(host: str, port: int, script_path: str | None, bill_path: str | None, seed: int | None) -> None:
    """Raises ScriptError, OSError. `seed` overrides the script's own."""
    uvloop.run(_serve(simulator(script_path, bill_path, seed), host, port))


def simulator(script_path: str | None, bill_path: str | None, seed: int | None) -> Simulator:
    """A simulator that has yet to be started. Raises ScriptError, OSError."""
    script = Script() if script_path is None else read_script(Path(script_path).read_bytes())
    if seed is not None:
        script = msgspec.structs.replace(script, seed=seed)
    return Simulator(script, bill_path=bill_path)


async def _serve(made: Simulator, host: str, port: int) -> None:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    base = await made.start(host, port)
    sys.stderr.write(f"simulator on {base}/v1\n")
    sys.stderr.flush()
    try:
        await told.wait()
    finally:
        await made.stop()
