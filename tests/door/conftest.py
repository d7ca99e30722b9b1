"""Runs the room's tests on both loops; those that only need a process or much time run on the one that is served."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

ONCE = {"test_process", "test_fuzz", "test_bodies", "test_errors"}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if item.path.stem not in ONCE:
        factories["asyncio"] = asyncio.new_event_loop
    return factories
