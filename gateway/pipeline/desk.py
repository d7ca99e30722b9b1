"""What the stations of one gateway share: its collaborators, by their ports."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field

from gateway.domain.retry import RetryBudget
from gateway.domain.tokens import Calibration
from gateway.pipeline.replays import Replays
from gateway.pipeline.translation import Dialects
from gateway.pipeline.waiting import WaitingRoom
from gateway.ports import Accounts, Clock, Health, Journal, Keys, Pins, Quota, Recorder, Runs, Upstream


@dataclass(slots=True)
class Desk:
    """`retry_budgets` one budget to each route name.

    `drains` are the answers that are read for callers who have left, among all that is `running` without its caller.
    `boundless` are targets that have gone on beyond an output limit: their whole answers are read as streams from then
    on. Once `interrupted` is set, a request that is cancelled was cut short by the gateway and not by its client.
    """

    clock: Clock
    keys: Keys
    upstream: Upstream
    health: Health
    quota: Quota
    accounts: Accounts
    journal: Journal
    runs: Runs
    pins: Pins
    recorder: Recorder
    dialects: Dialects
    retry_budgets: dict[str, RetryBudget] = field(default_factory=dict)
    replays: Replays = field(init=False)
    waiting: WaitingRoom = field(default_factory=WaitingRoom)
    running: set[asyncio.Task[None]] = field(default_factory=set)
    drains: int = 0
    boundless: set[str] = field(default_factory=set)
    calibration: Calibration = field(default_factory=Calibration)
    unpriced_allowed: bool = False
    interrupted: bool = False

    def __post_init__(self) -> None:
        self.replays = Replays(self.clock)

    def begin(self, work: Coroutine[object, object, None]) -> None:
        """Goes on without its caller; `close` ends it."""
        task = asyncio.create_task(work)
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def close(self) -> None:
        """After the last connection: what still runs is told that the gateway goes down, and settles."""
        self.interrupted = True
        running = list(self.running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def retry_budget(self, route: str) -> RetryBudget:
        budget = self.retry_budgets.get(route)
        if budget is None:
            budget = self.retry_budgets[route] = RetryBudget()
        return budget
