"""Many callers and several workers race for one budget: nothing is overspent, and six places agree on what was."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from tests.chaos.street import ADMIN_KEY, KEY, NANO, Street, lent_out
from tests.e2e.processes import METERWAY, Process
from tests.redis import Server, served

ANSWER = {"text_chars": 100}
BOUNDLESS = {"text_chars": 2_000, "ignore_output_limit": True}
LAX = {"enforces_output_limit": False}
EVERY_LIMIT = pytest.mark.parametrize("max_tokens", [40, None], ids=["declared", "undeclared"])
EVERY_RACE = pytest.mark.parametrize(("workers", "callers"), [(1, 200), (1, 1_000), (4, 200), (4, 1_000)])
TURNS_MAX = 400
PAUSE_S = 0.05


@pytest.fixture
def store() -> Iterator[Server]:
    with served("single") as made:
        yield made


@contextlib.asynccontextmanager
async def street_of(
    folder: Path, workers: int, store: Server | None, answer: dict[str, Any], **more: Any
) -> AsyncIterator[Street]:
    shared = store if workers > 1 else None
    async with (
        Simulator(parse_script({"otherwise": {"answer": answer}})) as sim,
        Street(folder, sim, 1.0, workers, shared, usd_per_million=(50, 100), **more) as street,
    ):
        process = await street.serve_all()
        try:
            yield street
        finally:
            assert await asyncio.to_thread(process.stop) == 0, process.said[-4_000:]


async def spend(street: Street, first: int, **asked: Any) -> None:
    """Until the budget is empty; what is only held by others comes back, and a store that starves on few cores too."""
    for turn in range(TURNS_MAX):
        seen = await street.ask(first + 1_000 * turn, **asked)
        assert seen is not None
        if seen.status == 402 and not seen.error["retryable"]:
            return
        if seen.status != 200:
            assert seen.error["code"] in ("budget_exceeded", "store_unavailable"), (seen.status, seen.body)
            await asyncio.sleep(PAUSE_S)
    said = Counter(
        (seen.status, str(seen.error.get("message"))) for seen in street.answers[-2_000:] if seen.status != 200
    )
    lent = None if street.store is None else lent_out(street.store)
    raise AssertionError(f"the budget never ends: {lent=} {said.most_common(6)}")


async def test_r12_several_workers_without_a_store_to_share_are_refused(tmp_path: Path) -> None:
    async with Simulator() as sim, Street(tmp_path, sim, 1.0) as street:
        command = [str(METERWAY), "serve", "--config", str(street.config()), "--workers", "2"]
        process = Process(tmp_path, *command, environ={"CALLER": KEY, "REDIS": "", "ADMIN": ADMIN_KEY}, cwd=tmp_path)
        assert await asyncio.to_thread(process.ended) == 1
        assert "several workers need a database and Redis" in process.said


@EVERY_LIMIT
@EVERY_RACE
async def test_a1_a_race_of_processes_overspends_nothing_and_uses_nearly_all(
    tmp_path: Path, store: Server, workers: int, callers: int, max_tokens: int | None
) -> None:
    async with street_of(tmp_path, workers, store, ANSWER) as street:
        turns = (spend(street, number, stream=bool(number % 2), max_tokens=max_tokens) for number in range(callers))
        await asyncio.gather(*turns)
        _, _, spent = await street.agreed()
        print(f"[{len(street.answers)} answers, {spent / NANO:.6f} of 1 USD] ", end="")
        assert 0.95 * NANO <= spent <= NANO


@EVERY_LIMIT
@EVERY_RACE
async def test_a1_a_provider_that_ignores_limits_makes_nobody_overspend(
    tmp_path: Path, store: Server, workers: int, callers: int, max_tokens: int | None
) -> None:
    """What it says beyond a reservation is cut off and not charged, so that its own bill is no witness here."""
    async with street_of(tmp_path, workers, store, BOUNDLESS, provider=LAX) as street:
        turns = (spend(street, number, stream=bool(number % 2), max_tokens=max_tokens) for number in range(callers))
        await asyncio.gather(*turns)
        spent = await street.books_agreed()
        print(f"[{len(street.answers)} answers, {spent / NANO:.6f} of 1 USD] ", end="")
        assert 0.95 * NANO <= spent <= NANO
