"""Workers and the gateway are killed at random: every run ends right, and every turn is charged once, as it was billed.

What is under way when the gateway is killed is asked again by the one that follows: its answer went with the process,
and a second call is the only way to have one. So there are as many exact charges as turns, and besides one estimate for
each call that was cut, never below the provider's line for it, and also when it had not got as far as the provider.
"""

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client

from agent_runtime.api import Handle, sqlite_services
from agent_runtime.contracts.run import RunOutcome
from agent_runtime.domain.values import Principal
from agent_runtime.temporal.runtime import TemporalRuntime
from agent_runtime.temporal.shapes import Settings
from sdk_client import LLMClient
from tests.agent_runtime.lab import Lab
from tests.conftest import SEED
from tests.e2e.processes import Process
from tests.workflows import troupe
from tests.workflows.troupe import TURNS

WORKERS = 3
HEARTBEAT_S = 2.0
CALLS_WAIT_S = 60.0
KILL_EVERY_S = (0.1, 0.8)
COMMAND = str(Path(sys.executable).parent / "meterway-agent")


@dataclass(frozen=True)
class Size:
    runs: int
    kills: int
    gateway_kills: int
    within_s: float


class Crowd:
    """Worker processes, one of which is killed now and then and begins anew."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self._count = 0
        self.processes = [self._start() for _ in range(WORKERS)]

    def _start(self) -> Process:
        self._count += 1
        folder = self._folder / f"worker-{self._count}"
        folder.mkdir()
        command = (COMMAND, "worker", "--agents", "tests.workflows.troupe:agent", "--grace-s", "2")
        return Process(folder, *command, environ=self._environ)

    async def kill_amid_work(self, dice: random.Random, busy: Callable[[int], Awaitable[bool]]) -> bool:
        """One of those that have work in their hands, if any has; each is frozen while that is found out."""
        for place in dice.sample(range(WORKERS), WORKERS):
            worker = self.processes[place]
            worker.signal(signal.SIGSTOP)
            if await busy(worker.pid):
                worker.signal(signal.SIGKILL)
                await asyncio.to_thread(worker.ended)
                self.processes[place] = await asyncio.to_thread(self._start)
                return True
            worker.signal(signal.SIGCONT)
        return False

    def stop(self) -> None:
        for process in self.processes:
            process.signal(signal.SIGTERM)
        for process in self.processes:
            process.ended(30)


@contextmanager
def crowd(folder: Path, environ: dict[str, str]) -> Iterator[Crowd]:
    made = Crowd(folder, environ)
    try:
        yield made
    finally:
        made.stop()


async def kill_now_and_then(size: Size, workers: Crowd, lab: Lab, live: "Live") -> int:
    """How many workers were killed with a run in their hands: as many as wanted, or fewer if no run is left."""
    dice = random.Random(SEED)
    gateway_at = {size.kills // 2} if size.gateway_kills else set()
    killed = 0
    while killed < size.kills and live.run_ids:
        await asyncio.sleep(dice.uniform(*KILL_EVERY_S))
        if not await workers.kill_amid_work(dice, live.held_by):
            continue
        if killed in gateway_at:
            await asyncio.to_thread(lab.kill_gateway_amid_a_call, CALLS_WAIT_S)
            await asyncio.to_thread(lab.start_gateway)
        killed += 1
    return killed


class Live:
    """The runs that have not ended yet."""

    def __init__(self, client: Client, handles: list[Handle]) -> None:
        self._client = client
        self._handles = handles
        self.run_ids = {handle.run_id for handle in handles}

    async def ends(self) -> list[RunOutcome]:
        return await asyncio.gather(*map(self._end, self._handles))

    async def _end(self, handle: Handle) -> RunOutcome:
        outcome = await handle.outcome()
        self.run_ids.discard(handle.run_id)
        return outcome

    async def held_by(self, pid: int) -> bool:
        """Whether this worker has begun something for one of them and has not said what came of it."""
        described = await asyncio.gather(
            *(self._client.get_workflow_handle(run_id).describe() for run_id in self.run_ids)
        )
        return any(
            one.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
            and one.last_worker_identity.startswith(f"{pid}@")
            for run in described
            for one in run.raw_description.pending_activities
        )


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(Size(6, 5, 1, 100), id="some"),
        pytest.param(Size(50, 40, 0, 900), id="many", marks=[pytest.mark.long, pytest.mark.timeout(1200)]),
        pytest.param(Size(50, 40, 1, 900), id="and-the-gateway", marks=[pytest.mark.long, pytest.mark.timeout(1200)]),
    ],
)
async def test_row_30_52_killed_workers_lose_no_run_and_pay_no_turn_twice(
    size: Size, lab: Lab, temporal: str, client: Client, tmp_path: Path
) -> None:
    lab.reset()
    queue = f"killed-{tmp_path.name}"
    environ = {
        "METERWAY_GATEWAY_URL": lab.url,
        "METERWAY_AGENT_KEY": lab.key,
        "METERWAY_AGENT_STORE": str(tmp_path / "agents.db"),
        "METERWAY_TEMPORAL": temporal,
        "METERWAY_AGENT_QUEUE": queue,
    }
    settings = Settings(queue=queue, heartbeat_s=HEARTBEAT_S)
    async with LLMClient(lab.url, lab.key) as llm:
        services = sqlite_services(llm, tmp_path / "agents.db")
        agent = troupe.agent.on(TemporalRuntime(client, services, settings, pollers_wait_s=30.0))
        with crowd(tmp_path, environ) as workers:
            started = [await agent.start("go", principal=Principal("demo", f"u{n}")) for n in range(size.runs)]
            live = Live(client, started)
            async with asyncio.TaskGroup() as group:
                killing = group.create_task(kill_now_and_then(size, workers, lab, live))
                ends = await asyncio.wait_for(live.ends(), size.within_s)
    assert killing.result() == size.kills
    assert Counter(end.outcome.finish_reason for end in ends) == {"max_iterations": size.runs}
    assert {end.usage.llm_calls for end in ends} == {TURNS}
    assert all(len(end.outcome.messages) == 2 * TURNS for end in ends)
    lines = {line["id"]: line for line in lab.bill()}
    booked = lab.ledger({handle.run_id for handle in started})
    rows = {row["request_id"]: row for row in booked if row["replay_of"] is None}
    assert all(charged(row) == (0, 0, 0) for row in booked if row["replay_of"] is not None)
    assert lines.keys() <= rows.keys()
    exact = [number for number, row in rows.items() if row["provenance"] == "exact"]
    assert Counter(rows[number]["run_id"] for number in exact) == {handle.run_id: TURNS for handle in started}
    assert [charged(rows[number]) for number in exact] == [billed(lines[number]) for number in exact]
    lost = rows.keys() - set(exact)
    print(f" [{len(lost)} calls were under way when the gateway was killed]", end="")
    assert {number for number, line in lines.items() if line["outcome"] != "completed"} <= lost
    assert {ending(rows[number]) for number in lost} <= {("expire", "estimated", "worker_died")}
    assert all(charged(rows[number]) >= billed(lines[number]) for number in lost & lines.keys())
    assert len({rows[number]["run_id"] for number in lost}) == len(lost), "a run has one call under way"
    assert bool(lost) == bool(size.gateway_kills)


def ending(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["kind"], row["provenance"], row["cause"]


def charged(row: dict[str, Any]) -> tuple[int, int, int]:
    """Nano-dollars, input and output tokens as they stand in the ledger."""
    return int(Decimal(row["usd"]) * 10**9), row["input_tokens"], row["output_tokens"]


def billed(line: dict[str, Any]) -> tuple[int, int, int]:
    given, made = line["input_tokens"], line["output_tokens"]
    return given * 1_000 + made * 4_000, given, made
