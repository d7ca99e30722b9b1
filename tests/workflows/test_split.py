"""Clients and workers as processes of their own: what one begins another one goes on with."""

import asyncio
import signal
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from agent_runtime.api import Agent, sqlite_services
from agent_runtime.connectors.scripted import Line, ScriptedLLM
from agent_runtime.contracts.errors import NotAllowed
from agent_runtime.desk.desk import Desk
from agent_runtime.domain.approval import Decision
from agent_runtime.domain.limits import Mode
from agent_runtime.domain.todo import Prepare
from agent_runtime.domain.values import Principal, RunRef
from agent_runtime.stores.clock import SystemClock
from agent_runtime.telemetry.recorder import OtelRecorder
from agent_runtime.temporal.activities import Activities
from agent_runtime.temporal.lines import backlog
from agent_runtime.temporal.runtime import TemporalRuntime
from agent_runtime.temporal.shapes import Job, Settings, queue_of
from agent_runtime.temporal.workers import Crew, Tuning
from agent_runtime.tools.access import AutoApprove
from tests.agent_runtime.cast import ANN, Props, calls
from tests.agent_runtime.lab import Lab
from tests.agent_runtime.test_telemetry import metric_points, started_and_ended
from tests.e2e.processes import Process
from tests.workflows import troupe
from tests.workflows.conftest import Stage
from tests.workflows.test_commands import COMMAND, command, environ_of

WHO = Principal("demo", "ann")
LEAD = Principal("demo", "bo", ("lead",))
CHOICES = ("--grace-s", "2", "--cached-workflows", "0")
BOTH = "tests.workflows.troupe:agent,tests.workflows.troupe:asker"


def worker(folder: Path, name: str, environ: dict[str, str]) -> Process:
    (folder / name).mkdir()
    return Process(folder / name, COMMAND, "worker", "--agents", BOTH, *CHOICES, environ=environ)


async def test_row_26_27_30_54_a_run_outlives_its_worker_and_its_client_and_its_events_are_whole(
    lab: Lab, temporal: str, client: Client, tmp_path: Path
) -> None:
    queue = f"split-{tmp_path.name}"
    environ = environ_of(lab, tmp_path, METERWAY_TEMPORAL=temporal, METERWAY_AGENT_QUEUE=queue)
    settings = Settings(queue=queue, heartbeat_s=2.0)

    def new_client() -> Agent:
        """As another process would have it: nothing is shared but the stores and Temporal."""
        services = sqlite_services(ScriptedLLM({}), tmp_path / "agents.db")
        return troupe.asker.on(TemporalRuntime(client, services, settings, pollers_wait_s=30.0))

    one = worker(tmp_path, "first", environ)
    try:
        async with new_client().stream("go", principal=WHO, conversation_id="c") as events:
            seen: list[Any] = []
            async for event in events:
                seen.append(event)
                if event["type"] == "CUSTOM":
                    break
            run_id, approval = events.handle.run_id, str(seen[-1]["value"]["approvalId"])
        one.signal(signal.SIGKILL)
        one.ended()
        one = worker(tmp_path, "second", environ)
        handle = new_client().attach(run_id)
        await handle.approve(approval, LEAD)
        result = await handle
        rest = [event async for _, event in handle.events(len(seen))]
        whole = [event async for _, event in handle.events()]
        looper = troupe.agent.on(troupe.asker.runtime)
        assert (await looper.run("go", principal=WHO)).usage.llm_calls == troupe.TURNS
    finally:
        one.stop()
    assert result.messages[2].text == "erased x"
    assert result.text.startswith("it is gone")
    assert seen + rest == whole
    assert sum(event["type"] == "TEXT_MESSAGE_CONTENT" for event in whole) > 1


@pytest.mark.parametrize("unheard", [1, 9])
async def test_row_19_a_decision_is_said_again_to_a_run_that_has_not_heard_of_its_question(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, unheard: int
) -> None:
    """A worker in the place of a killed one is told of the answer before it gets to the question."""
    said, once = count(1), TemporalRuntime._update_once

    async def early(self: TemporalRuntime, run_id: str, update: object, decision: Decision) -> None:
        known = next(said) > unheard
        await once(self, run_id, update, decision if known else replace(decision, approval_id=f"{run_id}~9~9~x"))

    monkeypatch.setattr(TemporalRuntime, "_update_once", early)
    services = stage.services(ScriptedLLM({"asker": [calls("erase", path="x"), Line("ok")]}))
    one = troupe.asker.on(TemporalRuntime(stage.client, services, stage.settings))
    async with Crew(stage.client, [one.spec], services, stage.settings.queue):
        handle = await one.start("go", principal=WHO)
        approval = ""
        async for _, event in handle.events():
            if event["type"] == "CUSTOM":
                approval = str(cast(dict[str, Any], event["value"])["approvalId"])
                break
        if unheard > 1:
            with pytest.raises(NotAllowed, match="no pending approval"):
                await handle.approve(approval, LEAD)
            unheard = 0
        await handle.approve(approval, LEAD)
        assert (await handle).text == "ok"


async def test_row_57_workers_are_needed_until_the_last_run_of_their_make_has_ended(
    lab: Lab, temporal: str, stage: Stage, client: Client
) -> None:
    environ = environ_of(lab, stage.folder, METERWAY_TEMPORAL=temporal, METERWAY_AGENT_QUEUE=stage.settings.queue)
    services = stage.services(ScriptedLLM({"asker": [calls("erase", path="x"), Line("ok")]}))
    one = troupe.asker.on(TemporalRuntime(client, services, stage.settings))
    queue = queue_of(stage.settings.queue, "asker", one.fingerprint)
    words = ("drain", "--agents", "tests.workflows.troupe:asker", "--wait-s")
    async with Crew(client, [one.spec], services, stage.settings.queue):
        handle = await one.start("go", principal=WHO)
        async for _, event in handle.events():
            if event["type"] == "CUSTOM":
                break
        needed = await asyncio.to_thread(command, *words, "0", environ=environ)
        assert (needed.returncode, needed.stdout) == (1, f"{queue}: 1 under way\n"), needed.stderr
        waits = asyncio.ensure_future(asyncio.to_thread(command, *words, "60", environ=environ))
        await handle.cancel()
        assert ((await waits).returncode, (await waits).stdout) == (0, f"{queue}: 0 under way\n")


async def test_row_55_a_worker_takes_no_more_than_it_is_told(stage: Stage, client: Client) -> None:
    props = Props()
    llm = ScriptedLLM({"main": [calls("slow", "slow", "slow", "slow"), Line("ok")]})
    services = stage.services(llm)
    facts: dict[str, Any] = {"tools": props.tools(), "policy": AutoApprove(), "principal": ANN}
    one = Agent("main", services=services, **facts)
    one.on(TemporalRuntime(client, services, stage.settings))
    async with Crew(client, [one.spec], services, stage.settings.queue, Tuning(activities=1)) as crew:
        assert list(crew.queues) == [queue_of(stage.settings.queue, "main", one.fingerprint)]
        assert (await one.run("go")).text == "ok"
    assert props.running_max == 1


async def test_row_55_runs_go_on_from_their_history_where_none_is_kept_in_memory(stage: Stage, client: Client) -> None:
    llm = ScriptedLLM({"main": [calls("look", city="Rome"), calls("look", city="Paris"), Line("ok")]})
    services = stage.services(llm)
    one = Agent("main", services=services, tools=Props().tools(), policy=AutoApprove(), principal=ANN)
    one.on(TemporalRuntime(client, services, stage.settings))
    async with Crew(client, [one.spec], services, stage.settings.queue, Tuning(cached_workflows=0)) as crew:
        assert [worker.config()["max_cached_workflows"] for worker in crew._workers] == [0]
        assert (await one.run("go")).usage.llm_calls == 3


async def test_row_29_a_job_of_another_make_is_refused_and_counted(stage: Stage) -> None:
    reader = InMemoryMetricReader()
    recorder = OtelRecorder(meters=MeterProvider([reader]))
    services = replace(stage.services(ScriptedLLM({"main": []})), recorder=recorder)
    one = Agent("main", services=services, principal=ANN)
    job = Job(RunRef("run-1", "main", ANN, "run-1"), "another make", 0.0, prepare=Prepare("go"))
    with pytest.raises(ApplicationError, match="this worker has") as refused:
        await ActivityEnvironment().run(Activities([Desk(one.spec, services)]).prepare, job)
    assert (refused.value.type, refused.value.non_retryable) == ("fingerprint", True)
    assert [point.attributes for point in metric_points(reader)["agent.fingerprint.mismatch"]] == [{"agent": "main"}]


async def test_row_55_models_and_tools_have_places_of_their_own(stage: Stage, client: Client) -> None:
    props = Props()
    llm = Counting({"main": [calls("slow", "slow", "slow", "slow"), Line("ok")]})
    services = stage.services(llm)
    one = Agent("main", services=services, tools=props.tools(), policy=AutoApprove(), principal=ANN)
    one.on(TemporalRuntime(client, services, stage.settings))
    async with Crew(client, [one.spec], services, stage.settings.queue, Tuning(models=2, tools=1)):
        ends = await asyncio.gather(*(one.run(f"go {n}") for n in range(6)))
    assert {end.text for end in ends} == {"ok"}
    assert props.running_max == 1
    assert llm.running_max == 2


async def test_row_34_41_child_workflows_are_counted_as_started_too(stage: Stage, client: Client) -> None:
    reader = InMemoryMetricReader()
    llm = ScriptedLLM({"main": [calls("subagent_kid", query="x"), Line("ok")], "kid": [Line("kid")]})
    services = replace(stage.services(llm), recorder=OtelRecorder(meters=MeterProvider([reader])))
    one = Agent("main", services=services, sub_agents=[Agent("kid")], policy=AutoApprove(), principal=ANN)
    async with stage.playing(one):
        await one.run("go")
    assert started_and_ended(reader) == {"main": (1, 1), "kid": (1, 1)}


async def test_row_54_what_waits_for_workers_is_measured_until_nothing_does(stage: Stage, client: Client) -> None:
    reader = InMemoryMetricReader()
    recorder = OtelRecorder(meters=MeterProvider([reader]))
    llm = ScriptedLLM({"main": [Line("ok")]})
    services = replace(stage.services(llm), recorder=recorder, clock=Hurried())
    one = Agent("main", services=services, mode=Mode.AUTONOMOUS, principal=ANN)
    one.on(TemporalRuntime(client, services, stage.settings))
    queue = queue_of(stage.settings.queue, "main", one.fingerprint)
    handles = [await one.start(f"go {n}") for n in range(5)]
    async with asyncio.timeout(10):
        while await backlog(client, queue) < len(handles):
            await asyncio.sleep(0.1)
    async with Crew(client, [one.spec], services, stage.settings.queue), asyncio.timeout(30):
        [before] = metric_points(reader)["agent.queue.backlog"]
        for handle in handles:
            await handle
        while metric_points(reader)["agent.queue.backlog"][0].value:
            await asyncio.sleep(0.1)
    assert (before.attributes, before.value) == ({"queue": queue}, len(handles))


class Hurried(SystemClock):
    """A crew measures every few hundredths of a second."""

    async def sleep_s(self, seconds: float) -> None:
        await super().sleep_s(seconds / 100)


class Counting(ScriptedLLM):
    """How many are asked at the same time."""

    running = running_max = 0

    async def complete(self, ask: Any, heard: Any = None) -> Any:
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        await asyncio.sleep(0.2)
        self.running -= 1
        return await super().complete(ask, heard)
