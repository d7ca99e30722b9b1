"""Work that goes on, whatever it raises."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from gateway.ports import BankAway, StoreFailed
from gateway.upkeep import keep_up


async def told_of(outcomes: list[Exception | None], caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is said while work ends in these ways, one after the other."""
    rest: Iterator[Exception | None] = iter(outcomes)
    done = asyncio.Event()

    async def work() -> None:
        outcome = next(rest, done)
        if outcome is done:
            done.set()
        elif isinstance(outcome, Exception):
            raise outcome

    keeping = asyncio.create_task(keep_up("it is not done", work, lambda: asyncio.sleep(0)))
    with caplog.at_level(logging.ERROR):
        await done.wait()
    keeping.cancel()
    assert isinstance((await asyncio.gather(keeping, return_exceptions=True))[0], asyncio.CancelledError)
    return [record.message + (" (traced)" if record.exc_info else "") for record in caplog.records]


async def test_of_failures_in_a_row_the_first_is_told(caplog: pytest.LogCaptureFixture) -> None:
    said = await told_of([StoreFailed("locked"), StoreFailed("gone"), None, StoreFailed("full")], caplog)
    assert said == ["it is not done: locked", "it is not done: full"]


async def test_another_kind_of_failure_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    said = await told_of([StoreFailed("locked"), KeyError("a"), KeyError("b"), StoreFailed("locked")], caplog)
    assert said == ["it is not done: locked", "it is not done: 'a' (traced)", "it is not done: locked"]


async def test_what_nobody_foresaw_is_told_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    assert await told_of([IndexError()], caplog) == ["it is not done: IndexError() (traced)"]


async def test_of_a_bank_that_is_away_others_tell(caplog: pytest.LogCaptureFixture) -> None:
    assert await told_of([BankAway("away")] * 2, caplog) == []
