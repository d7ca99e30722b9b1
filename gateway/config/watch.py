"""Watches the configuration file for changes, however an editor or an orchestrator replaces it."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

from watchfiles import awatch
from watchfiles.main import FileChange

_DEBOUNCE_MS = 200
_STEP_MS = 50
_LOOK_ANYWAY_MS = 5000
_LINKS_MAX = 40

Fingerprint = tuple[str, int, int, int] | None


async def changes(path: Path, stop: asyncio.Event) -> AsyncIterator[None]:
    """Yields once for each time that what `path` leads to became another file or content, until `stop` is set.

    The folders are watched, not the file: renames and symlink swaps (`..data` of Kubernetes) replace the file itself.
    A file that is gone for the moment is waited for.
    """
    known = fingerprint(path)
    while not stop.is_set():
        watched = folders(path)
        if not watched:
            await stop.wait()
            return
        async with aclosing(_stirrings(watched, stop)) as stirrings:
            async for _ in stirrings:
                found = fingerprint(path)
                if found is not None and found != known:
                    known = found
                    yield None
                if folders(path) != watched:
                    break


def _stirrings(watched: list[Path], stop: asyncio.Event) -> AsyncGenerator[set[FileChange], None]:
    """Wakes up now and then without a reason too: not every file system tells, and none before it is asked."""
    return awatch(
        *watched,
        watch_filter=None,
        debounce=_DEBOUNCE_MS,
        step=_STEP_MS,
        stop_event=stop,
        recursive=False,
        rust_timeout=_LOOK_ANYWAY_MS,
        yield_on_timeout=True,
    )


def fingerprint(path: Path) -> Fingerprint:
    """Says whether it is still the same content, without reading it; None while there is no file."""
    try:
        info = path.stat()
        return (os.path.realpath(path), info.st_ino, info.st_size, info.st_mtime_ns)
    except OSError:
        return None


def folders(path: Path) -> list[Path]:
    """The folder of the path, and that of every file that its symlinks lead over."""
    found: list[Path] = []
    here = path.absolute()
    for _ in range(_LINKS_MAX):
        if here.parent not in found:
            found.append(here.parent)
        if not here.is_symlink():
            break
        here = here.parent / here.readlink()
    real = Path(os.path.realpath(path)).parent
    return [folder for folder in dict.fromkeys([*found, real]) if folder.is_dir()]
