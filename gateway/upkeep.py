"""Work that is done again and again for as long as the gateway lives."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from gateway.ports import BankAway, StoreFailed

_log = logging.getLogger("meterway")


async def keep_up(trouble: str, work: Callable[[], Awaitable[object]], pause: Callable[[], Awaitable[object]]) -> None:
    """Works and pauses in turn until it is cancelled.

    Whatever the work raises, its next turn comes: nobody would miss a task that ended by itself. `trouble` says what
    does not go on, and is told of the first of failures of one kind in a row; of a bank that is away others tell.
    """
    known: type[Exception] | None = None
    while True:
        try:
            await work()
        except BankAway:
            pass
        except Exception as error:  # noqa: BLE001 - a task that ends tells nobody
            if type(error) is not known:
                _log.error("%s: %s", trouble, str(error) or repr(error), exc_info=not isinstance(error, StoreFailed))
            known = type(error)
        else:
            known = None
        await pause()


async def woken(event: asyncio.Event, within_s: float) -> None:
    """Returns once it is set, and clears it; after that long in any case."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    event.clear()
