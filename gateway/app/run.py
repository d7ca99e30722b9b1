"""Runs a gateway as a process: signals, reloads, and the words at its start and end."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from pathlib import Path

from gateway.app.gateway import MEMORY, Gateway
from gateway.app.workers import SUPERVISOR, WORKER, Supervisor
from gateway.clock import SystemClock
from gateway.config.load import load
from gateway.config.prices import day_of
from gateway.config.report import render
from gateway.config.settings import Loaded
from gateway.config.watch import changes

SUPERVISED_S = 0.5

_log = logging.getLogger("meterway")


async def serve(path: Path) -> None:
    """Until SIGTERM or SIGINT; SIGHUP or a changed file reloads. Raises ConfigInvalid, OSError."""

    def read(version: int) -> Loaded:
        return load(path, os.environ, version=version, today=day_of(SystemClock.wall_s()))

    loaded = read(1)
    logging.basicConfig(level=loaded.settings.telemetry.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    if loaded.warnings:
        _log.warning("%s", render(loaded.warnings))
    worker = os.environ.get(WORKER)
    gateway = Gateway(loaded, read, log_fd=sys.stdout.fileno(), worker=None if worker is None else int(worker))
    loop = asyncio.get_running_loop()
    gc.collect()  # before anything watches the loop
    await gateway.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.stop)
    loop.add_signal_handler(signal.SIGHUP, gateway.reload)
    stop = asyncio.Event()
    following = asyncio.create_task(_follow(path, gateway, stop))
    supervisor = os.environ.get(SUPERVISOR)
    watching = None if supervisor is None else asyncio.create_task(_end_with(int(supervisor), gateway, stop))
    _settle_memory()
    _log.info("%s", _banner(gateway, loaded))
    try:
        await gateway.wait()
    finally:
        stop.set()
        await following
        if watching is not None:
            await watching


async def serve_with(path: Path, workers: int) -> int:
    """Several processes; the exit code. Raises ConfigInvalid, and ValueError where they could not share anything."""
    loaded = load(path, os.environ, version=1, today=day_of(SystemClock.wall_s()))
    logging.basicConfig(level=loaded.settings.telemetry.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    if loaded.settings.redis is None or loaded.settings.database.reveal() == MEMORY:
        raise ValueError(
            "several workers need a database and Redis: each limit and budget would be kept once for each of them; "
            "set `redis: redis://...` or serve with one worker"
        )
    if loaded.settings.listen.port == 0:
        raise ValueError("several workers need a port of their own choosing; set listen.port")
    return await Supervisor(path, workers).run()


async def _follow(path: Path, gateway: Gateway, stop: asyncio.Event) -> None:
    async for _ in changes(path, stop):
        gateway.reload()


async def _end_with(supervisor: int, gateway: Gateway, stop: asyncio.Event) -> None:
    """A worker whose supervisor was killed, be it before the worker served, drains and ends: nobody would start or stop
    it any more.
    """
    while os.getppid() == supervisor:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SUPERVISED_S):
                await stop.wait()
                return
    _log.error("the supervisor is gone; this worker ends too")
    gateway.stop()


def _settle_memory() -> None:
    """What start-up made stays for good, so the collector need not walk it; requests free theirs by reference count."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _banner(gateway: Gateway, loaded: Loaded) -> str:
    listen, models = loaded.settings.listen, ", ".join(loaded.catalog.routes)
    admin = "" if gateway.admin is None else f"; metrics on http://{gateway.admin.host}:{gateway.admin.port}/metrics"
    return f"serving {models} on http://{listen.host}:{gateway.server.port}/v1{admin}"
