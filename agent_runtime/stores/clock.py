"""The machine's clock, the only place that asks for it."""

import asyncio
import time


class SystemClock:
    """Implements ports.Clock."""

    def now_s(self) -> float:
        return time.time()

    async def sleep_s(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
