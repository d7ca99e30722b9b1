"""The admin API's own threads: however long the database takes, the gateway has its own left."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

THREADS = 4

_THREADS = ThreadPoolExecutor(THREADS, "admin")


async def in_thread(work: Callable[_P, _T], *given: _P.args, **named: _P.kwargs) -> _T:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: work(*given, **named))
