"""The machine's clocks and dice: the only module that asks for them."""

import asyncio
import random
import time


class SystemClock:
    """Time and chance of this machine."""

    __slots__ = ()

    monotonic_s = staticmethod(time.monotonic)
    wall_s = staticmethod(time.time)
    dice = staticmethod(random.random)

    @staticmethod
    async def sleep_s(delay_s: float) -> None:
        await asyncio.sleep(delay_s)
