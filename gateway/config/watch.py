"""Watches the configuration file for changes, however an editor or an orchestrator replaces it."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

LOOK_S = 0.5

Fingerprint = tuple[str, int, int, int] | None


async def changes(path: Path, stop: asyncio.Event) -> AsyncIterator[None]:
    """Yields once for each time that what `path` leads to became another file or content, until `stop` is set.

    A change counts when two looks agree on it, so that a file is not read while it is written; one that is gone for the
    moment is waited for. Looking costs 30 us a second; being told by the system costs far more, as it also tells of the
    database and the logs that may be in the same folder.
    """
    known = before = await asyncio.to_thread(fingerprint, path)
    while not await _set_within(stop, LOOK_S):
        found = await asyncio.to_thread(fingerprint, path)
        if found is not None and found == before and found != known:
            known = found
            yield None
        before = found


async def _set_within(event: asyncio.Event, wait_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await event.wait()
    return event.is_set()


def fingerprint(path: Path) -> Fingerprint:
    """Says whether it is still the same content, without reading it; None while there is no file."""
    try:
        info = path.stat()
        return (os.path.realpath(path), info.st_ino, info.st_size, info.st_mtime_ns)
    except OSError:
        return None
