"""P2, I3, I4: whatever moment a gateway ends at, each charge is in the books once, and nothing is held."""

import asyncio
import sys
from pathlib import Path

import pytest

from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from tests.chaos.crashing import CRASHED, POINTS
from tests.chaos.street import ADMIN_KEY, KEY, SERVING, Street
from tests.chaos.test_killed import SCRIPT, balanced
from tests.e2e.processes import ROOT, Process

CALLERS = 4


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("point", POINTS)
async def test_p2_i3_i4_a_crash_at_any_named_point_loses_and_doubles_nothing(
    tmp_path: Path, point: str, count: int
) -> None:
    async with Simulator(parse_script(SCRIPT)) as sim, Street(tmp_path, sim, 1_000.0) as street:
        folder = tmp_path / "crash"
        folder.mkdir()
        command = [sys.executable, "-m", "tests.chaos.crashing", str(street.config()), point, str(count)]
        environ = {"CALLER": KEY, "ADMIN": ADMIN_KEY, "PYTHONPATH": str(ROOT)}
        process = Process(folder, *command, environ=environ, cwd=tmp_path)
        await asyncio.to_thread(process.wait_for, SERVING)
        callers = [asyncio.create_task(call_until_dead(street, number)) for number in range(CALLERS)]
        assert await asyncio.to_thread(process.ended) == CRASHED, process.said
        await asyncio.gather(*callers)
        again = await street.serve()
        assert await street.ask(99, stream=False) is not None
        await street.books_agreed()
        assert await asyncio.to_thread(again.stop) == 0
        await street.sim.idle()
        balanced(street, calls=1)


async def call_until_dead(street: Street, number: int) -> None:
    while await street.ask(number, stream=bool(number % 3)) is not None:
        number += CALLERS
